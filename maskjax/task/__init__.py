"""Tasks: compositions that hold the grammar's words together; few of them serve all methods."""

from maskjax.task.autoencode import autoencode
from maskjax.task.classify import classify
from maskjax.task.contrast import contrast
from maskjax.task.diffuse import diffuse
from maskjax.task.edge_values import (
  broadcast_like,
  edge_ends,
  edge_views,
  negative_pairs,
  node_count,
  node_features,
  node_layers,
  open_gate,
  own_keys,
  pair_logits,
  per_view,
)
from maskjax.task.fitted import kept, maps
from maskjax.task.latent import at, encode, places, view_keys
from maskjax.task.masked import masked
from maskjax.task.masked_code import masked_code
from maskjax.task.masked_token import masked_token
from maskjax.task.next_token import next_token
from maskjax.task.pictures import likeliest, shown, together
from maskjax.task.predict_latent import predict_latent
from maskjax.task.reconstruct import reconstruct
from maskjax.task.reconstruct_edges import reconstruct_edges
from maskjax.task.reconstruct_modalities import reconstruct_modalities
from maskjax.task.separate import separate
from maskjax.task.teacher import ema
from maskjax.task.text import (
  asked_of,
  blocks_read,
  read_from_left,
  read_tokens,
  text_features,
  text_nats,
  text_views,
)
from maskjax.task.tokenize import tokenize
from maskjax.task.values import apply, call, codes, features, field, latents, repeated, reward
from maskjax.task.whole import (
  at_positions,
  carried,
  decoded_signal,
  everywhere,
  logits,
  mixed_views,
  sampled,
  separated_views,
  stop_gradient,
  to_field,
  valid_examples,
)

__all__ = [
  "apply",
  "asked_of",
  "at",
  "at_positions",
  "autoencode",
  "blocks_read",
  "broadcast_like",
  "call",
  "carried",
  "classify",
  "codes",
  "contrast",
  "decoded_signal",
  "diffuse",
  "edge_ends",
  "edge_views",
  "ema",
  "encode",
  "everywhere",
  "features",
  "field",
  "kept",
  "latents",
  "likeliest",
  "logits",
  "maps",
  "masked",
  "masked_code",
  "masked_token",
  "mixed_views",
  "negative_pairs",
  "next_token",
  "node_count",
  "node_features",
  "node_layers",
  "open_gate",
  "own_keys",
  "pair_logits",
  "per_view",
  "places",
  "predict_latent",
  "read_from_left",
  "read_tokens",
  "reconstruct",
  "reconstruct_edges",
  "reconstruct_modalities",
  "repeated",
  "reward",
  "sampled",
  "separate",
  "separated_views",
  "shown",
  "stop_gradient",
  "text_features",
  "text_nats",
  "text_views",
  "to_field",
  "together",
  "tokenize",
  "valid_examples",
  "view_keys",
]
