"""Sweeps: the points of a config file's `sweep()`, run one by one, each finished run a row."""
