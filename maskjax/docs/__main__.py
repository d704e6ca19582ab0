"""The API reference as web pages: python -m maskjax.docs OUT."""

import pathlib
import sys
from collections.abc import Sequence

from maskjax.docs.reference import write
from maskjax.errors import BadInput


def main(argv: Sequence[str]) -> int:
  """Renders the reference into a folder; 2 if that is not to be."""
  try:
    if len(argv) != 1 or argv[0].startswith("-"):
      raise BadInput((__doc__ or "").strip())
    write(pathlib.Path(argv[0]))
  except BadInput as error:
    print(error, file=sys.stderr)
    return 2
  print(pathlib.Path(argv[0]) / "index.html")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
