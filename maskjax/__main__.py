"""The program: `maskjax`, `python -m maskjax` and `python launch.py`; see `maskjax.flags`."""

import sys

from maskjax.errors import BadInput
from maskjax.extras import needs


def main() -> int:
  """Runs the command line of this process; 2 where what runs need is not installed."""
  try:
    with needs("train", "the program"):
      from maskjax import cli
  except BadInput as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  return cli.main()


if __name__ == "__main__":
  sys.exit(main())
