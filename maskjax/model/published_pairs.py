"""The names of published dual encoders: CLIP's two towers, as transformers has them."""

import re
from typing import Literal

Kind = Literal["dense", "patch", "plain", "matrix", "rows", "grid", "scalar"]
MARK = "vision_model.pre_layrnorm.weight"  # spelled so
_TOWERS = {"encoder": "vision_model", "text": "text_model"}
_WHOLE: dict[str, tuple[str, Kind]] = {
  "log_scale": ("logit_scale", "scalar"),
  "project_image/kernel": ("visual_projection.weight", "dense"),
  "project_text/kernel": ("text_projection.weight", "dense"),
  "encoder/class_token": ("vision_model.embeddings.class_embedding", "plain"),
  "encoder/embed/kernel": ("vision_model.embeddings.patch_embedding.weight", "patch"),
  "encoder/position": ("vision_model.embeddings.position_embedding.weight", "grid"),
  "text/embed/embedding": ("text_model.embeddings.token_embedding.weight", "rows"),
  "text/position": ("text_model.embeddings.position_embedding.weight", "matrix"),
}
CLASS_TOKEN, POSITION = (_WHOLE[f"encoder/{name}"][0] for name in ("class_token", "position"))
_NORMS = {
  "encoder/embed_norm": "vision_model.pre_layrnorm",
  "encoder/norm": "vision_model.post_layernorm",
  "text/norm": "text_model.final_layer_norm",
}
_IN_BLOCK = {
  "norm1": ("layer_norm1",),
  "attention/qkv": tuple(f"self_attn.{part}_proj" for part in "qkv"),
  "attention/out": ("self_attn.out_proj",),
  "norm2": ("layer_norm2",),
  "mlp/up": ("mlp.fc1",),
  "mlp/down": ("mlp.fc2",),
}
_BLOCK = re.compile(r"(encoder|text)/block_(\d+)/(.+)")


def stands(path: str) -> tuple[tuple[str, ...], Kind] | None:
  """The names and the lay-out of a leaf of ours in a file; None for one that is not there.

  >>> stands("params/text/block_01/mlp/up/kernel")
  (('text_model.encoder.layers.1.mlp.fc1.weight',), 'dense')
  >>> stands("params/encoder/embed/bias") is None
  True
  """
  start, _, inner = path.partition("/")
  if start != "params":
    return None
  if inner in _WHOLE:
    name, kind = _WHOLE[inner]
    return (name,), kind
  stem, _, leaf = inner.rpartition("/")
  stems: tuple[str, ...] = (_NORMS[stem],) if stem in _NORMS else ()
  if match := _BLOCK.fullmatch(stem):
    before = f"{_TOWERS[match[1]]}.encoder.layers.{int(match[2])}"
    stems = tuple(f"{before}.{name}" for name in _IN_BLOCK.get(match[3], ()))
  if not stems:
    return None
  ending = "bias" if leaf == "bias" else "weight"
  return tuple(f"{one}.{ending}" for one in stems), "dense" if leaf == "kernel" else "plain"
