"""Speed, side by side with peers: `python -m maskjax.bench`."""
