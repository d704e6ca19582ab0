import gzip
import logging
import pathlib
import pickle
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.data import splits, text, tokens
from maskjax.data.windows import Windows
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


def _ids(source):
  return np.concatenate(
    [e["tokens"][e["valid"]] for e in map(source.__getitem__, range(len(source)))]
  )


def _joined(source, record):
  return tokens.decode(_ids(source), record)


@settings(max_examples=50, deadline=None)
@given(content=ANY, length=st.integers(1, 20))
def test_windows_give_the_text_back(content, length):
  content = content.replace("\r\n", "\n")  # which is what line ends of Windows become
  with tempfile.TemporaryDirectory() as folder:
    record, sources = text.open(_write(folder, content), length=length, split=(1.0, 0, 0))
  assert _joined(sources["train"], record) == content
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
  assert record.vocabulary == (*content[:60], tokens.UNKNOWN)
  assert _joined(sources["train"], record) == content[:60]
  assert _joined(sources["test"], record) == tokens.UNKNOWN * 10


def test_characters_that_training_lacks_are_counted(tmp_path, caplog):
  path = _write(tmp_path, "abab" + "axyz")
  with caplog.at_level(logging.WARNING, "maskjax"):
    record, sources = text.open(path, length=4, split=(4, 0, 4))
  assert record.vocabulary == ("a", "b", tokens.UNKNOWN)
  assert sources["test"][0]["tokens"].tolist() == [0, 2, 2, 2]
  assert "3 characters of test" in caplog.text


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
  for name, content in (("b.txt", "2"), ("a/z.txt.gz", "1"), ("c.txt", "3"), (".d.txt", "no")):
    _write(tmp_path, content, name)
  _write(tmp_path, "no", "readme.md")
  record, sources = text.open(str(tmp_path), split=(1.0, 0.0, 0.0))
  assert _joined(sources["train"], record) == "123"


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
  for name, end in zip(splits.SPLITS, ends, strict=True):
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


@pytest.mark.parametrize("unit", tokens.UNITS)
@settings(max_examples=20, deadline=None)
@given(content=ANY, length=st.integers(1, 9))
def test_windows_of_any_unit_give_the_text_back(unit, content, length):
  with tempfile.TemporaryDirectory() as folder:
    path = _write(folder, content)
    record, sources = text.open(path, unit=unit, length=length, split=(1.0, 0, 0))
  assert record.unit == unit
  assert _joined(sources["train"], record) == content.replace("\r\n", "\n")


@given(total=st.integers(1, 60), length=st.integers(1, 12), stride=st.integers(1, 12))
def test_overlapping_windows_miss_nothing_and_repeat_no_end(total, length, stride):
  stride = min(stride, length)
  cut = Windows(np.arange(total), length, stride)
  starts = [cut[i]["tokens"][0] for i in range(len(cut))]
  assert starts == list(range(0, len(cut) * stride, stride))
  assert np.unique(_ids(cut)).tolist() == list(range(total))
  assert all(cut[i]["valid"].all() for i in range(len(cut) - 1))


def test_only_training_windows_overlap(tmp_path):
  path = _write(tmp_path, "abcdefgh" * 10)
  record, sources = text.open(path, length=8, stride=2, split=(0.5, 0.25, 0.25))
  assert record.sizes == {"train": 17, "validation": 3, "test": 3}
  assert sources["train"][1]["tokens"].tolist() == [2, 3, 4, 5, 6, 7, 0, 1]
  assert _joined(sources["test"], record) == ("abcdefgh" * 10)[60:]


def test_words_beyond_the_vocabulary_are_unknown(tmp_path, caplog):
  path = _write(tmp_path, "a a a b b c" + " d a")
  with caplog.at_level(logging.WARNING, "maskjax"):
    record, sources = text.open(path, unit="words", vocabulary=3, length=3, split=(11, 0, 4))
  assert record.vocabulary == (" a", " b", tokens.UNKNOWN)
  assert sources["train"][0]["tokens"].tolist() == [2, 0, 0]
  assert sources["test"][0]["tokens"].tolist() == [2, 0, 0]
  assert sources["test"][0]["valid"].tolist() == [True, True, False]
  assert "2 words of train, of 6, are not in the vocabulary" in caplog.text


