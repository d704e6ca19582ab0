"""The jobs beside training: generate and explain."""
