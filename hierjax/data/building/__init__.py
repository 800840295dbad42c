"""How data sets are built from what their authors publish."""
