"""The names that published weights have in their files, beside ours."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from maskjax.errors import BadInput
from maskjax.model import published_pairs, published_text

Kind = Literal[
  "dense", "patch", "conv", "plain", "token", "table", "matrix", "rows", "grid", "scalar"
]
TEXT = ("llama", "gpt2", "bert")  # of language models
LAYOUTS = ("facebook", "huggingface")  # of masked autoencoders
PAIRS = "clip"  # of images and texts
WRITTEN = (*LAYOUTS, *TEXT, PAIRS)
READ = (*WRITTEN, "torchvision")  # and of residual networks


class Entry(NamedTuple):
  """One leaf of ours, its names in a file (several are stacked, as q, k, v), and its lay-out."""

  ours: str
  theirs: tuple[str, ...]
  kind: Kind


CLASS_TOKEN: dict[str, str] = {
  "facebook": "cls_token",
  "huggingface": "vit.embeddings.cls_token",
  PAIRS: published_pairs.CLASS_TOKEN,
}
POSITION: dict[str, str] = {
  "facebook": "pos_embed",
  "huggingface": "vit.embeddings.position_embeddings",
  PAIRS: published_pairs.POSITION,
}

_FACEBOOK = {
  "params/encoder/class_token": (CLASS_TOKEN["facebook"], "token"),
  "params/decoder/mask_token": ("mask_token", "token"),
  "buffers/encoder/position": (POSITION["facebook"], "table"),
  "params/encoder/position": (POSITION["facebook"], "table"),
  "buffers/decoder/position": ("decoder_pos_embed", "table"),
  "params/encoder/embed": ("patch_embed.proj", "patch"),
  "params/encoder/norm": ("norm", "norm"),
  "params/decoder/embed": ("decoder_embed", "dense"),
  "params/decoder/norm": ("decoder_norm", "norm"),
  "params/decoder/predict": ("decoder_pred", "dense"),
  "params/decoder/losses/norm": ("decoder_norm_losspred", "norm"),
  "params/decoder/losses/predict": ("decoder_pred_losspred", "dense"),
}
_HUGGINGFACE = {
  "params/encoder/class_token": (CLASS_TOKEN["huggingface"], "token"),
  "params/decoder/mask_token": ("decoder.mask_token", "token"),
  "buffers/encoder/position": (POSITION["huggingface"], "table"),
  "params/encoder/position": (POSITION["huggingface"], "table"),
  "buffers/decoder/position": ("decoder.decoder_pos_embed", "table"),
  "params/encoder/embed": ("vit.embeddings.patch_embeddings.projection", "patch"),
  "params/encoder/norm": ("vit.layernorm", "norm"),
  "params/decoder/embed": ("decoder.decoder_embed", "dense"),
  "params/decoder/norm": ("decoder.decoder_norm", "norm"),
  "params/decoder/predict": ("decoder.decoder_pred", "dense"),
}
_TOP: dict[str, dict[str, tuple[str, str]]] = {
  "facebook": _FACEBOOK,
  "huggingface": _HUGGINGFACE,
}
_BLOCKS: dict[str, dict[str, str]] = {
  "facebook": {
    "encoder": "blocks",
    "decoder": "decoder_blocks",
    "decoder/losses": "decoder_blocks_losspred",
  },
  "huggingface": {"encoder": "vit.encoder.layer", "decoder": "decoder.decoder_layers"},
}
_IN_BLOCK: dict[str, dict[str, tuple[str, ...]]] = {
  "facebook": {
    "norm1": ("norm1",),
    "attention/qkv": ("attn.qkv",),
    "attention/out": ("attn.proj",),
    "norm2": ("norm2",),
    "mlp/up": ("mlp.fc1",),
    "mlp/down": ("mlp.fc2",),
  },
  "huggingface": {
    "norm1": ("layernorm_before",),
    "attention/qkv": tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    "attention/out": ("attention.output.dense",),
    "norm2": ("layernorm_after",),
    "mlp/up": ("intermediate.dense",),
    "mlp/down": ("output.dense",),
  },
}
_TORCHVISION = {"encoder/embed": "conv1", "encoder/embed_norm": "bn1", "head": "fc"}
_IN_RESIDUAL = (("shortcut_norm", "downsample.1"), ("shortcut", "downsample.0"), ("norm", "bn"))
_LEAF = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}
_RESIDUAL = re.compile(r"encoder/block_(\d+)/(\w+)")
_LAYER = re.compile(r"layer(\d+)\.(\d+)\.(.+)")
_BLOCK = re.compile(r"params/(encoder|decoder|decoder/losses)/block_(\d+)/(.+)")


def entry(path: str, layout: str) -> Entry | None:
  """Where a leaf of ours stands in a file; None for one that published models do not have.

  >>> entry("params/encoder/block_03/mlp/up/kernel", "facebook").theirs
  ('blocks.3.mlp.fc1.weight',)
  """
  if layout == "torchvision":
    return _residual(path)
  if layout in (*TEXT, PAIRS):
    pairs = layout == PAIRS
    stands = published_pairs.stands(path) if pairs else published_text.stands(path, layout)
    return None if stands is None else Entry(path, *stands)
  top = _TOP[layout]
  if path in top:
    name, kind = top[path]
    return Entry(path, (name,), "token" if kind == "token" else "table")
  stem, _, leaf = path.rpartition("/")
  if stem in top:
    name, kind = top[stem]
    stems: tuple[str, ...] = (name,)
    kernel: Kind = "patch" if kind == "patch" else "dense"
  else:
    match = _BLOCK.fullmatch(stem)
    if match is None or match[1] not in _BLOCKS[layout] or match[3] not in _IN_BLOCK[layout]:
      return None
    block = f"{_BLOCKS[layout][match[1]]}.{int(match[2])}"
    stems = tuple(f"{block}.{name}" for name in _IN_BLOCK[layout][match[3]])
    kernel = "dense"
  ending = "bias" if leaf == "bias" else "weight"
  return Entry(
    path, tuple(f"{name}.{ending}" for name in stems), kernel if leaf == "kernel" else "plain"
  )


def _residual(path: str) -> Entry | None:
  """Where a leaf of a residual network stands, by the numbers that `in_order` gives to blocks."""
  stem, _, leaf = path.partition("/")[2].rpartition("/")
  name = _TORCHVISION.get(stem)
  if match := _RESIDUAL.fullmatch(stem):
    layer = match[2]
    for ours, theirs in _IN_RESIDUAL:
      layer = layer.replace(ours, theirs)
    name = f"block.{int(match[1])}.{layer}"
  if name is None or leaf not in _LEAF:
    return None
  kernel: Kind = "dense" if stem == "head" else "conv"
  return Entry(path, (f"{name}.{_LEAF[leaf]}",), kernel if leaf == "kernel" else "plain")


def in_order(names: Collection[str]) -> dict[str, str]:
  """Canonical names of a file's: the blocks of residual networks are counted through all layers.

  >>> list(in_order(["layer1.0.bn1.bias", "layer1.1.bn1.bias", "layer2.0.bn1.bias"]).values())
  ['block.0.bn1.bias', 'block.1.bn1.bias', 'block.2.bn1.bias']
  """
  matches = {name: _LAYER.fullmatch(name) for name in names}
  sizes = Counter(layer for layer, _ in {(int(m[1]), m[2]) for m in matches.values() if m})

  def number(match: re.Match[str]) -> int:
    return sum(n for layer, n in sizes.items() if layer < int(match[1])) + int(match[2])

  return {n: f"block.{number(m)}.{m[3]}" if m else canonical(n) for n, m in matches.items()}


def canonical(name: str) -> str:
  """The one spelling of a name that files of different ages and models spell differently.

  Hugging Face's encoder alone is saved without the prefix `vit.`, and its decoder's blocks have
  two names.

  >>> canonical("decoder.decoder_encoder.layer.0.output.dense.bias")
  'decoder.decoder_layers.0.output.dense.bias'
  """
  name = name.replace("decoder.decoder_encoder.layer.", "decoder.decoder_layers.")
  if (text := published_text.canonical(name)) != name:
    return text
  return f"vit.{name}" if name.startswith(("embeddings.", "encoder.", "layernorm.")) else name


def detect(names: Collection[str]) -> str:
  """The layout of a file from its (canonical) names; `BadInput` if it is none that we know.

  >>> detect(["cls_token", "patch_embed.proj.weight"])
  'facebook'
  """
  marks: Mapping[str, str] = {
    "facebook": "patch_embed.proj.weight",
    "huggingface": "vit.embeddings.patch_embeddings.projection.weight",
    "torchvision": "bn1.running_mean",
    **published_text.MARKS,
    PAIRS: published_pairs.MARK,
  }
  for layout, mark in marks.items():
    if mark in names:
      return layout
  some = ", ".join(sorted(names)[:3])
  raise BadInput(
    f"not a published network that we know: it has none of {list(marks.values())} (it has {some})"
  )
