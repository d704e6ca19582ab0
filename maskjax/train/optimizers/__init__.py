"""Optimisers from config: update rules, rates, groups of parameters."""
