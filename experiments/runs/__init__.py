"""Runs in their workdirs: training, measuring, probing, new data."""
