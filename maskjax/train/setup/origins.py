"""Whether weights mean in a run what they meant where they were trained: shapes do not tell."""

import dataclasses
import inspect
import logging
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from maskjax.errors import BadInput
from maskjax.model.vit import SIZES, sized
from maskjax.record import Record, difference
from maskjax.sections import find, is_section
from maskjax.task.base import FROZEN
from maskjax.task.prepare import PREPARED
from maskjax.train.setup.build import Parts, make_task
from maskjax.train.workdirs.workdir import FORMAT, NUMBER, any_config, known_record

log = logging.getLogger("maskjax")

# Arguments of networks that change how they are computed, not what their weights mean.
FREE = ("fn", "dtype", "remat", "scan", "frozen")
# Weights are of no use with another of these. Others may be changed on purpose, as `causal` is
# where a language model becomes one that fills in: they are told.
FATAL = ("heads", "kv_heads", "norm", "activation", "gated")


def strange(parts: Parts, source: pathlib.Path, names: Collection[str]) -> set[str]:
  """Those of the variables `names` that meant something else in the run at `source`.

  These are what has a place for each class, where the classes are others: they should begin anew.

  Raises:
    BadInput: another vocabulary, or networks that differ in what shapes do not tell, such as the
      number of heads; the first difference is shown.
  """
  config, record = any_config(source), known_record(source)
  if config is not None and config[NUMBER] != FORMAT:
    log.warning("%s: its config is of another format, networks are not compared", source)
  elif config is not None:
    for told, fatal in _networks(config, parts.config, names):
      if fatal:
        raise BadInput(f"{source} holds the weights of another network: {told}")
      log.warning("%s was trained otherwise: %s", source, told)
  if record is None:
    return set()
  ours = parts.data.record
  told = _other(record, ours, "vocabulary")
  if told and (other := sorted(_following(parts, "vocabulary") & set(names))):
    raise BadInput(
      f"{source} was trained on another vocabulary: {told}; init_except leaves out what has a "
      f"place for each token, such as {other[0]}"
    )
  if _other(record, ours, "class_names"):
    return _following(parts, "class_names") & set(names)
  return set()


def check_same(parts: Parts, source: pathlib.Path) -> None:
  """Makes sure that a run may go on from the state of the one at `source`.

  Raises:
    BadInput: its weights mean something else here; see `strange`.
  """
  names = list(flatten_dict(parts.state.variables, sep="/"))
  if other := sorted(strange(parts, source, names)):
    raise BadInput(
      f"{source} was trained on other classes, which {other[0]} has places for: init_from begins "
      "it anew, resume cannot"
    )


def _other(record: Record, ours: Record, field: str) -> str:
  """The difference of a field that both records have; empty for none."""
  both = getattr(record, field) and getattr(ours, field)
  return difference(record, ours, [field]) if both else ""


def _following(parts: Parts, field: str) -> set[str]:
  """The variables whose shapes follow the number of entries in a field of the record.

  What is prepared, of structures of its own, is none of them: no run takes it from another.
  """
  record = parts.data.record
  longer: Any = {field: (*getattr(record, field), f"one more {field}")}
  more = dataclasses.replace(record, **longer)
  task = make_task(parts.config, more)
  flat = lambda tree: flatten_dict({k: v for k, v in tree.items() if k != PREPARED}, sep="/")
  grown = flat(jax.eval_shape(task.init, jax.random.key(0), parts.example))
  ours = flat(parts.state.variables)
  return {name for name, leaf in ours.items() if grown[name].shape != leaf.shape}


def _networks(
  theirs: Mapping[str, Any], ours: Mapping[str, Any], names: Collection[str]
) -> Iterator[tuple[str, bool]]:
  """Differences of networks whose variables are among `names`, and whether they are fatal."""
  trained = [name for name in names if not name.startswith(f"{FROZEN}/")]
  was, now = (list((config.get("over") or {}).get("patch") or ()) for config in (theirs, ours))
  if trained and was and now and was != now:
    yield f"over.patch was {was}, is now {now}", True
  model = theirs.get("model") or {}
  for path, mine in _sections(ours.get("model") or {}):
    other = model.get(path, model) if path else model
    used = not path or any(f"/{path}/" in name for name in names)
    if not (used and is_section(other) and other["fn"] == mine["fn"]):
      continue
    before, after = _arguments(other), _arguments(mine)
    for name in before:
      if name in after and before[name] != after[name]:
        where = ".".join(filter(None, ("model", path, name)))
        yield f"{where} was {before[name]!r}, is now {after[name]!r}", name in FATAL


def _sections(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """The networks of a model section by name; "" for one that is all of it."""
  if is_section(model):
    yield "", model
  else:
    yield from ((name, part) for name, part in model.items() if is_section(part))


def _arguments(section: Mapping[str, Any]) -> dict[str, Any]:
  """All that a section says of its network, its function's defaults too, as JSON has it."""
  takes = inspect.signature(find(section["fn"])).parameters
  said = {k: p.default for k, p in takes.items() if p.default is not inspect.Parameter.empty}
  said |= section
  if said.get("size") in SIZES:
    given = {k: said.get(k) for k in ("width", "depth", "heads", "mlp")}
    said |= sized(said.pop("size"), **given)._asdict()
  return {k: _plain(v) for k, v in said.items() if k not in FREE}


def _plain(value: Any) -> Any:
  return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
