"""What maskjax makes of a data set: `python -m maskjax.data PATH [name=KIND] [key=value ...]`."""

import ast
import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from maskjax.data import fetched, guess, pipeline
from maskjax.errors import BadInput, Restart

# So that a look does not ask for what only a run decides.
_LOOK: dict[str, dict[str, Any]] = {
  "folder": {"size": (64, 64)},
  "csv": {"length": 1, "split": (1.0, 0.0, 0.0)},
}


def main(arguments: Sequence[str]) -> int:
  """Prints splits, classes with counts and what is passed over; 2 for what cannot be read."""
  try:
    if not arguments:
      raise BadInput("usage: python -m maskjax.data PATH [name=KIND] [key=value ...]")
    path, *settings = arguments
    options = dict(map(_setting, settings))
    with fetched.local(path) as place:
      name = options.pop("name", None) or guess.kind(place)
    with _told():
      print(describe(name, path, options))
  except (BadInput, Restart) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2 if isinstance(error, BadInput) else 75
  return 0


@contextlib.contextmanager
def _told() -> Iterator[None]:
  """What is logged goes to standard output, and nowhere else, as long as this lasts."""
  log, handler = logging.getLogger("maskjax"), logging.StreamHandler(sys.stdout)
  before = log.level, log.propagate
  log.addHandler(handler)
  log.setLevel(logging.INFO)
  log.propagate = False  # a library may have set up the root's handler, which would say it again
  try:
    yield
  finally:
    log.level, log.propagate = before
    log.removeHandler(handler)


def describe(name: str, path: str, options: dict[str, Any]) -> str:
  """The facts of a data set, a line each."""
  assumed = "size" not in options
  options = {**_LOOK.get(name, {}), **options}
  if "size" in options:
    options["size"] = pipeline.sides(options["size"])
  record, splits = pipeline.opened(name, path, options)
  lines = [f"{path}: data.name={name}, {record.kind}, shape {record.shape}"]
  if assumed and "size" in options:
    lines.append(
      "a run needs --config.data.size='(h, w)' where images differ in size, and has no default"
    )
  if record.rate:
    lines.append(f"rate {record.rate} samples a second")
  if record.vocabulary:
    lines.append(f"{len(record.vocabulary)} {record.unit}")
  for split, source in splits.items():
    of = getattr(source, "label_of", None)
    labels = Counter(of(i) for i in range(len(source))) if of and record.class_names else {}
    counts = [f"{c} {labels[i]}" for i, c in enumerate(record.class_names) if i in labels]
    more = f" and {len(counts) - 12} more" if len(counts) > 12 else ""
    told = ", ".join(counts[:12]) + more if counts else "no labels"
    lines.append(f"{split}: {len(source)} examples ({told})")
  first = next(iter(splits.values()))[0]
  arrays = {key: np.asarray(value) for key, value in first.items()}
  lines += [f"{key}: {value.dtype} {value.shape}" for key, value in arrays.items()]
  return "\n".join(lines)


def _setting(setting: str) -> tuple[str, Any]:
  key, equals, value = setting.partition("=")
  if not equals:
    raise BadInput(f"{setting!r} is not key=value")
  try:
    return key, ast.literal_eval(value)
  except (ValueError, SyntaxError):
    return key, value


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
