"""The small table that ends a run."""

from collections.abc import Mapping, Sequence

import numpy as np

ABSENT = "-"
NOTE = "± standard deviation over seeds"


def results(rows: Sequence[tuple[str, Mapping[str, Sequence[float]]]]) -> str:
  """Aligns metrics in columns, one named row each; several seeds give mean ± standard deviation.

  The deviation is that of a sample (n - 1). Columns come in the order in which metrics first
  appear; a metric that a row lacks is a dash.

  >>> print(results([("raw pixels", {"knn": [0.97]}),
  ...                ("trained", {"knn": [0.98, 0.99], "error": [0.5, 0.7]})]))
                        knn          error
  raw pixels  0.970                      -
  trained     0.985 ± 0.007  0.600 ± 0.141
  <BLANKLINE>
  ± standard deviation over seeds
  """
  metrics = list(dict.fromkeys(name for _, row in rows for name in row))
  columns = [_column(name, [row.get(name, ()) for _, row in rows]) for name in metrics]
  names = ["", *(name for name, _ in rows)]
  names = [name.ljust(max(map(len, names))) for name in names]
  lines = ["  ".join(cells).rstrip() for cells in zip(names, *columns, strict=True)]
  several = any(len(values) > 1 for _, row in rows for values in row.values())
  return "\n".join(lines + (["", NOTE] if several else []))


def _column(name: str, entries: Sequence[Sequence[float]]) -> list[str]:
  """Cells of one width: the title, then means and spreads, each aligned by itself."""
  averages = [float(np.mean(values)) for values in entries if len(values)]
  # Three decimals, or four significant digits where those would say too little or too much.
  form = ".3f" if all(0.01 <= abs(a) < 1000 or a == 0 or a != a for a in averages) else ".4g"
  means = [format(float(np.mean(v)), form) if len(v) else ABSENT for v in entries]
  spreads = [f" ± {float(np.std(v, ddof=1)):{form}}" if len(v) > 1 else "" for v in entries]
  left, right = max(map(len, means), default=0), max(map(len, spreads), default=0)
  cells = [
    (mean.rjust(left) + spread.ljust(right)) if mean != ABSENT else ABSENT.rjust(left + right)
    for mean, spread in zip(means, spreads, strict=True)
  ]
  width = max(len(name), left + right)
  return [cell.rjust(width) for cell in [name, *cells]]
