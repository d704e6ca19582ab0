"""What a task is: pure functions that hold the grammar's words together, for one training loop."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from maskjax import bind
from maskjax.record import Record
from maskjax.reduce import Term

Batch = Mapping[str, Any]
Variables = Mapping[str, Any]
FROZEN = "frozen"  # the collection of what was trained before, and is not here


class Aux(NamedTuple):
  """What a loss hands back beside its terms: new non-trained collections, and arrays to look at.

  The collections are those of the whole batch, the same on every device.
  """

  variables: Variables = {}  # noqa: RUF012
  seen: Mapping[str, Any] = {}


class Task(NamedTuple):
  """A method, as the training loop sees it.

  Attributes:
    init: `(key, batch) -> variables`, with trained parameters under `"params"`.
    loss: `(variables, batch, key, step) -> (terms, Aux)`; `batch["position"]` is each example's
      position in the global batch, from which its keys are folded.
    weights: the weight of each term in the total; a term that is not named weighs 1.
    trains: patterns (`re.search`) of the names of the parameters that a term trains, by the name of
      the term, or what stands before its "/"; one that is not named trains all.
    features: `(variables, batch, hidden=None) -> {pooling: Float[b, d]}`; with a mask of the
      network's `grid`, of what is left to see.
    views: `(variables, batch, key) -> {name: array}`, what pictures are made from; it may name
      `step`, which is 0 unless said, for what moves over a run.
    network: the linen module that holds most of the weights, for loading published ones.
    predict: `(variables, batch, hidden=None) -> Float[b, classes]`, logits; with a mask of the
      network's `grid`, of what is left to see.
    nats: `(variables, batch, key, draws) -> Float[b]`, each example's negative log-likelihood over
      its valid positions (those "asked", where the batch says), or a bound on it averaged over
      `draws` (a static int).
    attention: `(variables, batch) -> Float[b, layers, heads, n, n]`, what each token takes from
      which, as the loss has it.
    generate: `(variables, keys, tokens, hidden) -> {"tokens": Int[b, n], "step": Int[b, n]}`, the
      hidden positions filled, and the step at which each was revealed (0 = given).
    sample: `(variables, keys, batch) -> {"image": Float[b …], …}`, an example of the model's own
      for each of a batch, which may tell what it is conditioned on; "step" as in `generate`, over
      the `grid` of the network.
    impute: `(variables, batch) -> array`, the batch's examples with what is missing in them
      (not `valid`) predicted from all that is there, the rest as it was.
    infill: `(variables, batch, hidden) -> Float[b, n, vocabulary]`, logits of every token of a text
      of which the hidden ones are not seen.
    describe: `(variables, captions) -> Float[b, d]`, where texts lie in the space in which the
      features called "shared" of what they describe lie.
    prepare: `(variables, batches) -> variables` of the same shapes, once before step 0, from a
      bounded number of training batches: vocabularies, statistics, Fisher information (those that
      a config names, see `maskjax.task.prepare`). Batches lie whole on every device.
    update: `(variables, step) -> variables` after each update of the parameters: an average as
      teacher, prototypes.
    coupled: whether the loss of an example depends on others of its batch (contrastive losses,
      batch normalisation), so that microbatches would not equal one batch. Where devices hold parts
      of a batch, such a loss reaches the rest of it by `reduce.combine`.
    final: `variables -> variables`, what training comes to: nothing but what the network needs,
      learned masks applied for good. All functions but `loss` take them too.
    figures: `(variables, step) -> {name: number}`, what the variables say of themselves.
    pair: `(batch, key, step) -> batch`, called for the loss with its key and step before a batch is
      cut into microbatches: gives its examples what they need of each other (mixing partners).

  What is None the task does not offer.
  """

  init: Callable[..., Variables]
  loss: Callable[..., tuple[Mapping[str, Term], Aux]]
  weights: Mapping[str, float] = {}
  trains: Mapping[str, tuple[str, ...]] = {}
  features: Callable[..., Mapping[str, Array]] | None = None
  views: Callable[..., Mapping[str, Array]] | None = None
  network: Any = None
  predict: Callable[..., Array] | None = None
  nats: Callable[..., Float[Array, "b"]] | None = None
  attention: Callable[..., Float[Array, "b layers heads n n"]] | None = None
  generate: Callable[..., Mapping[str, Array]] | None = None
  sample: Callable[..., Mapping[str, Array]] | None = None
  impute: Callable[..., Array] | None = None
  infill: Callable[..., Array] | None = None
  describe: Callable[..., Array] | None = None
  prepare: Callable[..., Variables] | None = None
  update: Callable[..., Variables] | None = None
  coupled: bool = False
  final: Callable[..., Variables] = lambda variables: variables
  figures: Callable[..., Mapping[str, Array]] | None = None
  pair: Callable[..., Batch] = lambda batch, key, step: batch


def network_of(model: Callable[..., Any], record: Record) -> Any:
  """The network that a bound factory makes for data of this record, told what it names of it."""
  vocabulary = len(record.vocabulary)
  sizes = {"record_shape": record.shape, "classes": record.classes, "vocabulary": vocabulary}
  return bind.call(model, {**sizes, "caption": record.caption})


def total(terms: Mapping[str, Term], weights: Mapping[str, float]) -> Float[Array, ""]:
  r"""The loss: $\sum_t w_t\, S_t / \max(C_t, 1)$, in float32.

  A count of zero (nothing asked in the whole batch) makes its term zero rather than NaN.
  """
  ratio = lambda t: t.sum.astype(jnp.float32) / jnp.maximum(jax.lax.stop_gradient(t.count), 1)
  return sum((weights.get(name, 1.0) * ratio(t) for name, t in terms.items()), jnp.float32(0))
