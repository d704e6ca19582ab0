"""Odd csv files: what was written into them, as pandas reads it, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import gzip
import io
import logging
import re
import zipfile

import numpy as np
import pandas
import pytest
from oddities import Row, ids

from maskjax.data import cells, series, table
from maskjax.errors import BadInput

NAN = np.nan
TWO = [[1, 2], [3, 4]]
GAP = [[1, NAN], [3, 4]]


def zipped(**files):
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w") as archive:
    for name, data in files.items():
      archive.writestr(name.replace("__", "."), data)
  return out.getvalue()


CSV = [
  Row("plain", "a,b\n1,2\n3,4\n", TWO),
  Row("no_line_end", "a,b\n1,2\n3,4", TWO),
  Row("windows", "a,b\r\n1,2\r\n3,4\r\n", TWO),
  Row("byte_order_mark", b"\xef\xbb\xbfa,b\n1,2\n3,4\n", TWO),
  Row("gz", gzip.compress(b"a,b\n1,2\n3,4\n"), TWO, {"name": "a.csv.gz"}),
  Row("zip_of_one", zipped(t__csv="a,b\n1,2\n3,4\n"), TWO, {"name": "a.zip"}),
  Row("zip_of_a_mac", zipped(t__csv="a,b\n1,2\n3,4\n", **{"__MACOSX/._t__csv": "x"}), TWO, {"name": "a.zip"}),
  Row("semicolon", "a;b\n1;2\n3;4\n", TWO),
  Row("tab", "a\tb\n1\t2\n3\t4\n", TWO),
  Row("bar", "a|b\n1|2\n3|4\n", TWO),
  Row("delimiter_said", "a b\n1 2\n3 4\n", TWO, {"delimiter": " "}),
  Row("decimal_comma", "a;b\n1,5;2\n3;4,25\n", [[1.5, 2], [3, 4.25]], {"decimal": ","}),
  Row("quoted_numbers", '"a","b"\n"1","2"\n"3","4"\n', TWO),
  Row("quoted_names_with_commas", '"a, in m","b;c"\n1,2\n3,4\n', TWO),
  Row("quoted_line_ends", '"a\nb",c\n1,2\n3,4\n', TWO),
  *[Row(f"missing_{i}", f"a,b\n1,{m}\n3,4\n", GAP) for i, m in enumerate(["", " ", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "-1.#IND"])],
  Row("an_index", ",a,b\n0,1,2\n1,3,4\n", TWO, says="holds the rows' numbers, left out"),
  Row("an_index_of_pandas_again", "Unnamed: 0,a,b\n0,1,2\n1,3,4\n", TWO),
  Row("an_unnamed_column_that_is_none", ",a\n1,2\n3,4\n", TWO),
  Row("dates", "date,a,b\n2016-07-01,1,2\n2016-07-02,3,4\n", TWO, says="column 'date' holds dates"),
  Row("words_first", "when,a,b\nMon,1,2\nMon,3,4\n", TWO),
  Row("dates_with_zones", "t,a,b\n2016-10-30T02:30:00+02:00,1,2\n2016-10-30T02:15:00+01:00,3,4\n", TWO),
  Row("american_dates", "t,a,b\n12/31/2016,1,2\n01/01/2017,3,4\n", TWO),
  Row("no_header_and_said", "1,2\n3,4\n", TWO, {"header": False}),
  Row("names_are_numbers_and_said", "2019,2020\n1,2\n3,4\n", TWO, {"header": True}),
  Row("empty_lines", "a,b\n\n1,2\n\n3,4\n\n", TWO, says="2 empty lines are left out"),
  Row("an_empty_line_of_one_column", "a\n1\n\n3\n", [[1], [NAN], [3]]),
  Row("spaces_around", "a, b\n 1, 2\n 3 ,4\n", TWO),
  Row("exponents_and_signs", "a,b\n+1,2e0\n3.0,.4e1\n", TWO),
  Row("one_column", "a\n1\n3\n", [[1], [3]]),
  Row("adult_with_question_marks", "age,workclass,hours\n1,State-gov,2\n3,?,4\n", TWO, {"columns": ("age", "hours")}),
  Row("question_marks", "a,b\n1, ?\n3,4\n", GAP, {"na_values": ("?",)}),
  Row("penguins", "species,a,b,sex\nAdelie,1,,MALE\nGentoo,3,4,\n", GAP, {"columns": ("a", "b")}),
  Row("iris_of_uci", "1,2,Iris-setosa\n3,4,Iris-setosa\n", TWO, {"header": False, "columns": ("column 0", "column 1")}),
  Row("booleans", "a,b\n1,True\n3,False\n", [[1, 1], [3, 0]]),
  Row("booleans_first", "a,b\nTrue,2\nFalse,4\n", [[1, 2], [0, 4]]),
  Row("delimiters_at_the_end", "a,b,\n1,2,\n3,4,\n", TWO, says="1 columns without a name or a value are left out"),
  Row("years_that_are_names", "country,2019,2020\nA,1,2\nB,3,4\n", TWO, {"header": True}, says="column 'country' holds words"),
]  # fmt: skip

# What pandas is told of some of them.
PANDAS = {
  "semicolon": {"sep": ";"},
  "tab": {"sep": "\t"},
  "bar": {"sep": "|"},
  "delimiter_said": {"sep": " "},
  "decimal_comma": {"sep": ";", "decimal": ","},
  "missing_1": {"skipinitialspace": True},
  "spaces_around": {"skipinitialspace": True},
  "no_header_and_said": {"header": None},
  "an_empty_line_of_one_column": {"skip_blank_lines": False},
  **{name: {"index_col": 0} for name in ("an_index", "an_index_of_pandas_again", "words_first")},
  "adult_with_question_marks": {"usecols": ["age", "hours"]},
  "question_marks": {"na_values": "?", "skipinitialspace": True},
  "penguins": {"usecols": ["a", "b"]},
  "iris_of_uci": {"header": None, "usecols": [0, 1]},
  "delimiters_at_the_end": {"usecols": ["a", "b"]},
  "years_that_are_names": {"index_col": 0},
  **{name: {"index_col": 0} for name in ("dates", "dates_with_zones", "american_dates")},
}
# What it does not read.
ALONE = ("zip_of_a_mac",)

BAD_CSV = [
  Row("headerless", "1,2\n3,4\n", r"starts with values, 1, 2,.*data\.header=False.*data\.header=True"),
  Row("headerless_with_dates", "2016-07-01,1\n2016-07-02,2\n", r"starts with values.*data\.header=False"),
  Row("headerless_with_gaps", "1,\n3,4\n", r"starts with values.*data\.header=False"),
  Row("headerless_with_american_dates", "12/31/2016,1\n01/01/2017,2\n", "starts with values"),
  Row("decimal_commas", "a;b\n1,5;2\n3;4\n", r"line 2, column 'a': '1,5' .*data\.decimal=','"),
  Row("a_word", "a,b\n1,2\n3,oops\n", r"line 3, column 'b': 'oops'"),
  Row("infinity", "a,b\n1,2\n\n3,inf\n", r"line 4, column 'b': 'inf'"),
  Row("an_underscore", "a,b\n1,2\n1_0,3\n", r"line 3, column 'a': '1_0'"),
  Row("short_row", "a,b\n1,2\n3\n", "line 3: 1 cells, the header has 2"),
  Row("long_row", "a,b\n1,2\n3,4,5\n", "line 3: 3 cells"),
  Row("header_alone", "a,b\n", "no rows"),
  Row("nothing", "", "no rows"),
  Row("empty_lines_alone", "\n\n\n", "no rows"),
  Row("dates_alone", "date\n2016-07-01\n", "no column of numbers"),
  Row("dates_that_fall", "date,a\n2016-07-02,1\n2016-07-01,2\n", "row 2 of '2016-07-01' is older than the one above"),
  Row("dates_that_repeat", "date,a\n2016-07-01,1\n2016-07-01,2\n", "rows 1 and 2 have one date, '2016-07-01'"),
  Row("american_dates_that_repeat", "t,a\n12/31/2016,1\n12/31/2016,2\n", "rows 1 and 2 have one date"),
  Row("latin", b"a,b\n1,2\n3,\xe9\n", "is not UTF-8: byte 10"),
  Row("zip_of_two", zipped(a__csv="a\n1\n", b__csv="b\n1\n"), r"holds 2 files, not a single csv: a\.csv, b\.csv"),
  Row("long_delimiter", "a,b\n1,2\n", r"data\.delimiter is one character", {"delimiter": "::"}),
  Row("letters_of_uci", "T,2,8\nI,5,12\n", r"starts with values, T, 2, 8, not with a header.*data\.header=False"),
  Row("iris_of_uci", "5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n", r"starts with values.*data\.header=False"),
  Row("thousands", 'a,b\n"1,234",2\n"5,678",3\n', r"line 2, column 'a': '1,234' is not a finite number"),
  Row("thousands_and_a_point", 'a,b\n"1,234.5",2\n', r"column 'a': '1,234\.5'.*data\.columns"),
  Row("percent", "a,b\n12%,2\n", r"column 'a': '12%' is not"),
  Row("dollars", "a,b\n$75.09,2\n", r"column 'a': '\$75\.09' is not"),
  Row("question_marks", "a,b\n1,2\n3,?\n", r"'\?' is not a finite number: data\.na_values=\('\?',\).*data\.columns"),
  Row("no_such_column", "age,b\n1,2\n", "unknown column of .* 'aeg'; did you mean 'age'", {"columns": ("aeg",)}),
  Row("columns_of_another_type", "age,b\n1,2\n", r"data\.columns is a list", {"columns": "age"}),
  Row("another_decimal", "a,b\n1,2\n", r"data\.decimal is", {"decimal": ";"}),
]  # fmt: skip


def written(tmp_path, row):
  args = dict(row.args)
  path = tmp_path / args.pop("name", "a.csv")
  path.write_bytes(row.files.encode() if isinstance(row.files, str) else row.files)
  return str(path), args


@pytest.mark.parametrize("row", CSV, ids=ids)
def test_numbers_of_a_csv(tmp_path, caplog, row):
  path, args = written(tmp_path, row)
  with caplog.at_level(logging.INFO, "maskjax"):
    found, names, _, _ = cells.numbers(path, **args)
  np.testing.assert_array_equal(found, np.array(row.want, float))
  assert len(names) == len(row.want[0])
  assert re.search(row.says, caplog.text)
  _, sources = series.open(path, length=1, split=(1.0, 0, 0), **args)
  np.testing.assert_array_equal(sources["train"][0]["valid"][0], ~np.isnan(found[0]))
  assert table.open(path, **args)[0].shape == (len(names), 1)


@pytest.mark.parametrize("row", [row for row in CSV if row.name not in ALONE], ids=ids)
def test_pandas_reads_the_same_numbers(tmp_path, row):
  path, _ = written(tmp_path, row)
  read = pandas.read_csv(path, **PANDAS.get(row.name, {})).to_numpy(float)
  np.testing.assert_array_equal(read, np.array(row.want, float))


@pytest.mark.parametrize("row", BAD_CSV, ids=ids)
def test_csv_files_that_are_refused(tmp_path, row):
  path, args = written(tmp_path, row)
  with pytest.raises(BadInput, match=row.want) as error:
    series.open(path, length=1, split=(1.0, 0, 0), **args)
  assert "\n" not in str(error.value)
