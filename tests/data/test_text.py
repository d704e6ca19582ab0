import gzip
import logging
import pathlib
import pickle
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.data import text
from maskjax.errors import BadInput

SHAKESPEARE = (
  pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "tiny_shakespeare.txt.gz"
)
BOM = "\ufeff"
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=BOM), min_size=1)


def _write(folder, content, name="a.txt"):
  path = pathlib.Path(folder) / name
  path.parent.mkdir(parents=True, exist_ok=True)
  raw = content if isinstance(content, bytes) else content.encode()
  path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
  return str(path)


def _joined(source, vocabulary):
  examples = [source[i] for i in range(len(source))]
  return "".join(text.decode(e["tokens"][e["valid"]], vocabulary) for e in examples)


@settings(max_examples=50, deadline=None)
@given(content=ANY, length=st.integers(1, 20))
def test_windows_give_the_text_back(content, length):
  with tempfile.TemporaryDirectory() as folder:
    record, sources = text.open(_write(folder, content), length=length, split=(1.0, 0, 0))
  assert _joined(sources["train"], record.vocabulary) == content
  assert record.vocabulary == tuple(sorted(set(content)))
  assert record.sizes == {"train": len(sources["train"])} == {"train": -(-len(content) // length)}


def test_an_example():
  with tempfile.TemporaryDirectory() as folder:
    record, sources = text.open(_write(folder, "cabac"), length=3, split=(1.0, 0, 0))
  first, last = sources["train"][0], sources["train"][1]
  assert (record.kind, record.shape, record.vocabulary) == ("text", (3,), ("a", "b", "c"))
  assert first["tokens"].tolist() == [2, 0, 1]
  assert first["valid"].all()
  assert last["tokens"].tolist() == [0, 2, 0]
  assert last["valid"].tolist() == [True, True, False]
  assert first["tokens"].dtype == np.int32
  assert first["valid"].dtype == bool
  with pytest.raises(IndexError):
    sources["train"][2]


def test_parts_are_cut_in_order_and_never_shared(tmp_path):
  content = "".join(chr(0x4E00 + i) for i in range(100))
  record, sources = text.open(_write(tmp_path, content), length=7, split=(0.6, 0.3, 0.1))
  assert list(sources) == ["train", "validation", "test"]
  assert record.vocabulary == (*content[:60], text.UNKNOWN)
  assert _joined(sources["train"], record.vocabulary) == content[:60]
  assert _joined(sources["test"], record.vocabulary) == text.UNKNOWN * 10


def test_characters_that_training_lacks_are_counted(tmp_path, caplog):
  path = _write(tmp_path, "abab" + "axyz")
  with caplog.at_level(logging.WARNING, "maskjax"):
    record, sources = text.open(path, length=4, split=(4, 0, 4))
  assert record.vocabulary == ("a", "b", text.UNKNOWN)
  assert sources["test"][0]["tokens"].tolist() == [0, 2, 2, 2]
  assert "3 characters of test" in caplog.text


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
  for name, content in (("b.txt", "2"), ("a/z.txt.gz", "1"), ("c.txt", "3"), (".d.txt", "no")):
    _write(tmp_path, content, name)
  _write(tmp_path, "no", "readme.md")
  record, sources = text.open(str(tmp_path), split=(1.0, 0.0, 0.0))
  assert _joined(sources["train"], record.vocabulary) == "123"


def test_line_ends_stay_and_a_byte_order_mark_does_not(tmp_path):
  path = _write(tmp_path, BOM + "a\r\nb\rc\n")
  assert text.read(path) == "a\r\nb\rc\n"


def test_sources_travel_to_workers(tmp_path):
  _, sources = text.open(_write(tmp_path, "hello world" * 9), length=4)
  copy = pickle.loads(pickle.dumps(sources["train"]))
  for i, example in enumerate(sources["train"]):
    np.testing.assert_array_equal(copy[i]["tokens"], example["tokens"])


@given(total=st.integers(0, 10**6), at=st.lists(st.integers(0, 100), min_size=3, max_size=3))
def test_parts_follow_one_another_and_end_at_the_floor_of_their_share(total, at):
  ends = sorted(at)
  shares = [hundredths / 100 for hundredths in np.diff([0, *ends]).tolist()]
  parts, start = text.parts(total, shares), 0
  for name, end in zip(text.SPLITS, ends, strict=True):
    stop = total * end // 100
    assert parts.get(name, slice(start, start)) == slice(start, stop)
    assert (name in parts) == (start < stop)
    start = stop


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (0.9, 0.05, 0.05), (0.6, 0.3, 0.1)])
def test_decimal_shares_that_add_up_to_one_leave_nothing(shares):
  for total in (10, 100, 1000, 99_999_999):
    assert max(part.stop for part in text.parts(total, shares).values()) == total


@pytest.mark.parametrize(
  "split", [(0.9, 0.2, 0), (1, 1, 9), (-0.1, 0, 0), (0.5, 0.5), "abc", 0.9, (float("nan"), 0, 0)]
)
def test_a_bad_split(split):
  with pytest.raises(BadInput, match="split"):
    text.parts(10, split)


@given(content=ANY)
def test_encode_and_decode(content):
  vocabulary = tuple(sorted(set(content)))
  assert text.decode(text.encode(content, vocabulary), vocabulary) == content


def test_encode_an_unknown_character():
  assert text.encode("axb", ("a", "b", text.UNKNOWN)).tolist() == [0, 2, 1]
  with pytest.raises(BadInput, match="'x' at 1"):
    text.encode("axb", ("a", "b"))


def test_bad_files(tmp_path):
  with pytest.raises(BadInput, match="no such file"):
    text.open(str(tmp_path / "nothing.txt"))
  with pytest.raises(BadInput, match=r"no \.txt"):
    text.open(str(tmp_path))
  with pytest.raises(BadInput, match=r"no characters in .*empty\.txt"):
    text.open(_write(tmp_path, "", "empty.txt"))
  with pytest.raises(BadInput, match=r"latin\.txt is not UTF-8: byte 3"):
    text.open(_write(tmp_path, b"caf\xe9 au lait", "latin.txt"))
  with pytest.raises(BadInput, match=r"latin\.txt\.gz is not UTF-8: byte 3"):
    text.open(_write(tmp_path, b"caf\xe9 au lait", "latin.txt.gz"))
  (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"abc" * 99)[:-9])
  with pytest.raises(BadInput, match=r"cut\.txt\.gz"):
    text.open(str(tmp_path / "cut.txt.gz"))
  (tmp_path / "false.txt.gz").write_bytes(b"not zipped")
  with pytest.raises(BadInput, match=r"false\.txt\.gz"):
    text.open(str(tmp_path / "false.txt.gz"))


def test_bad_arguments(tmp_path):
  path = _write(tmp_path, "abc")
  for length in (0, -1, 2.5, True, "8"):
    with pytest.raises(BadInput, match="length is a whole number"):
      text.open(path, length=length)
  with pytest.raises(BadInput, match="none for training"):
    text.open(path, split=(0.0, 0.5, 0.5))


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="no ../shared/data/tiny_shakespeare.txt.gz")
def test_tiny_shakespeare():
  record, sources = text.open(str(SHAKESPEARE), length=256)
  content = text.read(SHAKESPEARE)
  assert len(record.vocabulary) == 65
  assert text.UNKNOWN not in record.vocabulary
  assert record.sizes == {"train": 3922, "validation": 218, "test": 218}
  assert _joined(sources["validation"], record.vocabulary) == content[1003854:1059624]
  assert _joined(sources["test"], record.vocabulary) == content[1059624:]
