"""Tables with missing cells, from a file or scikit-learn, and simulated missingness on top."""

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from jaxtyping import Bool, Float

from maskjax import bind
from maskjax.data import cells, filled, npz, plain
from maskjax.data.digests import digest
from maskjax.data.source import Example, Source, inside
from maskjax.errors import BadInput, unknown
from maskjax.record import Record
from maskjax.sections import bound

BUNDLED = ("breast_cancer", "diabetes", "iris", "wine")


class Origin(NamedTuple):
  """Where a table was read from, and how; see `open`."""

  path: str
  bundled: str
  how: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
  """The rows of a table: `{"table": float32 [columns, 1], "valid": bool [columns, 1]}` each.

  Where `valid` is False nothing is known and `table` is 0. `origin` is where they were read from.
  """

  values: np.ndarray
  valid: np.ndarray
  origin: Origin | None = None
  digest: str = ""

  def __len__(self) -> int:
    """Number of rows."""
    return len(self.values)

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The row at `index`."""
    i = inside(index, len(self))
    return {"table": self.values[i, :, None].copy(), "valid": self.valid[i, :, None].copy()}


def open(
  path: str = "",
  *,
  bundled: str = "",
  missing: Mapping[str, Any] | None = None,
  delimiter: str = "",
  decimal: str = ".",
  header: bool | None = None,
  columns: Sequence[str] = (),
  na_values: Sequence[str] = (),
) -> tuple[Record, dict[str, Source]]:
  r"""Opens the file at `path` or else scikit-learn's table `bundled`, all of it as split "train".

  A file is a csv, in a `.gz` or a zip too, read by `cells.numbers` with the arguments from
  `delimiter` on (a first column of words, times or row numbers is left out), or an npz with one
  array `[rows, columns]`, NaN where missing, and maybe one `columns` of names. Column c is scaled
  by the smallest and largest of its values that are there to learn from,
  $(x - \min_c) / (\max_c - \min_c)$, kept as `record.low` and `record.high` (a constant column
  becomes 0).

  With `missing`, `{"score": section, "select": section, "seed": int}`, more cells go missing: the
  score may name `keys` (one for the table), `grid` (rows, columns) and `values` (scaled by the
  known ones, column means where none is known), and only known cells are `allowed` to be selected.
  Then the split "truth" holds the same rows with all that is known, in the same units.

  Args:
    path: the file; "" for one that is `bundled`.
    bundled: name of scikit-learn's table.
    missing: how more cells go missing; None: none do.
    delimiter: between cells; "": found out.
    decimal: the mark between digits.
    header: whether the first row holds names; None: found out.
    columns: those of a csv file that are read; (): all.
    na_values: cells of it that are missing beside `cells.MISSING`, such as ("?",).

  Returns:
    The record, and the rows of each split.

  Raises:
    BadInput: no such file or table, what is in it is no table of numbers, or a column of which
      nothing is left.
  """
  how = dict(delimiter=delimiter, decimal=decimal, header=header)
  origin = Origin(path, bundled, {**how, "columns": tuple(columns), "na_values": tuple(na_values)})
  table, names = _read(*origin)
  known = ~np.isnan(table)
  _some(known, names, "no value")
  seen = known & ~_simulate(table, known, missing) if missing else known
  _some(seen, names, "no value left of it by data.missing")
  low, high = _limits(table, seen)
  scaled = _scale(table, low, high)
  held = lambda valid: digest([np.where(valid, table, np.nan).tobytes()])
  filled_up = lambda valid: np.where(valid, scaled, 0).astype(np.float32)
  cut = lambda valid: Rows(filled_up(valid), valid, origin, held(valid))
  splits: dict[str, Source] = {"train": cut(seen), **({"truth": cut(known)} if missing else {})}
  record = Record(
    "table",
    (len(names), 1),
    {name: len(source) for name, source in splits.items()},
    mean=(0.0,),
    std=(1.0,),
    columns=tuple(names),
    low=tuple(low.tolist()),
    high=tuple(high.tolist()),
  )
  return record, splits


def written(source: Source, rows: Float[np.ndarray, "r c"], record: Record) -> str:
  """The text of the table that a source is of, with `rows` in the cells that are missing in it.

  Cells that are known, and columns of dates or words, are as they stand in the file; of a table
  that is no csv file, csv text with a header and all digits.

  Args:
    source: all rows of the table.
    rows: in units of the record.
    record: of the data.

  Raises:
    BadInput: the source is no table that `open` opened.
  """
  if not isinstance(source, Rows) or source.origin is None:
    raise BadInput("only a table that was read from a file can be written with its gaps filled")
  low, high = np.array(record.low), np.array(record.high)
  values, (path, bundled, how) = low + rows * (high - low), source.origin
  if path and not _is_npz(path):
    return filled.file(path, values, source.valid, **how)
  table, names = _read(path, bundled, how)
  return filled.text(names, table, values, source.valid)


def _read(
  path: str, bundled: str, how: Mapping[str, Any]
) -> tuple[Float[np.ndarray, "r c"], Sequence[str]]:
  """The numbers, NaN where there is none, and the names of the columns."""
  if not path and not bundled:
    raise BadInput(f"a table is a file, data.path, or data.bundled: one of {', '.join(BUNDLED)}")
  if path:
    plain.check_file(path)
    return _arrays(path) if _is_npz(path) else cells.numbers(path, **how)[:2]
  if bundled not in BUNDLED:
    raise unknown("table of scikit-learn", bundled, BUNDLED)
  from sklearn import datasets  # takes a second, which other kinds of data need not pay

  found = getattr(datasets, f"load_{bundled}")()
  return np.asarray(found.data, np.float64), list(found.feature_names)


def _is_npz(path: str) -> bool:
  """Whether a file is a zip of arrays; a zip may also hold a csv."""
  if not zipfile.is_zipfile(path):
    return False
  with zipfile.ZipFile(path) as archive:
    return any(name.endswith(".npy") for name in archive.namelist()) or not archive.namelist()


def _arrays(path: str) -> tuple[Float[np.ndarray, "r c"], Sequence[str]]:
  arrays = npz.read(path)
  given = arrays.pop("columns", None)
  if len(arrays) != 1:
    held = ", ".join(sorted(arrays)) or "none"
    raise BadInput(f"{path!r} holds other than one array beside its columns' names: {held}")
  ((name, table),) = arrays.items()
  if table.ndim != 2 or not table.size or table.dtype.kind not in "fiub":
    raise BadInput(f"{name} in {path!r} is {table.dtype} {table.shape}, wanted numbers [r, c]")
  table = table.astype(np.float64)
  if np.isinf(table).any():
    raise BadInput(f"{name} in {path!r} holds infinity")
  if given is None:
    return table, [f"column {i}" for i in range(table.shape[1])]
  if given.shape != table.shape[1:]:
    raise BadInput(f"{path!r} names {given.size} columns of {table.shape[1]}")
  return table, [str(column) for column in given]


def _simulate(
  table: Float[np.ndarray, "r c"], known: Bool[np.ndarray, "r c"], missing: Mapping[str, Any]
) -> Bool[np.ndarray, "r c"]:
  """The cells that a mechanism hides, by the grammar's words."""
  import jax  # worker processes, which read rows only, need not pay for it

  wanted = ("score", "select", "seed")
  for name in missing:
    if name not in wanted:
      raise unknown("field of data.missing", name, wanted)
  section = lambda word: {k: v for k, v in missing.get(word, {}).items() if v is not None}
  score, select = (bound(section(word)) for word in ("score", "select"))
  scaled = _scale(table, *_limits(table, known))
  mean = np.nanmean(np.where(known, scaled, np.nan), axis=0)
  values = jax.device_put(np.where(known, scaled, mean).astype(np.float32))
  offers: dict[str, Any] = {"grid": table.shape, "values": values}
  bind.check(score, (*offers, "keys"), "data.missing")
  if "keys" in bind.needs(score):
    offers["keys"] = jax.random.key(missing.get("seed", 0))
  around = {"grid": table.shape, "allowed": jax.device_put(known.reshape(-1))}
  hidden = bind.call(select, around, bind.call(score, offers))
  return np.asarray(hidden).reshape(table.shape) & known


def _limits(
  table: Float[np.ndarray, "r c"], valid: Bool[np.ndarray, "r c"]
) -> tuple[Float[np.ndarray, "c"], Float[np.ndarray, "c"]]:
  """Smallest and largest valid value of each column."""
  low = np.where(valid, table, np.inf).min(axis=0)
  return low, np.where(valid, table, -np.inf).max(axis=0)


def _scale(table: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
  return (table - low) / np.where(high > low, high - low, 1)


def _some(valid: Bool[np.ndarray, "r c"], names: Sequence[str], says: str) -> None:
  empty = ~valid.any(axis=0)
  if empty.any():
    raise BadInput(f"column {names[int(empty.argmax())]!r}: {says}")
