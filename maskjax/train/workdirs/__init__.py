"""Workdirs on a disk or in an object store: one launch at a time, one config for good."""
