"""How well latents are predicted, and whether there is anything in them to predict."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.task.answers import answer, needs
from maskjax.train.evaluators.context import first_of


@needs("views", "features", kinds=("image",))
def latent_prediction(
  context: Any,
  *,
  split: str = "test",
  pooling: str = "mean",
  examples: int = 2048,
  parts: int = 4,
  batch_size: int = 256,
) -> dict[str, float]:
  r"""The loss of a latent prediction on a split, by what was drawn for it, and signs of collapse.

  The first `examples` (whole batches of them) get one mask each, the same at every step of a run,
  and features of all of the split are looked at. Where the task draws a number for
  each view (a level of noise), the views are cut by it into equally many `parts`, the smallest
  numbers first.

  Args:
    context: what the training loop hands over.
    split: that is measured.
    pooling: of the features that may collapse: "mean" or "class".
    examples: with a mask, at most.
    parts: groups of views, by the number drawn for each.
    batch_size: examples at a time.

  Returns:
    "loss", meaned over the views of these examples; for a number called `alpha`, "alpha 1" to
    "alpha 4", the same of each part; "spread", the features' deviation over examples as a share of
    their root mean square, and "rank", how many directions they fill: both fall where they
    collapse.

  Raises:
    BadInput: a task without costs of views or without features, an unknown split or pooling, or the
      devices do not divide the batch size.
  """
  context.mesh.check(batch_size, 1)
  views, found = jax.jit(answer(context.task, "views", "latent_prediction")), []
  with jax.debug_nans(False):
    for i, batch in enumerate(first_of(context, split, batch_size, examples)):
      key = stream(context.key, "batch", i)
      seen = views(context.variables, context.mesh.put_whole(batch), key)
      if "cost" not in seen:
        raise BadInput("latent_prediction: this task has no costs of views: it predicts no latents")
      flat = {name: x for name, x in seen.items() if x.shape == seen["cost"].shape}
      found.append({name: context.mesh.get(x)[batch["valid"]] for name, x in flat.items()})
  drawn = {name: np.concatenate([part[name].ravel() for part in found]) for name in found[0]}
  cost = drawn.pop("cost")
  result = {"loss": float(cost.mean())}
  for name, values in drawn.items():
    pieces = np.array_split(cost[np.argsort(values, kind="stable")], parts)
    result |= {f"{name} {i + 1}": float(piece.mean()) for i, piece in enumerate(pieces)}
  features, _ = context.features(split, pooling)
  return {**result, "spread": spread(features), "rank": rank(features)}


def spread(x: Float[np.ndarray, "n d"]) -> float:
  r"""$\sqrt{\overline{(x - \bar x)^2} / \overline{x^2}}$: 0 where all rows are one, 1 without mean.

  >>> spread(np.ones((3, 2))), spread(np.array([[1., 1.], [-1., -1.]]))
  (0.0, 1.0)
  """
  return float(np.sqrt(np.var(x, axis=0).mean() / np.square(x).mean()))


def rank(x: Float[np.ndarray, "n d"]) -> float:
  r"""The effective rank of the centred rows: $\exp(-\sum_i p_i \log p_i)$.

  $p$ are the singular values as shares of their sum.

  Source: Roy and Vetterli 2007; as a sign of collapse, Garrido et al. 2023 (RankMe).

  >>> round(rank(np.array([[1., 0.], [-1., 0.], [0., 1.], [0., -1.]])), 6)
  2.0
  """
  values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
  share = values / max(values.sum(), np.finfo(x.dtype).tiny)
  share = share[share > 0]
  return float(np.exp(-(share * np.log(share)).sum()))
