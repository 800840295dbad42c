"""One experiment as plain data, what fits it to its data, and what it stands for."""
