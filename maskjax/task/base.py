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
Answer = Callable[..., Any]  # (variables, ...) -> arrays; see `maskjax.task.answers`
FROZEN = "frozen"  # the collection of what was trained before, and is not here
TEACHERS = "teachers"  # that of networks which follow those that learn, by name
STATISTICS = "batch_stats"  # linen's collection of running statistics


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
    network: the linen module that holds most of the weights, for loading published ones.
    prepare: `(variables, batches) -> variables` of the same shapes, once before step 0, from a
      bounded number of training batches: vocabularies, statistics, Fisher information (those that
      a config names, see `maskjax.task.prepare`). Batches lie whole on every device.
    gradients: `(gradients, variables, step) -> gradients`, those of the whole batch by parameters
      before the optimiser is told of them: normalised, say.
    update: `(variables, step) -> variables` after each update of the parameters: an average as
      teacher, prototypes.
    coupled: whether the loss of an example depends on others of its batch (contrastive losses,
      batch normalisation), so that microbatches would not equal one batch. Where devices hold parts
      of a batch, such a loss reaches the rest of it by `reduce.combine`.
    final: `variables -> variables`, what training comes to: nothing but what the network needs,
      learned masks applied for good. All functions but `loss` take them too.
    scalars: `(variables, step) -> {name: number}`, what the variables say of themselves.
    pair: `(batch, key, step) -> batch`, called for the loss with its key and step before a batch is
      cut into microbatches: gives its examples what they need of each other (mixing partners).
    answers: what the task can be asked beside its loss, by name, each `(variables, ...) -> arrays`:
      features, logits, pictures, samples, whatever a task offers. The names that evaluators and
      jobs know, with their signatures, stand in `maskjax.task.answers`.
    learned: `variables -> {collection: tree}`, the networks that learn: "params" and the state that
      belongs to these weights, as running statistics. It is averaged, and put back by
      `with_learned`; all other state, as queues and teachers, is the method's.
    trains: patterns (`re.search`) of the names of the parameters that a term trains, by the name of
      the term, or what stands before its "/"; one that is not named trains all.
    told: what the predictions of its `views` take from the truth, in words; "" for nothing. It
      flatters them, and is said with pictures and figures.
    written_out: `() -> task`, the same whose networks neither loop over their layers nor compute
      them again, for what looks at each layer by itself; None where they never do.
  """

  init: Callable[..., Variables]
  loss: Callable[..., tuple[Mapping[str, Term], Aux]]
  weights: Mapping[str, float] = {}
  network: Any = None
  prepare: Callable[..., Variables] | None = None
  gradients: Callable[..., Any] | None = None
  update: Callable[..., Variables] | None = None
  coupled: bool = False
  final: Callable[..., Variables] = lambda variables: variables
  scalars: Callable[..., Mapping[str, Array]] | None = None
  pair: Callable[..., Batch] = lambda batch, key, step: batch
  answers: Mapping[str, Answer] = {}
  trains: Mapping[str, tuple[str, ...]] = {}
  learned: Callable[[Variables], Variables] = lambda variables: {"params": variables["params"]}
  written_out: Callable[[], "Task"] | None = None
  told: str = ""


def with_learned(variables: Variables, whole: Variables) -> dict[str, Any]:
  """The variables with other networks in the place of those that learn, see `Task.learned`.

  >>> with_learned({"params": {"net": 1}, "batch_stats": {"codec": 3}}, {"params": {"net": 4}})
  {'params': {'net': 4}, 'batch_stats': {'codec': 3}}
  """
  return {**variables, **{name: {**variables[name], **tree} for name, tree in whole.items()}}


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
