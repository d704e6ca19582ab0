"""Whether the tokens of a prompt look ahead."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from maskjax import reduce
from maskjax.reduce import Term
from maskjax.task.answers import answer, needs
from maskjax.view.heat import heat


@needs("attention", kinds=("text",))
def lookahead(
  context: Any, *, split: str = "test", batch_size: int = 32, limit: int = 256
) -> dict[str, float]:
  """The share of attention that goes to later tokens: of what prompts read, and of answers.

  Of about `limit` examples of a split, whole batches. A prompt is what is valid and not asked. The
  picture is of the first example: who (down) looks at whom (across), in the mean of the heads of
  each layer, each row relative to its largest weight.

  Args:
    context: what the training loop hands over.
    split: whose windows are read.
    batch_size: windows at a time.
    limit: windows, about.

  Returns:
    Of all tokens of prompts "share", and "chance", which is what it would be if each divided its
    attention evenly among those that it sees at all; of the first quarter of each prompt "early"
    and "early chance"; "layer/I", the share in layer I; "answers", the share of what is read where
    answers are asked.

  Raises:
    BadInput: the task tells no attention, or the devices do not divide the batch size.
  """
  context.mesh.check(batch_size, 1)
  attention, look = jax.jit(answer(context.task, "attention", "lookahead")), jax.jit(looks)
  totals: dict[str, np.ndarray] = {}
  for i, batch in enumerate(context.examples(split, batch_size)):
    if i * batch_size >= limit:
      break
    weights = attention(context.variables, context.mesh.put_whole(batch))
    asked = batch["valid"] & batch.get("asked", True)
    found = context.mesh.get(look(weights, asked, batch["valid"]))
    totals = {k: totals.get(k, 0) + np.array(term, np.float64) for k, term in found.items()}
    if not i:
      layers = np.asarray(context.mesh.get(weights[0].mean(1)), np.float32)
      relative = layers / np.maximum(layers.max(-1, keepdims=True), 1e-30)
      context.picture("attention", heat({f"layer {n}": x for n, x in enumerate(relative)}))
  return {name: float(sum_ / max(count, 1)) for name, (sum_, count) in totals.items()}


def looks(
  weights: Float[Array, "b layers heads n n"], asked: Bool[Array, "b n"], valid: Bool[Array, "b n"]
) -> Mapping[str, Term]:
  """The figures of `ahead` for one batch, as sums and counts of queries."""
  n = asked.shape[-1]
  at = jnp.arange(n)
  # Where a token is asked, the one before it is read, and before the first the begin token.
  prompt = jnp.concatenate([~asked[:, :1] & valid[:, :1], (valid & ~asked)[:, :-1]], axis=1)
  early = prompt & (4 * at < jnp.sum(prompt, axis=-1, keepdims=True))
  later = at[None, :] > at[:, None]
  share = lambda w: jnp.sum(jnp.where(later, w, 0), axis=-1)
  each = share(weights).mean(2)
  sees = weights[:, 0, 0] > 0
  chance = share(sees) / jnp.maximum(jnp.sum(sees, axis=-1), 1)
  return {
    "share": reduce.term(each.mean(1), prompt),
    "chance": reduce.term(chance, prompt),
    "early": reduce.term(each.mean(1), early),
    "early chance": reduce.term(chance, early),
    "answers": reduce.term(each.mean(1), asked & ~prompt),
    **{f"layer/{i}": reduce.term(each[:, i], prompt) for i in range(each.shape[1])},
  }
