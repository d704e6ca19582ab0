"""The configs as graphs of named values, until they are written so: one module for each old task.

Each has `graph(config) -> config` for the masked task, and `variables(old) -> new` where variables
lie elsewhere. `python tests/graphs/compare.py ID…` runs both side by side.
"""
