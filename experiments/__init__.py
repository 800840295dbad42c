"""Command-line experiments: flags, presets and tables on top of the library."""
