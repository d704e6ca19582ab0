"""`python -m maskjax.train.plan --config=FILE --topologies=v5e:4x4,v5e:16x16 [--json]`."""

import argparse
import json
import sys
from collections.abc import Sequence

from maskjax import lab
from maskjax.errors import BadInput


def main(argv: Sequence[str]) -> int:
  """Prints the plans of a config for several topologies side by side; 0 done, 2 bad input."""
  flags = argparse.ArgumentParser(prog="python -m maskjax.train.plan", description=__doc__)
  flags.add_argument("--config", required=True, help="ID or file.py, then [:preset,key=value,…]")
  flags.add_argument("--topologies", required=True, help="as v5e:4x4,v5e:16x16")
  flags.add_argument("--per_chip", type=int, help="examples a chip; else batch_size of the largest")
  flags.add_argument("--json", action="store_true")
  given = flags.parse_args(argv)
  # What is heavier loads only when something is to be compiled.
  from maskjax.train.plan.scaling import scaling, scaling_table

  try:
    config = lab.read(given.config).to_dict()
    plans = scaling(config, lab.note(given.config), given.topologies.split(","), given.per_chip)
  except BadInput as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  print(json.dumps(plans, indent=2) if given.json else scaling_table(plans))
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
