"""Data of any kind behind one deterministic pipeline: `load`, then `batches` or `examples`."""
