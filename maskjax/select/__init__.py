"""Select: which positions to hide, given scores. Deterministic: all randomness is in the score."""

from maskjax.select.top import count_of, threshold, top

__all__ = ["count_of", "threshold", "top"]
