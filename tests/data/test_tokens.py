import collections
import gzip
import itertools
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.data import tokens
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.workdirs.workdir import read_record, write_record

SHAKESPEARE = (
  pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "tiny_shakespeare.txt.gz"
)
ANY = st.text(st.characters(exclude_categories=["Cs"]))
POEM = """Bruder Jakob, Bruder Jakob,
schläfst du noch? Schläfst du noch?
Hörst du nicht die Glocken? Hörst du nicht die Glocken?
Ding, dang, dong, ding, dang, dong."""


def record(texts, unit, size=280):
  known = tokens.learn(texts, unit=unit, size=size)
  marks = (tokens.END,) if unit == "bpe" else (tokens.END, tokens.UNKNOWN)
  return Record("text", (8,), {}, vocabulary=(*known, *marks), unit=unit)


BPE = record([POEM], "bpe")


@given(content=ANY)
def test_words_are_all_of_the_text(content):
  parts = tokens.words(content)
  assert "".join(parts) == content
  assert all(parts)
  assert not {tokens.UNKNOWN, tokens.END} & set(parts)


@pytest.mark.parametrize("mark", [tokens.UNKNOWN, tokens.END])
def test_marks_in_a_text_are_plain_text(mark):
  content = f"{mark} {mark}{mark}\n{mark}" * 9
  for unit in tokens.UNITS:
    known = record([content], unit)
    ids = tokens.encode(content, known)
    assert mark not in [known.vocabulary[i] for i in ids]
    assert tokens.decode(ids, known) == content


@settings(max_examples=50, deadline=None)
@given(content=ANY)
@pytest.mark.parametrize("unit", tokens.UNITS)
def test_what_was_learned_from_comes_back(unit, content):
  known = record([content], unit, size=10**4)
  ids = tokens.encode(content, known)
  assert ids.dtype == np.int32
  assert tokens.decode(ids, known) == content
  assert tokens.characters(known)[ids].sum() == len(content)
  assert tokens.learn([content], unit=unit, size=10**4) == known.vocabulary[: -2 + (unit == "bpe")]


@given(content=ANY)
def test_bpe_takes_any_text(content):
  ids = tokens.encode(content, BPE)
  assert tokens.decode(ids, BPE) == content
  assert tokens.characters(BPE)[ids].sum() == len(content)


def test_bpe_ids_are_pinned():
  pieces = BPE.vocabulary
  assert len(pieces) == 281
  assert [piece.encode("utf-8", "surrogateescape") for piece in pieces[:256]] == [
    bytes([b]) for b in range(256)
  ]
  assert pieces[256:268] == (
    *(" d", "ch", "ng", " n", "st", " du", " di", " G", " J", "Br", "H\udcc3", "ak"),
  )
  ids = [265, 117, 270, 114, 44, 32, 104, 195, 182, 279, 261, 32, 228, 184, 173, 63]
  assert tokens.encode("Bruder, hörst du 中?", BPE).tolist() == ids


@settings(max_examples=50, deadline=None)
@given(content=st.text("abc äö", max_size=60))
def test_bpe_joins_the_neighbours_of_the_lowest_id(content):
  ids = {piece.encode("utf-8", "surrogateescape"): i for i, piece in enumerate(BPE.vocabulary)}
  wanted = []
  for word in tokens.words(content):
    parts = [bytes([b]) for b in word.encode()]
    while True:
      joint = [ids.get(a + b, len(ids)) for a, b in itertools.pairwise(parts)]
      if min(joint, default=len(ids)) == len(ids):
        break
      at = joint.index(min(joint))
      parts[at : at + 2] = [parts[at] + parts[at + 1]]
    wanted += [ids[part] for part in parts]
  assert tokens.encode(content, BPE).tolist() == wanted


