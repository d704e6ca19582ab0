"""N:M sparsity that is learned: a distribution over the patterns of every group of M weights."""

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Key

from maskjax import bind, hide
from maskjax import select as selects
from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.reduce import Term
from maskjax.score import gumbel
from maskjax.weights.choose import OFFERS, choice, choose, nothing
from maskjax.weights.held import PyTree
from maskjax.weights.leaves import chosen, flat, shown, tree_of
from maskjax.weights.packed import unpack
from maskjax.weights.reparametrize import Reparametrization
from maskjax.weights.score import magnitude

Number = float | bind.Moving


def patterns(keep: int, of: int) -> Bool[np.ndarray, "p m"]:
  """Every way to hide all but `keep` of `of` positions, those that keep the first ones first.

  Raises:
    BadInput: `keep` is not between 1 and `of` - 1.

  >>> patterns(2, 4).astype(int).tolist()[:3]
  [[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]]
  """
  if not 0 < keep < of:
    raise BadInput(f"of every {of} weights 1 to {of - 1} can be kept, got {keep=}")
  kept = list(itertools.combinations(range(of), keep))
  return np.array([[i not in some for i in range(of)] for some in kept])


def learned_patterns(
  *,
  keep: int = 2,
  of: int = 4,
  where: PyTree | Callable[[PyTree], PyTree] | None = None,
  score: Callable[..., Any] = magnitude,
  prior: float = 3.0,
  deviation: float = 0.01,
  scale: Number = 1.0,
  select: Callable[..., Any] = selects.softmax,
  reward: Number = 0.0,
  seed: int = 0,
) -> Reparametrization:
  r"""Logits $\pi$ of the patterns of every group of weights, trained through sampled soft masks.

  In training a group's gates are those of its patterns in the shares
  $\mathrm{softmax}((\kappa \pi + g) / \tau)$, with $g$ Gumbel noise; where the task is evaluated,
  the likeliest pattern hides. Before step 0 the logits are noise of the given `deviation`, and
  nearer to the pattern that a one-shot criterion would choose: $\pi_i \mathrel{+}= \alpha\,
  \mathrm{std}(\pi)\,(o_i - \bar o)$, where $o_i$ counts the weights that both patterns keep. The
  loss is rewarded by $\lambda \sum \lVert W \odot M \rVert^2$, as large weights that are kept keep
  gradients large. Groups run along the input axis of linen kernels, -2.

  Args:
    keep: N, weights that are kept of each group.
    of: M, weights of a group.
    where: see `hold`: which leaves have masks.
    score: see `maskjax.weights.score`; the criterion, which may name statistics by `given`.
    prior: $\alpha$, 0 for none, as when the logits are another run's.
    deviation: of the first logits.
    scale: $\kappa$; the larger, the less the noise weighs. May move.
    select: from scores of patterns to gates; its `temperature` is $\tau$ and may move.
    reward: $\lambda$, which may move.
    seed: of the keys that a random criterion draws from.

  Raises:
    BadInput: an argument that cannot work; on `init`, a tree that does not fit the parameters, or
      groups that do not divide an input axis.

  Figures: "changed", the share of groups whose likeliest pattern is another than that of the
  criterion, and "probability", the mean of the likeliest's: of $\mathrm{softmax}(\kappa \pi)$.
  Term: "norm", minus the reward.

  Fang et al., "MaskLLM: Learnable Semi-Structured Sparsity for Large Language Models", 2024,
  section 3.
  """
  book = patterns(keep, of)
  select = partial(select)
  bind.check(select, ("scores", "patterns"), "learned_patterns")
  shares = partial(selects.n_of_m, keep=keep, of=of, axis=-2)
  how = choice(
    score=score, select=shares, where=where, scope="layer", units=None, regrow=True, seed=seed
  )
  bind.check(how.select, ("scores",), "learned_patterns")

  def init(params: PyTree, key: Key[Array, ""]) -> tuple[PyTree, PyTree]:
    logits = {}
    for name, leaf, _ in chosen(params, nothing(how, params)):
      shape = (*_groups(name, leaf.shape, of), len(book))
      logits[name] = deviation * jax.random.normal(stream(key, name), shape)
    none = {name: jnp.zeros(leaf.shape[:-1], jnp.uint8) for name, leaf in logits.items()}
    return tree_of(logits), tree_of(none)

  def begin(params: PyTree, learned: PyTree, given: Mapping[str, PyTree]) -> tuple[PyTree, PyTree]:
    bind.check(how.score, (*OFFERS, *given), "learned_patterns")
    masks = choose(how, params, nothing(how, params), jnp.zeros((), jnp.int32), given)
    logits, before = flat(learned), {}
    for name, _, packed in chosen(params, masks):
      before[name] = pattern_of(unpack(packed), book)
      logits[name] = nearer(logits[name], before[name], book, prior)
    return tree_of(logits), tree_of(before)

  def soft(
    params: PyTree, learned: PyTree, before: PyTree, key: Key[Array, ""], step: Any
  ) -> tuple[PyTree, dict[str, Term]]:
    kappa, worth, gates = bind.now(scale, step), bind.now(reward, step), bind.at(select, step)
    norms = []

    def mask(name: str, leaf: Float[Array, "..."], logits: Float[Array, "..."]) -> Array:
      scores = gumbel(stream(key, name), kappa * logits.reshape(-1)).reshape(logits.shape)
      gate = along_inputs(gates(scores, patterns=jnp.asarray(book)))
      seen = hide.gate(leaf[..., None], gate)[..., 0]
      norms.append(jnp.sum(jnp.square(seen.astype(jnp.float32))))
      return seen

    seen = shown(mask, params, learned)
    return seen, {"norm": Term(-worth * sum(norms), jnp.float32(1))}

  def hard(params: PyTree, learned: PyTree, before: PyTree) -> PyTree:
    def mask(name: str, leaf: Float[Array, "..."], logits: Float[Array, "..."]) -> Array:
      hidden = along_inputs(jnp.asarray(book)[jnp.argmax(logits, axis=-1)])
      return hide.fill(jnp.asarray(leaf)[..., None], hidden, 0.0)[..., 0]

    return shown(mask, params, learned)

  def scalars(learned: PyTree, before: PyTree, step: Any) -> dict[str, Array]:
    logits, first, kappa = flat(learned), flat(before), bind.now(scale, step)
    size = sum(leaf.size for leaf in first.values())
    changed = sum(jnp.sum(jnp.argmax(x, -1) != first[name]) for name, x in logits.items())
    likeliest = lambda x: jnp.sum(jnp.max(jax.nn.softmax(kappa * x, axis=-1), axis=-1))
    sure = sum(map(likeliest, logits.values()))
    return {"changed": jnp.asarray(changed / size), "probability": jnp.asarray(sure / size)}

  return Reparametrization(init, begin, soft, hard, scalars)


