"""What opens data by a short name, `data.name`; any other function is named in full."""

import contextlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from maskjax import bind
from maskjax.data import fetched
from maskjax.data.source import Source
from maskjax.errors import BadInput, nearest
from maskjax.record import Record

OPENERS = {
  "folder": "maskjax.data.files:open",
  "zip": "maskjax.data.files:open",
  "npz": "maskjax.data.arrays:open",
  "text": "maskjax.data.text:open",
  "labelled_text": "maskjax.data.labelled_text:open",
  "wav": "maskjax.data.wav:open",
  "csv": "maskjax.data.series:open",
  "table": "maskjax.data.table:open",
  "motion": "maskjax.data.motion:open",
  "mixtures": "maskjax.data.mixtures:open",
  "graph": "maskjax.data.graph:open",
  "tiny": "maskjax.data.tiny:source",
}
# Arguments of openers that are not for a config to say.
OURS = ("path", "name", "known")


def opened(
  name: str, path: str, kwargs: Mapping[str, Any], known: Record | None = None
) -> tuple[Record, dict[str, Source]]:
  """What the opener of a kind gives, `load` without all that follows it.

  Raises:
    BadInput: no such kind, an argument that it does not take, or data that it cannot read.
    Restart: a store in which they lie does not answer.
  """
  open_, takes = opener(name)
  allowed = [key for key in list(takes)[1:] if key not in OURS]  # the path is given in front
  for key in kwargs:
    if key not in allowed:
      raise BadInput(
        f"data.{key} is not for {name!r}{nearest(key, allowed)} (known: {', '.join(allowed)})"
      )
  rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
  for key in allowed:
    needed = takes[key].default is inspect.Parameter.empty and takes[key].kind not in rest
    if needed and key not in kwargs:
      raise BadInput(f"data of {name!r} need data.{key}")
  ours = {"name": name, "known": known}
  more = {key: ours[key] for key in ours if key in takes}
  # Functions of others, and TFDS, know what to do with a URL.
  with fetched.local(path) if name in OPENERS else contextlib.nullcontext(path) as place:
    return open_(place, **more, **kwargs)


def opener(name: str) -> tuple[Callable[..., Any], Mapping[str, inspect.Parameter]]:
  """The function that opens data of a name, and its arguments."""
  module, _, function = name.rpartition(":")
  foreign = bool(module) and function.isidentifier()  # "mnist:3.0.1" is a version in TFDS
  found = bind.resolve(name if foreign else OPENERS.get(name, "maskjax.data.tfds:open"), "")
  return found, inspect.signature(found).parameters
