"""Checkpoints: written whole, verified when read, exported and loaded."""
