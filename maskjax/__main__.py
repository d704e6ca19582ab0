"""`python -m maskjax`: see `maskjax.flags`."""

import sys

from maskjax.cli import main

if __name__ == "__main__":
  sys.exit(main())
