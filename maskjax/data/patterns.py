"""What names of files say by a pattern of fields, such as "{label}_{speaker}_{n:d}.wav"."""

import logging
import re
from collections.abc import Sequence

from maskjax.errors import BadInput

_log = logging.getLogger("maskjax")

Fields = dict[str, str]


def match(names: Sequence[str], pattern: str) -> list[Fields | None]:
  """The fields of each name, None where it does not fit the pattern.

  As many folders of a name count as the pattern has slashes. A field is as short as fits, and one
  that ends in `:d` is a number. What else the label could have been is told.

  Raises:
    BadInput: no pattern, or one without `{label}`.

  >>> match(["a/red_cat_1.png", "a/readme"], "{label}_{n:d}.png")
  [{'label': 'red_cat', 'n': '1'}, None]
  """
  short, long = (_compiled(pattern, label) for label in ("[^/]+?", "[^/]+"))
  found: list[Fields | None] = []
  other = ""
  for name in names:
    tail = "/".join(name.split("/")[-1 - pattern.count("/") :])
    one, two = short.fullmatch(tail), long.fullmatch(tail)
    found.append(one.groupdict() if one else None)
    if one and two and one["label"] != two["label"] and not other:
      other = f"{name} is of {one['label']!r}, but might be of {two['label']!r}"
  if other:
    told = "%s by the label pattern %r: '{field:d}' is a number, '{field}' as short as fits"
    _log.warning(told, other, pattern)
  return found


def _compiled(pattern: str, label: str) -> re.Pattern[str]:
  def group(field: re.Match[str]) -> str:
    inner = r"\d+" if field[2] else label if field[1] == "label" else "[^/]+?"
    return f"(?P<{field[1]}>{inner})"

  try:
    found = re.compile(re.sub(r"\\{(\w+)(:d)?\\}", group, re.escape(pattern)))
  except re.error as error:
    raise BadInput(f"label pattern {pattern!r}: {error}") from error
  if "label" not in found.groupindex:
    raise BadInput(f"label is 'folder', 'inner', '' or a pattern with {{label}}, got {pattern!r}")
  return found
