"""Turns as prompts and answers: every answer once, prompts of what precedes it, blocks."""

import pathlib
import pickle

import numpy as np
import pytest

from maskjax.data import pipeline, text, tokens
from maskjax.errors import BadInput

SHAKESPEARE = (
  pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "tiny_shakespeare.txt.gz"
)
TURNS = ["ab|", "c|", "defg|", "hi|", "jklmnopqrs|", "t"]


PHRASES = ["to be\n", "or not\n", "to be\n"]


def opened(tmp_path, text_in_turns=TURNS, **options):
  path = tmp_path / "text.txt"
  path.write_text("".join(text_in_turns))
  options = {"length": 10, "split": (1.0, 0, 0), "turns": "|", **options}
  record, sources = text.open(str(path), **options)
  return record, sources["train"]


def read(example, record, where):
  return tokens.decode(example["tokens"][where], record)


def test_every_turn_but_the_first_is_an_answer_to_what_precedes_it(tmp_path):
  record, source = opened(tmp_path)
  assert len(source) == record.sizes["train"] == len(TURNS) - 1
  for i, turn in enumerate(TURNS[1:], 1):
    example = source[i - 1]
    before = "".join(TURNS[:i])
    answer, asked = turn[:5], example["asked"]
    assert read(example, record, asked) == answer
    assert read(example, record, example["valid"] & ~asked) == before[-(10 - len(answer)) :]
    assert not (asked & ~example["valid"]).any()
    assert not example["tokens"][~example["valid"]].any()
    kinds = {name: (x.dtype, x.shape) for name, x in example.items()}
    assert kinds == {
      "tokens": (np.int32, (10,)),
      "valid": (bool, (10,)),
      "asked": (bool, (10,)),
      "blocks": (np.int32, (10,)),
    }
  with pytest.raises(IndexError):
    source[len(source)]


def test_every_turn_is_a_block_and_earlier_answers_are_read_causally(tmp_path):
  """As in the authors' code, whose blocks are those of the other's turns, one each."""
  record, source = opened(tmp_path, length=20)
  for i in range(len(source)):
    example = source[i]
    number = example["blocks"][example["valid"]]
    assert set(np.diff(number)) <= {0, 1}
    made = [
      read(example, record, example["valid"] & (example["blocks"] == n)) for n in np.unique(number)
    ]
    expected = []
    for turn in range(i + 2):
      own = TURNS[turn] if turn <= i else TURNS[turn][:10]
      expected += list(own) if turn <= i and (i + 1 - turn) % 2 == 0 else [own]
    room = "".join(expected)[-20:]
    while "".join(expected) != room:  # what does not fit is the beginning
      expected = [expected[0][1:], *expected[1:]] if len(expected[0]) > 1 else expected[1:]
    assert made == expected


def test_separators_stay_and_the_vocabulary_is_that_of_plain_windows(tmp_path):
  assert text.cut_text("a||b|", "|") == ["a|", "|", "b|"]
  assert "".join(text.cut_text("x|y", "|")) == "x|y"
  plain, _ = opened(tmp_path)
  path = str(tmp_path / "text.txt")
  assert text.open(path, length=10, split=(1.0, 0, 0))[0].vocabulary == plain.vocabulary


def test_pieces_of_words_are_turns_too(tmp_path):
  record, source = opened(tmp_path, PHRASES, turns="\n", unit="words")
  assert read(source[1], record, source[1]["asked"]) == "to be\n"


def test_batches_carry_all_and_are_padded_where_there_are_no_more(tmp_path):
  path = tmp_path / "text.txt"
  path.write_text("".join(TURNS))
  data = pipeline.load(
    name="text", path=str(path), length=10, split=(1.0, 0, 0), turns="|", test=""
  )
  batch = next(pipeline.batches(data, batch_size=4, seed=0, threads=1))
  assert set(batch) == {"tokens", "valid", "asked", "blocks", "position"}
  *_, last = pipeline.examples(data, "train", batch_size=4)
  assert last["valid"].any(1).tolist() == [True, False, False, False]
  copy = pickle.loads(pickle.dumps(data.splits["train"]))
  np.testing.assert_array_equal(copy[2]["blocks"], data.splits["train"][2]["blocks"])


@pytest.mark.parametrize(
  ("turns", "options", "says"),
  [
    (["ab"], {}, "single turn"),
    (TURNS, {"documents": "file"}, "turns or into documents"),
    (TURNS, {"length": 1}, "length is a whole number from 2"),
  ],
)
def test_what_cannot_be_cut_is_refused(tmp_path, turns, options, says):
  with pytest.raises(BadInput, match=says):
    opened(tmp_path, turns, **options)


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="shared/data is not beside the repository")
def test_a_play_is_speeches():
  record, sources = text.open(str(SHAKESPEARE), length=192, turns="\n\n")
  assert record.sizes["train"] > 6000
  example = sources["train"][41]
  answer = read(example, record, example["asked"])
  assert answer.split("\n")[0].endswith(":")
  assert read(example, record, example["valid"] & ~example["asked"]).endswith("\n\n")
  assert len(set(example["blocks"])) > 2
