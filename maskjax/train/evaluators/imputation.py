"""How well missing cells of a table are filled in, beside imputers that need no network."""

import warnings
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from maskjax.errors import BadInput
from maskjax.task.answers import answer, needs
from maskjax.view.heat import heat
from maskjax.view.reconstruction import spaced

Table = Float[np.ndarray, "r c"]
Cells = Bool[np.ndarray, "r c"]


@needs("impute", kinds=("table",))
def imputation(
  context: Any,
  *,
  train: str = "train",
  test: str = "truth",
  baselines: bool = True,
  neighbours: int = 5,
  rows: int = 24,
  batch_size: int = 256,
) -> dict[str, float]:
  r"""Root mean squared error at the cells of `test` that are missing in `train`, the same rows.

  $\sqrt{\frac1{|M|} \sum_{ij \in M} ((\hat x_{ij} - x_{ij}) / r_j)^2}$, with $r_j$ the range of
  column j among all that is known of it in `test` (1 if constant): the error of a table scaled to
  [0, 1] before anything went missing. Every row is filled from all that is there in it, nothing
  hidden besides.

  With `baselines`, those of scikit-learn are fitted on the same cells, scaled alike: column means,
  the mean of the `neighbours` nearest rows, and IterativeImputer, a Bayesian ridge regression of
  each column on the others in turn, in 25 rounds.

  The picture shows `rows` evenly spaced rows: what is given, it filled in, and the truth.

  Args:
    context: what the training loop hands over.
    train: split with missing cells.
    test: split of the same rows with all that is known.
    baselines: whether those of scikit-learn are fitted too.
    neighbours: rows that the nearest-neighbour baseline takes the mean of.
    rows: that the picture shows.
    batch_size: rows at a time.

  Returns:
    "rmse", and "mean", "knn" and "iterative" likewise.

  Raises:
    BadInput: the task imputes nothing, nothing is missing, or the devices do not divide the batch.

  Source: HyperImpute (Jarrett et al., 2022), whose benchmark measures so.
  """
  context.mesh.check(batch_size, 1)
  given, seen = _table(context, train, batch_size)
  truth, known = _table(context, test, batch_size)
  missing = known & ~seen
  if not missing.any():
    raise BadInput(f"imputation: nothing known in {test!r} is missing in {train!r}")
  ours = fill_in(context, train, batch_size)
  width = np.ptp(np.where(known, truth, truth.mean(0, where=known)), axis=0)
  scale = np.where(width > 0, width, 1)

  def error(table: Table) -> float:
    return float(np.sqrt(np.mean(((table - truth) / scale)[missing] ** 2)))

  found = {"rmse": error(ours)}
  if baselines:
    holes = np.where(seen, given, np.nan)
    found |= {name: error(fit(holes)) for name, fit in imputers(neighbours).items()}
  some = spaced(len(truth), rows)
  show = lambda table, there: np.where(there, table, np.nan)[some]
  tables = {"given": (given, seen), "filled in": (ours, known), "truth": (truth, known)}
  context.picture("imputation", heat({name: show(*table) for name, table in tables.items()}))
  return found


def imputers(neighbours: int) -> dict[str, Any]:
  """The baselines, each a function of a table with NaN where cells are missing."""
  from sklearn.experimental import enable_iterative_imputer  # noqa: F401
  from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

  def fit(imputer: Any) -> Any:
    def run(holes: Table) -> Table:
      with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rounds that still change something
        return imputer.fit_transform(holes)

    return run

  return {
    "mean": fit(SimpleImputer()),
    "knn": fit(KNNImputer(n_neighbors=neighbours)),
    "iterative": fit(IterativeImputer(max_iter=25, random_state=0)),
  }


def _table(context: Any, split: str, batch_size: int) -> tuple[Table, Cells]:
  """All rows of a split, without padding, and which of their cells are there."""
  parts = [(b["table"], b["valid"]) for b in context.examples(split, batch_size)]
  size = context.record.sizes[split]
  values, valid = (np.concatenate(part)[:size, :, 0] for part in zip(*parts, strict=True))
  return values.astype(np.float64), valid


def fill_in(context: Any, split: str, batch_size: int) -> Table:
  """All rows of a split with their missing cells imputed, as the task gives them."""
  impute = jax.jit(answer(context.task, "impute", "imputation"))
  parts = [
    context.mesh.get(impute(context.variables, context.mesh.put_whole(batch)))
    for batch in context.examples(split, batch_size)
  ]
  return np.concatenate(parts)[: context.record.sizes[split], :, 0].astype(np.float64)
