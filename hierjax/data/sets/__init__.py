"""Known data sets, a module each."""
