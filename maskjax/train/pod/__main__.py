"""Starts the small parent, run as a folder: `python …/maskjax/train/pod PLACE COMMAND…`.

The package maskjax imports jax when it is imported; a bare one in its stead does not.
"""

import pathlib
import sys
import types

if __name__ == "__main__":
  bare = types.ModuleType("maskjax")
  bare.__path__ = [str(pathlib.Path(__file__).resolve().parents[2])]
  sys.modules["maskjax"] = bare
  sys.path.pop(0)  # this folder, whose names are not for all
  from maskjax.train.pod.parent import main

  sys.exit(main(sys.argv[1:]))
