"""What the commands share: flags, help, and how a command fails."""
