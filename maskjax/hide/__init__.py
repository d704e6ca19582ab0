"""Hide: what stands where something was hidden. Each hider says whether it removes or degrades."""

from maskjax.hide.drop import Seen, drop, restore
from maskjax.hide.fill import fill

__all__ = ["Seen", "drop", "fill", "restore"]
