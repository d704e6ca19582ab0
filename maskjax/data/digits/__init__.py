"""Handwritten digits as a TFDS set, from the copy inside scikit-learn."""
