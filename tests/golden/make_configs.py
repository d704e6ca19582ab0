"""Writes tests/golden/configs/ID.json: what the config of a method does, before and after.

python tests/golden/make_configs.py ID [ID …]

It prints what is no longer as it was. What a mask depends on is found by running it with the
weights of another seed.
"""

import json
import os
import pathlib
import re
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
TESTS = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

import behaviour  # noqa: E402
import built  # noqa: E402

FOLDER = TESTS / "golden" / "configs"


def made(name, seed):
  """The behaviour of a config whose weights are initialised from `seed`."""
  built.INIT = seed
  return behaviour.behaviour(built.Built(name), built.Built(name, "laptop"))


def written(behaviour):
  """A behaviour as JSON, lists and masks a line each."""
  text = json.dumps(behaviour, indent=1)
  for brackets in (r"\[\s+([^\[\]{}]*?)\s+\]", r"\{\s+([^{}]*?\"size\"[^{}]*?)\s+\}"):
    text = re.sub(brackets, lambda m: m[0][0] + " ".join(m[1].split()) + m[0][-1], text)
  return text + "\n"


def main(names):
  """Writes the behaviours of these configs and prints old and new."""
  if unknown := set(names) - set(built.FILES):
    sys.exit(f"no such config: {', '.join(sorted(unknown))}")
  if not names:
    sys.exit(__doc__)
  for name in names:
    new = behaviour.exact(made(name, 1), made(name, 2))
    path = FOLDER / f"{name}.json"
    if path.exists():
      old = json.loads(path.read_text())
      print("\n".join([name, *(f"  {line}" for line in behaviour.differences(old, new))]))
    path.write_text(written(new))
    print(f"{name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
  main(sys.argv[1:])