def along_inputs(groups: Array) -> Array:
  """What `[… g out m]` says of groups, for weights `[… g·m out]`.

  >>> along_inputs(jnp.array([[[1, 2]], [[3, 4]]])).tolist()
  [[1], [2], [3], [4]]
  """
  *lead, g, out, m = groups.shape
  return jnp.swapaxes(groups, -1, -2).reshape(*lead, g * m, out)


def pattern_of(hidden: Bool[Array, "..."], book: Bool[np.ndarray, "p m"]) -> Array:
  """The number of the pattern, uint8, that hides every group along axis -2; 0 where none does.

  >>> pattern_of(jnp.array([[True], [True], [False], [False]]), patterns(2, 4)).tolist()
  [[5]]
  """
  *lead, width, out = hidden.shape
  m = book.shape[-1]
  groups = jnp.swapaxes(hidden.reshape(*lead, width // m, m, out), -1, -2)
  same = jnp.all(groups[..., None, :] == book, axis=-1)
  return jnp.argmax(same, axis=-1).astype(jnp.uint8)


def nearer(
  logits: Float[Array, "*b p"],
  pattern: Integer[Array, "*b"],
  book: Bool[np.ndarray, "p m"],
  strength: float,
) -> Float[Array, "*b p"]:
  r"""Logits moved by $\alpha\,\mathrm{std}(\pi)\,(o - \bar o)$ towards one pattern of each group.

  >>> logits = jnp.array([[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]])
  >>> moved = nearer(logits, jnp.array([0]), patterns(2, 4), strength=2.0) - logits
  >>> (moved / logits.std(ddof=1)).round(4).tolist()
  [[2.0, 0.0, 0.0, 0.0, 0.0, -2.0]]

  Fang et al., "MaskLLM", 2024, section 3.3, transfer of masks.
  """
  kept = (~book).astype(np.float32)
  overlap = kept @ kept.T
  shift = jnp.asarray(overlap - overlap.mean(axis=-1, keepdims=True))[pattern]
  return logits + strength * jnp.std(logits, ddof=1) * shift


def _groups(name: str, shape: tuple[int, ...], of: int) -> tuple[int, ...]:
  """The shape of the groups of a weight."""
  if len(shape) < 2 or shape[-2] % of:
    raise BadInput(f"groups of {of} inputs do not divide axis -2 of {name} {shape}")
  return (*shape[:-2], shape[-2] // of, shape[-1])
