"""The single launch script: every job of every config; without arguments it says how.

python launch.py --config=mae:laptop --workdir=runs/mae

The same as `python -m maskjax`, for a tree that is not installed. See `maskjax.flags`.
"""

import sys

from maskjax.__main__ import main

if __name__ == "__main__":
  sys.exit(main())