def test_a_word_of_many_letters_is_merged_in_parts():
  """Merging takes time that grows with the square of a part's length."""
  record = Record("text", (8,), {}, vocabulary=(*BPE.vocabulary[:256], "ab"), unit="bpe")
  word = "x" + "ab" * 40_000
  part = tokens._LONGEST
  wanted = [tokens.encode(word[i : i + part], record) for i in range(0, len(word), part)]
  got = tokens.encode(word, record)
  np.testing.assert_array_equal(got, np.concatenate(wanted))
  assert (got != 256).sum() == 1 + 2 * (len(word) // part)  # x, and a pair cut at each border


def test_a_merge_needs_a_pair_that_occurs_twice():
  assert tokens.learn(["ab cd"], unit="bpe", size=999)[256:] == ()
  assert tokens.learn(["ab\nab"], unit="bpe", size=999)[256:] == ("ab",)
  assert tokens.learn(["中中 中"], unit="bpe", size=999)[256:][-1] == "中"


def test_the_most_frequent_words():
  known = record(["b a b c\na b"], "words", size=3)
  counts = collections.Counter(tokens.words("b a b c\na b"))
  assert counts == {" b": 2, "b": 1, " a": 1, " c": 1, "\n": 1, "a": 1}
  assert known.vocabulary == (" b", "\n", " a", tokens.END, tokens.UNKNOWN)
  ids = tokens.encode("z b a\n", known)
  assert ids.tolist() == [4, 0, 2, 1]
  assert tokens.decode(ids, known) == "<unk> b a\n"


def test_unknown_tokens():
  known = record(["ab"], "characters")
  assert tokens.encode("axb", known).tolist() == [0, 3, 1]
  closed = Record("text", (8,), {}, vocabulary=("a", "b"), unit="characters")
  with pytest.raises(BadInput, match="'x', token 1 of the text"):
    tokens.encode("axb", closed)
  closed = Record("text", (8,), {}, vocabulary=("a", " b"), unit="words")
  with pytest.raises(BadInput, match="' x', token 1 of the text"):
    tokens.encode("a x b", closed)


def test_characters_count_once_however_they_are_cut():
  counts = tokens.characters(BPE)
  assert counts.dtype == np.int64
  assert counts[ord("a")] == counts[0xE4] == 1  # a first byte
  assert counts[0xA4] == counts[BPE.vocabulary.index(tokens.END)] == 0
  assert counts[BPE.vocabulary.index(" du")] == 3


def test_word_starts():
  starts = dict(zip(BPE.vocabulary, tokens.word_starts(BPE), strict=True))
  assert starts[" du"]
  assert starts[" "]
  assert starts["\n"]
  assert starts["?"]
  assert starts[tokens.END]
  assert not starts["ng"]
  assert not starts["\udcc3"]
  ids = tokens.encode("Ding, dang. Hörst du\nnicht", BPE)
  begins = np.cumsum(tokens.word_starts(BPE)[ids])
  units = [tokens.decode(ids[begins == unit], BPE) for unit in np.unique(begins)]
  assert units == ["Ding", ",", " dang", ".", " Hörst", " du", "\nnicht"]
  assert tokens.word_starts(record(["a b\nc"], "words")).all()


def test_the_record_is_enough(tmp_path):
  for unit in tokens.UNITS:
    known = record([POEM], unit)
    write_record(tmp_path, known)
    again = read_record(tmp_path)
    assert again == known
    ids = tokens.encode("dong, Jakob", again)
    # "dong" is a word of the poem only after a space.
    assert tokens.decode(ids, again) == ("<unk>, Jakob" if unit == "words" else "dong, Jakob")


def test_bad_input():
  with pytest.raises(BadInput, match=r"unknown data\.unit 'word'; did you mean 'words'"):
    tokens.learn(["a"], unit="word", size=9)
  with pytest.raises(BadInput, match="unknown unit of text ''"):
    tokens.encode("a", Record("image", (8, 8, 1), {}))
  for ids in ([0, 281], [-1]):
    with pytest.raises(BadInput, match=rf"token id {ids[-1]} is not in the vocabulary of 281"):
      tokens.decode(ids, BPE)
  with pytest.raises(BadInput, match="half a surrogate pair"):
    tokens.encode("a\ud800", BPE)
  assert tokens.decode([0xE4, ord("a")], BPE) == "\ufffda"


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="no ../shared/data/tiny_shakespeare.txt.gz")
@pytest.mark.parametrize(("unit", "count"), [("words", 285_429), ("bpe", 452_360)])
def test_tiny_shakespeare(unit, count):
  content = gzip.decompress(SHAKESPEARE.read_bytes()).decode()
  known = record([content], unit, size=20_000 if unit == "words" else 1024)
  ids = tokens.encode(content, known)
  assert len(ids) == count
  assert tokens.decode(ids, known) == content
  assert tokens.characters(known)[ids].sum() == len(content) == 1_115_394
