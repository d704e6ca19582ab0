"""Values that are functions: networks as the loops see them that decode what is hidden."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from maskjax.errors import BadInput
from maskjax.hide.pairs import Predicate
from maskjax.task.networks import Network
from maskjax.task.text import blocks_read, shifted

Logits = Callable[[Int[Array, "b n"], Bool[Array, "b n"]], Float[Array, "b n v"]]


def logits_of(
  graph: Callable[..., Any], grid: tuple[int, ...], *, value: str = "logits", field: str = "tokens"
) -> Logits:
  """A value as a function `(tokens, hidden)`: what it is of these tokens where these are hidden.

  For `generate.decode`, which asks a network again and again. All tokens are there, none is
  padding, and none is of another document.

  Args:
    graph: whose `source` and `hidden` are given, see `run.Run.ask`.
    grid: over which the tokens lie. Along its last axis they may be more or fewer.
    value: what is asked, logits of every token; of a branch as "BRANCH.NAME".
    field: of the batch that holds the tokens, over the grid.

  >>> asked = lambda value, source, hidden: source["image"].shape
  >>> logits_of(asked, (2, 3), field="image")(jnp.zeros((1, 6), int), jnp.ones((1, 6), bool))
  (1, 2, 3)
  """

  def logits(tokens: Int[Array, "b n"], hidden: Bool[Array, "b n"]) -> Any:
    ids = tokens.reshape(len(tokens), *grid[:-1], -1)
    source = {field: ids, "valid": jnp.ones(ids.shape, bool)}
    return graph(value, source=source, hidden=hidden)

  return logits


def blank(nothing: Bool[Array, "b n"]) -> Int[Array, "b n"]:
  """An id at every position, 0: what decoding begins from where all is hidden.

  >>> blank(jnp.zeros((1, 2), bool)).tolist()
  [[0, 0]]
  """
  return jnp.zeros(nothing.shape, jnp.int32)


def where_given(given: Any, graph: Callable[..., Any], *, present: str, absent: str) -> Any:
  """One value where a caller handed another over, or else a third, which alone is then made.

  Args:
    given: None where a caller did not hand it over.
    graph: asks for values.
    present: reference to the value where it was handed over.
    absent: reference to the value where it was not.

  >>> where_given(None, lambda name: {"a": 1, "b": 2}[name], present="a", absent="b")
  2
  """
  return graph(absent if given is None else present)


class Cached(NamedTuple):
  """A network that reads from left to right, and remembers; see `generate.autoregressive`.

  Attributes:
    read: `tokens -> cache`, of whole windows.
    follow: `(cache, tokens, i) -> (logits, cache)`, at position i.
  """

  read: Callable[..., Any]
  follow: Callable[..., Any]


def cached(
  network: Network,
  hidden: Bool[Array, "b n"],
  begin: int,
  pairs: Predicate | None = None,
  blocks: Int[Array, "b n"] | None = None,
) -> Cached:
  """A language model as two functions that write the end of each window, with a key-value cache.

  Args:
    network: a text transformer.
    hidden: what is written, the end of each window or nothing.
    begin: the id that is read first, see `task.read_from_left`.
    pairs: a mask of pairs in place of the network's own: what is written is asked, what is given
      a prompt, read at once.
    blocks: of the prompt, which `pairs` may tell apart; one unless said.

  Raises:
    BadInput: `hidden` is known, and hides something before what is given.

  >>> cached(None, np.array([[True, False]]), 9)
  Traceback (most recent call last):
  maskjax.errors.BadInput: what is written from left to right is the end of a window: hide a suffix
  """
  _check_suffix(hidden)
  segments, options = None, {}
  if pairs is not None:
    known = {} if blocks is None else {"blocks": blocks}
    segments = blocks_read({"valid": jnp.asarray(hidden), **known})
    options = {"pairs": pairs}

  def step(ids: Int[Array, "b k"], start: Any, **cache: Any) -> tuple[Array, Any]:
    variables = {**network.variables, **cache}
    more = {"start": start, "mutable": ["cache"], **options}
    logits, state = network.module.apply(variables, ids, None, segments, **more)
    return logits, state["cache"]

  def read(tokens: Int[Array, "b n"]) -> Any:
    ids = shifted({"tokens": tokens, "valid": jnp.ones_like(hidden)}, begin).ids
    return step(ids, 0)[1]

  def follow(cache: Any, tokens: Int[Array, "b n"], i: Int[Array, ""]) -> tuple[Array, Any]:
    before = jax.lax.dynamic_slice_in_dim(tokens, i - 1, 1, axis=-1)
    logits, cache = step(jnp.where(i > 0, before, begin), i, cache=cache)
    return logits[:, 0], cache

  return Cached(read, follow)


def _check_suffix(hidden: Bool[Array, "b n"]) -> None:
  if isinstance(hidden, jax.core.Tracer):
    return
  known = np.asarray(hidden)
  if (known[:, :-1] & ~known[:, 1:]).any():
    raise BadInput("what is written from left to right is the end of a window: hide a suffix")
