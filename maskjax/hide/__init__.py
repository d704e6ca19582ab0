"""Hide: what stands where something was hidden. Each hider says whether it removes or degrades."""

from maskjax.hide.around import blur, carry, mean, neighbours
from maskjax.hide.drop import Seen, drop, restore
from maskjax.hide.fill import fill
from maskjax.hide.gate import gate
from maskjax.hide.mix import mix
from maskjax.hide.noise import noise
from maskjax.hide.pairs import Pair, blocks, both, causal, either, prefix, segments, window, within
from maskjax.hide.project import project, reject
from maskjax.hide.similar import similar
from maskjax.hide.token import corrupt, drop_label, token

__all__ = [
  "Pair",
  "Seen",
  "blocks",
  "blur",
  "both",
  "carry",
  "causal",
  "corrupt",
  "drop",
  "drop_label",
  "either",
  "fill",
  "gate",
  "mean",
  "mix",
  "neighbours",
  "noise",
  "prefix",
  "project",
  "reject",
  "restore",
  "segments",
  "similar",
  "token",
  "window",
  "within",
]
