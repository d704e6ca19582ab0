"""Statistics of the tokens of the training text, as tables by token id, and what follows from them.

Statistics are values of the graph by their names in the config's section `prepare`; of what follows
from them a value is one that names them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.task.answers import answer
from maskjax.task.base import Batch, Task, Variables
from maskjax.task.prepare import Statistic


class TokenCounts(NamedTuple):
  """How often token ids occur, in float32.

  Attributes:
    tokens: how often each.
    texts: in how many examples each.
    examples: how many examples were counted.
  """

  tokens: Float[Array, "v"]
  texts: Float[Array, "v"]
  examples: Float[Array, ""]


def token_counts(
  *, record: Record, examples: int, data: Mapping[str, Any] | None = None
) -> Statistic:
  """How often each token id occurs in the training text, and in how many examples.

  Args:
    record: of the data.
    examples: that are counted, the first of the run's order; all of the split is one epoch.
    data: what is otherwise in the config's section `data` where another text is counted, by the
      vocabulary of the run's; None: the run's own.
  """
  size = _vocabulary(record, "token_counts")

  def add(total: TokenCounts, variables: Variables, batch: Batch, counts: Bool[Array, "b"]):
    there = batch["valid"] & counts[:, None]
    rows = jnp.arange(len(counts))[:, None]
    each = jnp.zeros((len(counts), size)).at[rows, batch["tokens"]].add(1.0 * there)
    more = TokenCounts(each.sum(0), (each > 0).sum(0).astype(jnp.float32), counts.sum() * 1.0)
    return jax.tree.map(jnp.add, total, more)

  begin = lambda variables: TokenCounts(jnp.zeros(size), jnp.zeros(size), jnp.zeros(()))
  return Statistic(examples, begin, add, lambda total: total, named=True, data=data or {})


def pair_counts(*, record: Record, examples: int, window: int = 11, ids: int = 0) -> Statistic:
  r"""How often two token ids occur within a window of the training text, in float32 `[ids, ids]`.

  $C_{uv}$ is the number of ordered pairs of different positions i, j with $x_i = u$, $x_j = v$ and
  $|i - j| \le (w - 1) / 2$: the places beside the middle of a window. It is symmetric.

  Args:
    record: of the data.
    examples: that are counted, the first of the run's order.
    window: w, odd.
    ids: pairs are counted of the first so many ids; 0: of all. "bpe" has frequent pieces first,
      "words" too.

  Raises:
    BadInput: no text, or a window that is even or below 3.
  """
  size = _vocabulary(record, "pair_counts")
  if window < 3 or window % 2 == 0:
    raise BadInput(f"pair_counts: window is an odd number from 3 up, got {window}")
  size = min(ids or size, size)

  def add(total: Array, variables: Variables, batch: Batch, counts: Bool[Array, "b"]) -> Array:
    x, there = batch["tokens"], batch["valid"] & counts[:, None] & (batch["tokens"] < size)
    # By themselves first: one by one, nothing is added to a float32 above 2²⁴.
    more = jnp.zeros_like(total)
    for apart in range(1, min(window // 2, x.shape[1] - 1) + 1):
      both = there[:, apart:] & there[:, :-apart]
      more = more.at[x[:, apart:], x[:, :-apart]].add(1.0 * both, mode="drop")
    return total + more

  begin = lambda variables: jnp.zeros((size, size))
  return Statistic(examples, begin, add, lambda total: total + total.T, named=True)


def hidden_rates(
  *, task: Task, record: Record, examples: int, mask: str = "chosen", unseen: float = 0.15
) -> Statistic:
  r"""How often masks hide each token id: the share of its places that are hidden, float32 `[v]`.

  Args:
    task: one with the answer `mask`.
    record: of the data.
    examples: whose masks are looked at, the first of the run's order.
    mask: an answer `(variables, batch, key) -> Bool[b, n]`.
    unseen: the rate of ids that do not occur.
  """
  size = _vocabulary(record, "hidden_rates")
  draw = answer(task, mask, "hidden_rates")

  def add(total: Array, variables: Variables, batch: Batch, counts: Bool[Array, "b"]) -> Array:
    key = jax.random.fold_in(stream(jax.random.key(0), "hidden_rates"), total[2, 0].astype(int))
    hidden = draw(variables, batch, key)
    there = batch["valid"] & counts[:, None]
    of = lambda which: jnp.zeros(size).at[batch["tokens"]].add(which.astype(jnp.float32))
    return total + jnp.stack([of(hidden & there), of(there), jnp.full(size, 1.0 * counts.sum())])

  def end(total: Array) -> Float[Array, "v"]:
    hidden, there, _ = total
    return jnp.where(there > 0, hidden / jnp.maximum(there, 1), unseen)

  return Statistic(examples, lambda variables: jnp.zeros((3, size)), add, end, named=True)


def inverse_document_frequency(counts: TokenCounts, *, least: int = 1) -> Float[Array, "v"]:
  r"""How rare texts with a token are: $\log(1 + (N - d + 1/2) / (d + 1/2))$, with d of N texts.

  Args:
    counts: of the training text.
    least: ids in fewer texts count as if in so many: else the rarest, names and errors of writing,
      have the largest weight of all.

  Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009,
  as Lucene keeps it above 0.

  >>> counts = TokenCounts(jnp.array([9., 1.]), jnp.array([3., 1.]), jnp.array(3.))
  >>> [round(float(x), 3) for x in inverse_document_frequency(counts)]
  [0.134, 0.981]
  """
  d = jnp.maximum(counts.texts, least)
  return jnp.log1p((jnp.maximum(counts.examples - d, 0) + 0.5) / (d + 0.5))


def content_words(counts: TokenCounts, *, share: float = 0.1) -> Float[Array, "v"]:
  """1 for ids that lie in at most a share of all texts, 0 for the others, stop words and signs.

  >>> counts = TokenCounts(jnp.array([9., 1.]), jnp.array([3., 1.]), jnp.array(3.))
  >>> content_words(counts, share=0.5).tolist()
  [0.0, 1.0]
  """
  return 1.0 * (counts.texts <= share * counts.examples)


def at_ids(table: Array, ids: Int[Array, "*b n"]) -> Array:
  """The entry of a table by token id at every position.

  >>> at_ids(jnp.array([0.5, 2.0]), jnp.array([1, 1, 0])).tolist()
  [2.0, 2.0, 0.5]
  """
  return jnp.take(table, ids, axis=0)


def term_weights(
  idf: Float[Array, "v"], ids: Int[Array, "*b n"], allowed: Bool[Array, "*b n"], *, k1: float = 1.2
) -> Float[Array, "*b n"]:
  r"""The weight of the term at every position in its own text: $\mathrm{idf}(t) f / (f + k_1)$.

  f is how often the token occurs in its text. BM25 without its norm of length, which is the same
  for all terms of a text.

  Args:
    idf: by token id.
    ids: of n tokens.
    allowed: which of them are there.
    k1: the frequency at which half of the largest weight is reached.

  >>> w = term_weights(jnp.array([1., 2.]), jnp.array([0, 0, 1]), jnp.ones(3, bool), k1=1.0)
  >>> [round(float(x), 3) for x in w]
  [0.667, 0.667, 1.0]
  """
  same = (ids[..., :, None] == ids[..., None, :]) & allowed[..., None, :]
  f = jnp.sum(same, axis=-1, dtype=jnp.float32)
  return at_ids(idf, ids) * f / (f + k1)


def log_shares(weights: Float[Array, "*b n"], allowed: Bool[Array, "*b n"]) -> Float[Array, "*b n"]:
  r"""The logarithm of the share that each position has of the weight of its text.

  $\log w_i / \sum_j w_j$ over what is allowed; -inf without weight and where not allowed.

  Args:
    weights: from 0 up.
    allowed: positions that count.

  >>> shares = log_shares(jnp.array([1.0, 3.0, 4.0]), jnp.array([True, True, False]))
  >>> [round(float(x), 3) for x in shares]
  [-1.386, -0.288, -inf]
  """
  log_w = jnp.where(allowed & (weights > 0), jnp.log(jnp.where(weights > 0, weights, 1)), -jnp.inf)
  total = jax.nn.logsumexp(log_w, axis=-1, keepdims=True)
  return log_w - jnp.where(jnp.isfinite(total), total, 0)


def mutual_information(
  pairs: Float[Array, "v v"], *, least: int = 1, positive: bool = False
) -> Float[Array, "v v"]:
  r"""Pointwise mutual information of token ids in a window: $\log C_{uv} C / (C_u C_v)$, in nats.

  $C_u = \sum_v C_{uv}$ and $C = \sum_u C_u$. 0 for pairs that occur less than `least` times: of
  those seen once it is the largest of all.

  Args:
    pairs: $C_{uv}$, symmetric, see `pair_counts`.
    least: how often a pair occurs at least, in the two orders together.
    positive: whether what is below 0 is 0.

  >>> c = jnp.array([[0., 4.], [4., 2.]])
  >>> [round(float(x), 3) for x in mutual_information(c, least=3).ravel()]
  [0.0, 0.511, 0.511, 0.0]
  """
  one = jnp.maximum(pairs.sum(-1), 1)
  found = jnp.log(jnp.maximum(pairs, 1) * pairs.sum()) - jnp.log(one)[:, None] - jnp.log(one)
  found = jnp.where(pairs >= max(least, 1), found, 0)
  return jnp.maximum(found, 0) if positive else found


def relevance(
  table: Float[Array, "v v"],
  ids: Int[Array, "*b n"],
  hidden: Bool[Array, "*s n"],
  allowed: Bool[Array, "*b n"],
) -> Float[Array, "*s"]:
  r"""How much the hidden tokens of a text have to do with those that are seen.

  $\sum_{i\,\mathrm{hidden}} \sum_{j\,\mathrm{seen}} T_{x_i x_j}$; ids beyond the table count 0.

  Args:
    table: T, such as their mutual information.
    ids: of n tokens.
    hidden: masks, which may have further axes in front.
    allowed: tokens that are there; others are neither hidden nor seen.

  Source: Sadeq, Xu, McAuley, "InforMask", 2022, section 3.

  >>> table = jnp.array([[0., 1.], [1., 5.]])
  >>> hidden = jnp.array([[True, False, False], [False, True, True]])
  >>> relevance(table, jnp.array([0, 1, 1]), hidden, jnp.ones(3, bool)).tolist()
  [2.0, 2.0]
  """
  take = lambda i: table.at[i[:, None], i[None, :]].get(mode="fill", fill_value=0)
  both = jnp.vectorize(take, signature="(n)->(n,n)")(ids)
  gone, seen = hidden & allowed, ~hidden & allowed
  # In full float32 on accelerators too, which are to choose the same masks.
  form = "...i,...ij,...j->..."
  return jnp.einsum(form, gone * 1.0, both, seen * 1.0, precision="highest")


def _vocabulary(record: Record, who: str) -> int:
  if record.kind != "text":
    raise BadInput(f"{who} counts tokens of text, the data set holds {record.kind}")
  return len(record.vocabulary)
