"""What processes tell each other from any thread, through jax's key-value store."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import jax
from jax._src import distributed

from maskjax.errors import BadInput, Restart
from maskjax.train.pod import service

KINDS = {"BadInput": BadInput, "Restart": Restart}

_numbers = itertools.count()


class ElsewhereError(Exception):
  """What went wrong at another process, in its words."""


class Exchange:
  """One conversation of all processes: each makes it at the same place of its program.

  Args:
    about: what of, for words about who is late.
  """

  def __init__(self, about: str):
    self._about, self._place, self._rounds = about, f"maskjax/checkpoint/{next(_numbers)}", 0

  def agree(self, value: Any, decide: Callable[[list[Any]], Any]) -> Any:
    """Brings what each process has to the first, and what that makes of it to all.

    n values go to one process and one goes to n; `decide` runs at the first alone.

    Args:
      value: anything that JSON can hold.
      decide: takes the values of all processes in their order, returns what JSON can hold.

    Returns:
      What `decide` returned, at every process.

    Raises:
      Exception: at the first, what `decide` raised.
      ElsewhereError: at the others, where it raised; `BadInput` and `Restart` as they are.
    """
    count, me = jax.process_count(), jax.process_index()
    if count == 1:
      return decide([value])
    self._rounds += 1
    client, place = distributed.global_state.client, f"{self._place}/{self._rounds}"
    assert client is not None
    if me:
      client.key_value_set(f"{place}/{me}", json.dumps(value))
      told = service.heard(client, place, 0, self._about)
      if "error" in told:
        raise KINDS.get(told["kind"], ElsewhereError)(told["error"])
      return told["value"]
    values = service.gathered(client, place, value, count, self._about)
    # All are here, so all have read what was told before.
    client.key_value_delete(f"{self._place}/{self._rounds - 1}")
    try:
      made = decide(values)
    except Exception as error:
      told = {"error": str(error), "kind": type(error).__name__}
      client.key_value_set(place, json.dumps(told))
      raise
    client.key_value_set(place, json.dumps({"value": made}))
    return made
