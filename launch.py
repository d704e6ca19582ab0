"""The single launch script: every job of every config.

python launch.py --config=configs/image/mae.py[:preset,key=value] --workdir=DIR [--config.key=value]
python launch.py --list [--json]

A key is dotted, `select.ratio`; a value is a Python literal, `(64, 64)`, or plain words.
Exit status: 0 done, 2 bad input, 75 stopped before the end (start again to go on), 1 a bug of ours.
"""

import pathlib
import sys

from maskjax.cli import main

if __name__ == "__main__":
  sys.exit(main(sys.argv, configs=pathlib.Path(__file__).parent / "configs", usage=__doc__))
