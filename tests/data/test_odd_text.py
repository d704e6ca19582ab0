"""Odd texts: what Python reads in them, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import gzip
import logging
import re

import numpy as np
import pytest
from oddities import Row, ids, laid

from maskjax.data import text, tokens
from maskjax.errors import BadInput
from maskjax.record import Record

BOM = b"\xef\xbb\xbf"
THREE = {"train": "aaab", "validation": "ab", "test": "bba"}
RANDOM = {"*": "abcabcabcabc"}

ONE = [
  Row("three_files", {"train.txt": b"aaab", "valid.txt": b"ab", "test.txt": b"bba"}, THREE),
  Row("three_folders", {"train/x.txt": b"aaab", "val/x.txt": b"ab", "test/x.txt": b"bba"}, THREE),
  Row("wikitext", {"wiki.train.tokens": b"aaab", "wiki.valid.tokens": b"ab", "wiki.test.tokens": b"bba"}, THREE),
  Row("wikitext_raw_in_its_folder", {f"wikitext-2-raw/wiki.{s}.raw": t for s, t in (("train", b"aaab"), ("valid", b"ab"), ("test", b"bba"))}, THREE),
  Row("penn_treebank", {"ptb.train.txt": b"aaab", "ptb.valid.txt": b"ab", "ptb.test.txt": b"bba"}, THREE),
  Row("upper_case", {"TRAIN.TXT": b"aaab", "Valid.TXT": b"ab", "Test.Txt": b"bba"}, THREE),
  Row("zipped_each", {"train.txt.gz": gzip.compress(b"aaab"), "dev.txt.gz": gzip.compress(b"ab"), "test.txt.gz": gzip.compress(b"bba")}, THREE),
  Row("shards", {"train-00000-of-00002.txt": b"aa", "train-00001-of-00002.txt": b"ab", "validation-00000-of-00001.txt": b"ab", "test-00000-of-00001.txt": b"bba"}, THREE),
  Row("no_test", {"train.txt": b"aaab", "valid.txt": b"ab"}, {"train": "aaab", "validation": "ab"}),
  Row("splits_are_said", {"a.txt": b"aaab", "b.txt": b"ab", "c.txt": b"bba"}, THREE, {"splits": {"train": ["a.txt"], "val": "b.txt", "test": ["c.txt"]}}),
  Row("called_so_by_chance", {"test.txt": b"abcabc", "z.txt": b"abcabc"}, RANDOM, {"splits": ()}),
  Row("one_file", {"a.txt": b"abcabcabcabc"}, RANDOM),
  Row("files_in_order", {"b.txt": b"abc", "a/z.txt": b"abcabc", "c.txt": b"abc"}, RANDOM),
  Row("books_with_words", {"a_test_of_time.txt": b"abcabc", "b.txt": b"abcabc"}, RANDOM),
  Row("byte_order_mark", {"a.txt": BOM + b"abcabcabcabc"}, RANDOM),
  Row("suffix_text", {"a.text": b"abcabcabcabc"}, RANDOM),
  Row("others_are_counted", {"a.txt": b"abcabcabcabc", "b.pdf": b"", "c.TXT~": b""}, RANDOM, says=r"passed over 1 \.pdf \(b\.pdf\), 1 \.txt~"),
  Row("files_of_systems", {"a.txt": b"abcabcabcabc", ".b.txt": b"x", "__MACOSX/._a.txt": b"x", "@eaDir/a.txt": b"x"}, RANDOM),
  Row("windows_line_ends", {"a.txt": b"ab\r\nab\r\nab\r\n"}, {"*": "ab\nab\nab\n"}, says=r"3 line ends of Windows are read as \\n"),
  Row("old_mac_line_ends", {"a.txt": b"ab\rab\rab\rab\r"}, {"*": "ab\rab\rab\rab\r"}),
  Row("other_line_ends", {"a.txt": "ab\x85cd\u2028ef\x0cgh".encode()}, {"*": "ab\x85cd\u2028ef\x0cgh"}),
  Row("null_bytes", {"a.txt": b"ab\0ab\0ab\0ab\0"}, {"*": "ab\0ab\0ab\0ab\0"}),
  Row("beyond_16_bits", {"a.txt": "🦊🦊ab🦊🦊ab🦊🦊ab".encode()}, {"*": "🦊🦊ab🦊🦊ab🦊🦊ab"}),
  Row("combining_marks", {"a.txt": "e\u0301e\u0301e\u0301e\u0301".encode()}, {"*": "e\u0301e\u0301e\u0301e\u0301"}),
  Row("an_empty_file_beside", {"a.txt": b"", "b.txt": b"abcabcabcabc"}, RANDOM),
  Row("readmes", {"a.md": b"abcabc", "b/c.md": b"abcabc", "d.txt": b"x"}, RANDOM, {"suffixes": (".md",)}, says=r"passed over 1 \.txt"),
  Row("newsgroups_without_suffixes", {"news-train/alt.atheism/1": b"aaab", "news-test/alt.atheism/2": b"bba"}, {"train": "aaab", "test": "bba"}, {"suffixes": ("",), "splits": {"train": ["news-train"], "test": ["news-test"]}}),
]  # fmt: skip

BAD = [
  Row("nothing_to_read", {"a.md": b"x", "b.md": b"y"}, r"no text files .*data\.suffixes changes.*2 \.md \(a\.md\)"),
  Row("empty", {"a.txt": b""}, "no characters"),
  Row("latin", {"a.txt": b"caf\xe9 au lait"}, r"a\.txt.* is not UTF-8: byte 3"),
  Row("utf16", {"a.txt": "abc".encode("utf-16")}, r"a\.txt.* is not UTF-8: byte 0"),
  Row("false_gz", {"a.txt.gz": b"not zipped"}, r"cannot read .*a\.txt\.gz"),
  Row("cut_gz", {"a.txt.gz": gzip.compress(b"abc" * 99)[:-9]}, r"cannot read .*a\.txt\.gz"),
  Row("a_split_beside_a_file", {"train.txt": b"a", "other.txt": b"b"}, r"file 'other\.txt' beside 'train\.txt'.*data\.splits"),
  Row("a_split_beside_a_folder", {"train/a.txt": b"a", "more/b.txt": b"b"}, r"folder 'more' beside 'train'.*data\.splits"),
  Row("eval", {"train.txt": b"a", "eval.txt": b"b"}, r"'eval\.txt' is a validation split to some"),
  Row("no_train", {"valid.txt": b"a", "test.txt": b"b"}, "no text for training, only for validation, test"),
]  # fmt: skip


def joined(record, source):
  ids = [e["tokens"][e["valid"]] for e in map(source.__getitem__, range(len(source)))]
  return tokens.decode(np.concatenate(ids), record)


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("row", ONE, ids=ids)
def test_texts_are_what_their_bytes_say(tmp_path, caplog, row, how):
  path = laid(tmp_path, row.files, how)
  with caplog.at_level(logging.INFO, "maskjax"):
    record, sources = text.open(path, length=4, **{"split": (1.0, 0, 0), **row.args})
  found = {split: joined(record, source) for split, source in sources.items()}
  assert found == ({"train": row.want["*"]} if "*" in row.want else row.want)
  assert re.search(row.says, caplog.text)


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("row", BAD, ids=ids)
def test_texts_that_are_refused(tmp_path, row, how):
  path = laid(tmp_path, row.files, how)
  with pytest.raises(BadInput, match=row.want) as error:
    text.open(path, length=4)
  assert "\n" not in str(error.value)


def test_turns_of_a_file_with_windows_line_ends(tmp_path):
  content = "one\n\ntwo\n\nthree\n\nfour"
  (tmp_path / "a.txt").write_bytes(content.replace("\n", "\r\n").encode())
  record, sources = text.open(str(tmp_path / "a.txt"), turns="\n\n", length=8, split=(1.0, 0, 0))
  assert len(sources["train"]) == 3
  answer = sources["train"][1]
  assert tokens.decode(answer["tokens"][answer["asked"]], record) == "thre"  # half a window


def test_a_word_without_an_end_takes_no_time_of_its_square():
  vocabulary = tokens.learn(["ab" * 3000], unit="bpe", size=270)
  record = Record("text", (8,), {}, vocabulary=vocabulary, unit="bpe")
  rng = np.random.default_rng(0)
  long = "".join(rng.choice(list("abc"), 50_000))
  ids = tokens.encode(long, record)
  assert tokens.decode(ids, record) == long
  # Nothing is joined across each 1024th byte, so that parts can be told apart.
  starts = np.cumsum([0, *tokens.characters(record)[ids]])
  assert set(range(0, 50_000, 1024)) <= set(starts.tolist())
