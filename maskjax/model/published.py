"""Published weights, read from and written to safetensors: no file here can run code."""

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from maskjax.errors import BadInput, unknown
from maskjax.model.position import resize_table
from maskjax.model.published_names import (
  CLASS_TOKEN,
  POSITION,
  READ,
  WRITTEN,
  Entry,
  detect,
  entry,
  in_order,
)

Variables = Mapping[str, Any]
GRID_NOTE = "maskjax.grid"
SEGMENTS = "bert.embeddings.token_type_embeddings.weight"
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".tar")


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of each name when a file was read; `str()` shows it as a table.

  Attributes:
    layout: the file's layout, one of `published_names.READ`.
    mapped: `(ours, theirs, note)` of every leaf that was filled; the note says what was changed.
    missing: leaves of ours that the file does not have, kept as they were.
    unused: names of the file that we have no place for.
  """

  layout: str
  mapped: tuple[tuple[str, str, str], ...]
  missing: tuple[str, ...]
  unused: tuple[str, ...]

  def __str__(self) -> str:
    """One line per name under a line of counts."""
    rows = [("mapped", ours, theirs, note) for ours, theirs, note in self.mapped]
    rows += [("missing", ours, "", "kept as it was") for ours in self.missing]
    rows += [("unused", "", theirs, "") for theirs in self.unused]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    lines = [
      "  ".join(f"{cell:{w}}" for cell, w in zip(r, (*widths, 0), strict=True)) for r in rows
    ]
    counts = f"{len(self.mapped)} mapped, {len(self.missing)} missing, {len(self.unused)} unused"
    return "\n".join([f"{self.layout}: {counts}", *(line.rstrip() for line in lines)])


def load(
  path: str | os.PathLike[str],
  variables: Variables,
  *,
  patch: Sequence[int] = (),
  grid: Sequence[int] = (),
  layout: str = "auto",
  file_grid: Sequence[int] | None = None,
) -> tuple[dict[str, Any], Report]:
  """Fills the variables of a network from published weights of its kind.

  Masked autoencoders, residual networks, text transformers in the shapes of Llama, GPT-2 and BERT,
  see `text_transformer`, and dual encoders in that of CLIP, see `dual_encoder`; in several files,
  as `x-00001-of-00002.safetensors`, by any of them.

  `patch` and `grid` are those of a transformer (`model.encoder.patch`, `.grid`). Position
  tables of another grid are resized; `file_grid` says which one the file was made for (else what
  `save` noted, else a square, else the model's). What a file lacks is kept from `variables`, as
  the decoder is where the file is an encoder's.

  Raises:
    BadInput: a pickle, no safetensors file, an unknown layout, or a shape that does not fit.

  Source: github.com/facebookresearch/mae, `ViTMAEForPreTraining`, `LlamaForCausalLM`,
  `GPT2LMHeadModel`, `BertForMaskedLM` and `CLIPModel` of transformers, and the networks
  of torchvision.models.resnet, whose batch normalisation comes with its running statistics.
  """
  tensors, metadata = _read(Path(path))
  layout = detect(tensors) if layout == "auto" else layout
  if layout not in READ:
    raise unknown("layout", layout, (*READ, "auto"))
  if SEGMENTS in tensors and layout == "bert":  # texts here are of one segment, the first
    place = "bert.embeddings.position_embeddings.weight"
    tensors[place] = np.asarray(tensors[place]) + np.asarray(tensors.pop(SEGMENTS))[0]
  ours: dict[str, Any] = flatten_dict(variables, sep="/")
  made_for = tuple(file_grid) if file_grid else _grid_of(tensors, metadata, layout, tuple(grid))
  filled, mapped = dict(ours), []
  used: set[str] = set()
  for leaf_path, leaf in ours.items():
    found = entry(leaf_path, layout)
    if found is None or any(name not in tensors for name in found.theirs):
      continue
    arrays = [np.asarray(tensors[name]) for name in found.theirs]
    value, note = _from_file(found, arrays, leaf, tuple(patch), tuple(grid), made_for)
    filled[leaf_path] = jax.device_put(np.asarray(value, leaf.dtype))
    mapped.append((leaf_path, " + ".join(found.theirs), note))
    used.update(found.theirs)
  if not mapped:
    raise BadInput(f"{path}: nothing in this file of layout {layout} has a place in the model")
  missing = tuple(leaf_path for leaf_path in ours if leaf_path not in {m[0] for m in mapped})
  unused = tuple(sorted(name for name in tensors if name not in used))
  return unflatten_dict(filled, sep="/"), Report(layout, tuple(mapped), missing, unused)


def save(
  path: str | os.PathLike[str],
  variables: Variables,
  *,
  patch: Sequence[int] = (),
  grid: Sequence[int] = (),
  layout: str = "facebook",
) -> None:
  """Writes a network's variables as published weights; `load` returns the same bits.

  `patch` and `grid` are an image encoder's; the grid is noted in the file. An encoder without
  its decoder is written as such. Of a language model all rows of the embeddings are written, those
  of ids that are not predicted too; of BERT's two kinds of segments, which `load` adds to the
  positions as that of the first, zeros. The file appears whole or not at all.

  Raises:
    BadInput: an unknown layout, an ending that is not `.safetensors`, variables of another model.
  """
  path = Path(path)
  if layout not in WRITTEN:
    raise unknown("layout", layout, WRITTEN)
  if path.suffix != ".safetensors":
    raise BadInput(f"weights are written as .safetensors, got {path.name!r}")
  tensors: dict[str, np.ndarray] = {}
  for leaf_path, leaf in flatten_dict(variables, sep="/").items():
    found = entry(leaf_path, layout)
    if found is None:
      raise BadInput(f"{leaf_path} has no place in published weights of layout {layout}")
    arrays = _to_file(found, np.asarray(leaf), tuple(patch))
    tensors.update({n: np.asarray(a, order="C") for n, a in zip(found.theirs, arrays, strict=True)})
  if layout == "bert":
    tensors[SEGMENTS] = np.zeros((2, variables["params"]["position"].shape[-1]), np.float32)
  note = {"format": "pt"} | ({GRID_NOTE: "x".join(map(str, grid))} if grid else {})
  part = path.with_name(f"{path.name}.part{os.getpid()}")
  try:
    save_file(tensors, part, metadata=note)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
  if path.suffix in PICKLES:
    raise BadInput(
      f"{path.name} is a pickle, which can run any code when read; convert it once, with torch:"
      f" w = torch.load({path.name!r}, weights_only=True); safetensors.torch.save_file("
      f"{{k: v.contiguous() for k, v in w.get('model', w).items()}}, '{path.stem}.safetensors')"
    )
  if not path.is_file():
    raise BadInput(f"no weights at {path}")
  found: dict[str, Any] = {}
  notes: dict[str, str] = {}
  part = re.fullmatch(r"(.+-)\d+(-of-\d+\.safetensors)", path.name)
  paths = sorted(path.parent.glob(f"{part[1]}*{part[2]}")) if part else [path]
  if part and len(paths) != int(part[2][4:-12]):
    raise BadInput(f"{path}: {len(paths)} of its {int(part[2][4:-12])} parts are there")
  try:
    for path in paths:
      with safe_open(path, framework="numpy") as file:
        found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        notes |= file.metadata() or {}
    return {ours: found[name] for name, ours in in_order(list(found)).items()}, notes
  except SafetensorError as error:
    raise BadInput(f"{path} is not a whole safetensors file: {error}") from error


def _from_file(
  found: Entry,
  arrays: list[np.ndarray],
  leaf: Any,
  patch: tuple[int, ...],
  grid: tuple[int, ...],
  file_grid: tuple[int, ...],
) -> tuple[np.ndarray, str]:
  """The file's arrays as one leaf of ours, and what was changed on the way."""
  shape = leaf.shape
  note, value = "", np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
  ranks = {"dense": 2, "patch": 2 + len(patch), "conv": 4, "plain": 1, "token": 3, "table": 3}
  ranks |= {"matrix": 2, "rows": 2, "grid": 2, "scalar": 0}
  fits = value.ndim == ranks[found.kind]
  if fits and found.kind == "dense":
    value = value.T
  elif fits and found.kind == "conv":
    value = np.moveaxis(value, (0, 1), (-1, -2))
  elif fits and found.kind == "token":
    value = value.reshape(-1)
  elif fits and found.kind == "patch":
    fits = value.shape[2:] == patch
    value = np.moveaxis(value, (0, 1), (-1, -2)).reshape(-1, value.shape[0])
  elif fits and found.kind == "rows" and 0 < (more := shape[0] - len(value)) < shape[0]:
    value = np.concatenate([value, np.asarray(leaf)[-more:].astype(value.dtype)])
    note = f"{more} further rows kept"
  elif fits and found.kind in ("table", "grid"):
    table = value[0] if found.kind == "table" else value
    value, note = _table(found, table, shape[0], grid, file_grid)
  if not fits or value.shape != shape:
    came = " + ".join(f"{n} {a.shape}" for n, a in zip(found.theirs, arrays, strict=True))
    raise BadInput(f"{came} does not fit {found.ours} {shape} with patch {patch}")
  return value, note


def _to_file(found: Entry, leaf: np.ndarray, patch: tuple[int, ...]) -> list[np.ndarray]:
  if found.kind == "token":
    return [leaf[None, None]]
  if found.kind == "table":
    return [leaf[None]]
  if found.kind == "patch":
    if leaf.shape[0] % math.prod(patch):
      raise BadInput(f"{found.ours} of shape {leaf.shape} is not for patch {patch}")
    return [np.moveaxis(leaf.reshape(*patch, -1, leaf.shape[-1]), (-1, -2), (0, 1))]
  whole = leaf.T if found.kind == "dense" else leaf
  if len(found.theirs) == 1:
    return [whole]
  few = (len(whole) - len(leaf)) // 2 if leaf.ndim > 1 else len(whole) // 3  # keys, values
  return np.split(whole, (len(whole) - 2 * few, len(whole) - few))


def _table(
  found: Entry, table: np.ndarray, rows: int, grid: tuple[int, ...], file_grid: tuple[int, ...]
) -> tuple[np.ndarray, str]:
  """The file's position table as `rows` rows on the model's grid, and what was done to it."""
  ours, theirs = rows - math.prod(grid), len(table) - math.prod(file_grid)
  if ours not in (0, 1) or theirs not in (0, 1):
    raise BadInput(
      f"{found.theirs[0]} has {len(table)} rows, {found.ours} has {rows}: they do not fit the grids"
      f" {file_grid} (of the file; see file_grid) and {grid} (of the model)"
    )
  notes = []
  if file_grid != grid:
    table = np.asarray(resize_table(jnp.asarray(table), file_grid, grid))
    notes.append(f"resized from {file_grid} to {grid}")
  if theirs > ours:
    table = table[1:]
    notes.append("class token's row left out")
  elif ours > theirs:
    table = np.concatenate([np.zeros_like(table[:1]), table])
    notes.append("zero row for the class token")
  return table, "; ".join(notes)


def _grid_of(
  tensors: Mapping[str, Any], metadata: Mapping[str, str], layout: str, grid: tuple[int, ...]
) -> tuple[int, ...]:
  """The grid that a file was made for: the one it notes, else a square, else the model's."""
  if GRID_NOTE in metadata:
    return tuple(int(size) for size in metadata[GRID_NOTE].split("x"))
  token, table = (names.get(layout, "") for names in (CLASS_TOKEN, POSITION))
  if table not in tensors or len(grid) != 2:
    return grid
  positions = tensors[table].shape[-2] - int(token in tensors)
  side = math.isqrt(positions)
  return (side, side) if side * side == positions else grid
