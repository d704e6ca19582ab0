"""Score: how much hiding is wanted at each position; high means hide first."""

from maskjax.score.noise import white

__all__ = ["white"]