def test_the_vocabulary_is_learned_from_the_training_part(tmp_path):
  path = _write(tmp_path, "ab " * 90 + "xy " * 10)
  record, sources = text.open(path, unit="bpe", split=(0.9, 0, 0.1))
  assert record.vocabulary[256:] == ("ab", " ab")
  assert _joined(sources["test"], record) == "xy " * 10
  assert text.open(path, unit="bpe", split=(0.9, 0, 0.1))[0] == record
  assert len(text.open(path, unit="bpe", vocabulary=257)[0].vocabulary) == 257


@pytest.mark.parametrize("unit", tokens.UNITS)
def test_documents_are_told_apart_in_windows(tmp_path, unit):
  path = _write(tmp_path, "a b--b a----a-b--")
  record, sources = text.open(path, unit=unit, length=8, documents="--", split=(3, 0, 0))
  end = record.vocabulary.index(tokens.END)
  assert end == len(record.vocabulary) - (2 if unit == "words" else 1)
  ids = _ids(sources["train"])
  assert tokens.decode(ids, record) == "a b<eos>b a<eos>a-b<eos>"
  for i, start in enumerate(range(0, len(ids), 8)):
    part = ids[start : start + 8]
    segments = sources["train"][i]["segments"]
    assert segments.dtype == np.int32
    assert segments[: len(part)].tolist() == [
      int((part[:n] == end).sum()) for n in range(len(part))
    ]


def test_segments_count_from_the_window_on():
  cut = Windows(np.array([1, 1, 9, 2, 9, 9, 3]), 4, 4, end=9)
  assert cut[0]["segments"].tolist() == [0, 0, 0, 1]
  assert cut[1]["segments"].tolist() == [0, 1, 2, 2]
  assert cut[1]["valid"].tolist() == [True, True, True, False]
  assert "segments" not in Windows(np.arange(4), 4, 4)[0]


def test_documents_are_never_cut_or_shared(tmp_path):
  for i in range(10):
    _write(tmp_path, f"{i}" * 5, f"{i}.txt")
  whole = {"documents": "file", "length": 4}
  record, sources = text.open(str(tmp_path), **whole, split=(0.7, 0.2, 0.1))
  wanted = "".join(f"{str(i) * 5}<eos>" for i in range(7))
  assert _joined(sources["train"], record) == wanted
  assert record.vocabulary == (*"0123456", tokens.END, tokens.UNKNOWN)
  assert _ids(sources["test"]).tolist() == [8] * 5 + [7]
  with pytest.raises(BadInput, match="of 1 documents leaves none for training"):
    text.open(str(tmp_path / "1.txt"), **whole)


def test_bad_files(tmp_path):
  with pytest.raises(BadInput, match="does not exist"):
    text.open(str(tmp_path / "nothing.txt"))
  with pytest.raises(BadInput, match="no text files"):
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
  with pytest.raises(BadInput, match="stride 9 leaves gaps between windows of length 8"):
    text.open(path, length=8, stride=9)
  with pytest.raises(BadInput, match="stride is a whole number from 0 up"):
    text.open(path, stride=-1)
  with pytest.raises(BadInput, match=r"unknown data\.unit 'byte'"):
    text.open(path, unit="byte")
  with pytest.raises(BadInput, match="vocabulary is a whole number from 257 up, got 256"):
    text.open(path, unit="bpe", vocabulary=256, documents="b", split=(1.0, 0, 0))
  with pytest.raises(BadInput, match="vocabulary is a whole number from 2 up, got 1"):
    text.open(path, unit="words", vocabulary=1)
  with pytest.raises(BadInput, match="documents is 'file' or a separator, got 3"):
    text.open(path, documents=3)


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="no ../shared/data/tiny_shakespeare.txt.gz")
def test_tiny_shakespeare():
  record, sources = text.open(str(SHAKESPEARE), length=256)
  content = text.read(SHAKESPEARE)
  assert len(record.vocabulary) == 65
  assert tokens.UNKNOWN not in record.vocabulary
  assert record.sizes == {"train": 3922, "validation": 218, "test": 218}
  assert _joined(sources["validation"], record) == content[1003854:1059624]
  assert _joined(sources["test"], record) == content[1059624:]
