"""Collocations against brute force, and the units that they and the other words are."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.data import collocations, text, tokens
from maskjax.data.collocations import learn, pmi, runs, starts
from maskjax.errors import BadInput

SHORT = "The cat sat. A cat sat on the mat; the cat sat on the mat on the mat, a mat on the cat sat"


def brute_force(lines, gram, power):
  """The measure, from counts of substrings and every subset of the places to cut."""

  def log_p(part):
    n = len(part)
    windows = [tuple(line[i : i + n]) for line in lines for i in range(len(line) - n + 1)]
    return math.log(windows.count(part) / len(windows))

  places = range(1, len(gram))
  measures = []
  for size in places:
    for cuts in itertools.combinations(places, size):
      ends = [0, *cuts, len(gram)]
      parts = [gram[a:b] for a, b in itertools.pairwise(ends)]
      measures.append(power * log_p(gram) - sum(map(log_p, parts)))
  return min(measures)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_measure_is_that_of_every_segmentation(power):
  known = learn([tokens.words(SHORT)], size=1000, least=1, power=power)
  lines = ["the cat sat", "a cat sat on the mat", "the cat sat on the mat on the mat"]
  lines = [line.split() for line in [*lines, "a mat on the cat sat"]]
  grams = {
    tuple(line[i : i + n]) for n in range(2, 6) for line in lines for i in range(len(line) - n + 1)
  }
  assert set(known) == grams
  for gram, measure in known.items():
    assert measure == pytest.approx(brute_force(lines, gram, power), abs=1e-9)
  assert len({round(measure, 6) for measure in known.values()}) > 10


def test_a_long_gram_is_measured_by_its_best_part():
  """New York is, "of New York" is not: against chance of single words both would be."""
  p = {("of",): 0.1, ("new",): 0.01, ("york",): 0.01, ("new", "york"): 0.01, ("of", "new"): 0.001}
  log_p = {gram: math.log(value) for gram, value in {**p, ("of", "new", "york"): 0.001}.items()}
  assert pmi(("new", "york"), log_p) == pytest.approx(math.log(100))
  assert pmi(("of", "new", "york"), log_p) == pytest.approx(0)


def test_what_is_frequent_is_no_collocation_and_what_is_rare_is_left_out():
  rng = np.random.default_rng(0)
  common = [["of", "the"][i] for i in rng.integers(0, 2, 300)]
  lines = [" ".join([*common[i : i + 5], "San Marino", *common[i + 5 : i + 9]]) for i in range(200)]
  pieces = tokens.words(". ".join([*lines, "once upon"]))
  ranked = sorted(learn([pieces], size=8, least=5).items(), key=lambda item: -item[1])
  assert ranked[0][0] == ("san", "marino")
  counts = [sum(len(gram) == n for gram, _ in ranked) for n in (2, 3, 4, 5)]
  assert counts == [4, 2, 1, 1]
  everything = learn([pieces], size=10**6, least=5)
  assert ("once", "upon") not in everything
  assert ("once", "upon") in learn([pieces], size=10**6, least=1)
  of_the = everything[("of", "the")]
  assert everything[("san", "marino")] > of_the + 1


def test_words_are_joined_by_a_single_space_only():
  cut = tokens.words("Old King Lear, Don't\ngo  now")
  assert [run for _, run in runs(cut)] == [["old", "king", "lear"], ["don't"], ["go"], ["now"]]
  for begin, run in runs(cut):
    assert [piece.strip().lower() for piece in cut[begin : begin + len(run)]] == run


def chosen(line, grams, seed=0):
  """The units of a line, as text."""
  pieces = tokens.words(line)
  begins = starts(pieces, dict.fromkeys(map(tuple, grams), 1.0), np.random.default_rng(seed))
  at = [*np.flatnonzero(begins), len(pieces)]
  return ["".join(pieces[a:b]).strip() for a, b in itertools.pairwise(at)]


def test_the_larger_of_two_is_the_unit():
  grams = [
    ["the", "united", "states"],
    ["air", "force"],
    ["the", "united", "states", "air", "force"],
  ]
  whole = "the United States air force"
  assert chosen(f"of {whole}.", grams) == ["of", whole, "."]
  assert chosen("the United States, air force", grams) == ["the United States", ",", "air force"]


def test_of_overlapping_ones_one_is_drawn_and_the_rest_are_words():
  grams = [["by", "the", "way"], ["the", "way", "out"], ["way", "out"]]
  drawn = {tuple(chosen("by the way out", grams, seed)) for seed in range(20)}
  assert drawn == {("by the way", "out"), ("by", "the way out")}


@pytest.mark.parametrize("unit", tokens.UNITS)
def test_units_are_collocations_words_and_signs_of_any_tokens(tmp_path, unit):
  content = "fair Verona lies far off, in fair Verona we lay; far off, unseen. " * 30
  path = tmp_path / "a.txt"
  path.write_text(content)
  grouping = dict(size=8, least=10)
  record, sources = text.open(
    str(path), unit=unit, vocabulary=270, length=32, collocations=grouping, split=(1.0, 0, 0)
  )
  seen = set()
  for example in map(sources["train"].__getitem__, range(len(sources["train"]))):
    ids, which = example["tokens"][example["valid"]], example["unit"][example["valid"]]
    assert (example["unit"][~example["valid"]] == -1).all()
    assert which[0] == 0
    assert set(np.diff(which)) <= {0, 1}
    inner = range(1, which[-1])
    seen |= {tokens.decode(ids[which == u], record).strip() for u in inner}
  known = learn([tokens.words(content)], **grouping)
  together = {" ".join(gram) for gram in known}
  pieces = {piece.strip() for piece in tokens.words(content)}
  assert {unit.lower() for unit in seen} <= together | {piece.lower() for piece in pieces}
  assert any(" " in unit for unit in seen)
  _, plain = text.open(str(path), unit=unit, vocabulary=270, length=32, split=(1.0, 0, 0))
  assert "unit" not in plain["train"][0]


@settings(max_examples=50, deadline=None)
@given(
  parts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1),
  unit=st.sampled_from(["characters", "words"]),
  after=st.integers(0, 1),
)
def test_every_token_of_any_text_has_its_flag(parts, unit, after):
  known = tokens.learn(parts, unit=unit, size=50)
  record = text.Record("text", (4,), {}, vocabulary=(*known, tokens.UNKNOWN), unit=unit)
  encode = tokens.encoder(record)
  flags = collocations.units({"train": parts}, encode, after)[0]["train"]
  assert len(flags) == sum(len(encode(part)) + after for part in parts)
  assert flags.sum() == sum(len(tokens.words(part)) + after for part in parts)


def test_documents_share_no_unit(tmp_path):
  for name in "ab":
    (tmp_path / f"{name}.txt").write_text("go on " * 20 + "go")
  record, sources = text.open(
    str(tmp_path),
    unit="words",
    length=50,
    documents="file",
    split=(1.0, 0, 0),
    collocations=dict(size=4, least=5),
  )
  example = sources["train"][0]
  end = record.vocabulary.index(tokens.END)
  at = int(np.flatnonzero(example["tokens"] == end)[0])
  unit = example["unit"]
  assert unit[at - 1] + 1 == unit[at] == unit[at + 1] - 1
  assert unit[0] == unit[1]


@pytest.mark.parametrize(
  ("grouping", "says"),
  [(dict(sise=3), "sise.*size"), (dict(size=-1), "size from 0"), (dict(size=1, least=0), "from 1")],
)
def test_bad_input(tmp_path, grouping, says):
  path = tmp_path / "a.txt"
  path.write_text("a b c")
  with pytest.raises(BadInput, match=says):
    text.open(str(path), collocations=grouping, split=(1.0, 0, 0))
