"""The API reference, rendered from docstrings, and a notebook."""
