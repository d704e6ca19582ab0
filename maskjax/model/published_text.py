"""The names of published language models: Llama's, GPT-2's and BERT's, as transformers has them."""

import re
from typing import Literal

Kind = Literal["dense", "plain", "matrix", "rows"]
# Of each layout: what stands before a block's number, and each module of ours in theirs.
_BEFORE = {"llama": "model.layers", "gpt2": "transformer.h", "bert": "bert.encoder.layer"}
_IN_BLOCK: dict[str, dict[str, tuple[str, ...]]] = {
  "llama": {
    "norm1": ("input_layernorm",),
    "attention/qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention/out": ("self_attn.o_proj",),
    "norm2": ("post_attention_layernorm",),
    "mlp/gate": ("mlp.gate_proj",),
    "mlp/up": ("mlp.up_proj",),
    "mlp/down": ("mlp.down_proj",),
  },
  "gpt2": {
    "norm1": ("ln_1",),
    "attention/qkv": ("attn.c_attn",),
    "attention/out": ("attn.c_proj",),
    "norm2": ("ln_2",),
    "mlp/up": ("mlp.c_fc",),
    "mlp/down": ("mlp.c_proj",),
  },
  "bert": {
    "attention/qkv": tuple(f"attention.self.{part}" for part in ("query", "key", "value")),
    "attention/out": ("attention.output.dense",),
    "norm1": ("attention.output.LayerNorm",),
    "mlp/up": ("intermediate.dense",),
    "mlp/down": ("output.dense",),
    "norm2": ("output.LayerNorm",),
  },
}
_TOP = {
  "llama": {"norm": "model.norm", "predict": "lm_head"},
  "gpt2": {"norm": "transformer.ln_f"},
  "bert": {
    "embed_norm": "bert.embeddings.LayerNorm",
    "transform": "cls.predictions.transform.dense",
    "transform_norm": "cls.predictions.transform.LayerNorm",
  },
}
# Whole leaves: a table of embeddings, of which we may have rows more, or a vector.
_WHOLE: dict[str, dict[str, tuple[tuple[str, ...], Kind]]] = {
  "llama": {"embed/embedding": (("model.embed_tokens.weight",), "rows")},
  "gpt2": {
    "embed/embedding": (("transformer.wte.weight",), "rows"),
    "position": (("transformer.wpe.weight",), "matrix"),
  },
  "bert": {
    "embed/embedding": (("bert.embeddings.word_embeddings.weight",), "rows"),
    "position": (("bert.embeddings.position_embeddings.weight",), "matrix"),
    "predict_bias": (("cls.predictions.bias",), "plain"),
  },
}
MARKS = {layout: names["embed/embedding"][0][0] for layout, names in _WHOLE.items()}
_BLOCK = re.compile(r"block_(\d+)/(.+)")


def stands(path: str, layout: str) -> tuple[tuple[str, ...], Kind] | None:
  """The names and the lay-out of a leaf of ours in a file; None for one that is not there.

  >>> stands("params/block_01/mlp/gate/kernel", "llama")
  (('model.layers.1.mlp.gate_proj.weight',), 'dense')
  >>> stands("params/block_01/mlp/gate/kernel", "gpt2") is None
  True
  """
  start, _, inner = path.partition("/")
  if start != "params":
    return None
  if inner in _WHOLE[layout]:
    return _WHOLE[layout][inner]
  stem, _, leaf = inner.rpartition("/")
  stems: tuple[str, ...] = (_TOP[layout].get(stem, ""),)
  if match := _BLOCK.fullmatch(stem):
    names = _IN_BLOCK[layout].get(match[2], ("",))
    stems = tuple(f"{_BEFORE[layout]}.{int(match[1])}.{name}" if name else "" for name in names)
  if not all(stems):
    return None
  ending = "bias" if leaf == "bias" else "weight"
  kernel: Kind = "matrix" if layout == "gpt2" else "dense"
  return tuple(f"{one}.{ending}" for one in stems), kernel if leaf == "kernel" else "plain"


def canonical(name: str) -> str:
  """A name as transformers has it today: GPT-2 was published without what stands before.

  >>> canonical("h.0.ln_1.weight"), canonical("bert.embeddings.LayerNorm.gamma")
  ('transformer.h.0.ln_1.weight', 'bert.embeddings.LayerNorm.weight')
  """
  name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
  name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
  if re.match(r"(wte|wpe|h|ln_f)\.", name):
    return f"transformer.{name}"
  return name
