"""What processes leave for each other in the key-value store of jax's service."""

import json
import logging
from typing import Any

import jax

from maskjax.train.pod.rendezvous import listed

log = logging.getLogger("maskjax")

LATE = 60.0  # seconds after which those who wait are told for whom


def heard(client: Any, key: str, index: int, about: str) -> Any:
  """What a process left under a key, once it has; until then it is said now and then who is late.

  Args:
    client: of jax's service.
    key: of the store.
    index: of the process that is waited for.
    about: where in the run, for words about who is late.
  """
  while True:
    try:
      return json.loads(client.blocking_key_value_get(key, int(LATE * 1000)))
    except jax.errors.JaxRuntimeError as error:
      if "DEADLINE_EXCEEDED" not in str(error):
        raise
    log.warning("waiting for %s at %s", listed([index]), about)


def gathered(client: Any, place: str, value: Any, count: int, about: str) -> list[Any]:
  """At process 0, its own value and what each of the others left under `place/INDEX`."""
  values = [value]
  for index in range(1, count):
    values.append(heard(client, f"{place}/{index}", index, about))
    client.key_value_delete(f"{place}/{index}")
  return values
