"""A bug planted in a reader stays a bug: no reader takes it for bad input."""

import numpy as np
import pytest
import soundfile
from oddities import pack, png, put, saved, tone

from maskjax import cli
from maskjax.data import (
  arrays,
  cells,
  class_folders,
  decode,
  files,
  foreign,
  graph,
  listing,
  lists,
  mixtures,
  motion,
  named_arrays,
  npz,
  patterns,
  series,
  splits,
  table,
  text,
  tfds,
  told,
  wav,
)
from maskjax.data.__main__ import main
from maskjax.data.digits import digits_dataset_builder

SPEAKERS = {f"{who}/{i}.wav": tone(i + 1) for who in "ab" for i in range(4)}
# Where a bug is planted in what opens which files, with which options.
PLANTED = [
  (files, listing, "normal", {"a.png": png(1)}),
  (
    files,
    decode,
    "_plain",
    {"a.gif": b"GIF87a\1\0\1\0\x80\0\0\0\0\0\1\1\1,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"},
  ),
  (files, class_folders, "classes", {"a.png": png(1)}),
  (wav, wav, "_format", {"a.wav": tone(1)}),
  (wav, splits, "by_folder", {"a.wav": tone(1)}),
  (text, text, "decoded", {"a.txt": b"words"}),
  (series, cells, "_number", {"a.csv": b"a\n1\n"}),
  (table, cells, "delimiter_of", {"a.csv": b"a\n1\n"}),
  (arrays, named_arrays, "axes_of", {"a.npz": saved(x_train=np.zeros((2, 5, 5)))}),
  (graph, graph, "_pairs", {"a.npz": saved(x=np.zeros((2, 5)))}),
  (table, table, "_arrays", {"a.npz": saved(x=np.zeros((2, 5)))}),
  (files, listing, "_members", pack),
  (text, listing, "_decoded", pack),
  (files, files, "stored", pack),
  (files, told, "captions_of", {"a.png": png(1)}, {"captions": ""}),
  (wav, soundfile, "SoundFile", {"a.wav": tone(1)}),
  (mixtures, mixtures, "Mixtures", SPEAKERS, {"length": 2}),
  (motion, motion, "Moving", {"a.png": png(1), "b.png": png(2)}, {"images": "folder"}),
  (arrays, npz.np, "load", {"a.npz": saved(x_train=np.zeros((2, 5, 5)))}),
  (arrays, npz, "_is_note", {"a.npz": saved(x_train=np.zeros((2, 5, 5)))}),
  (files, patterns, "_compiled", {"a_1.png": png(1)}, {"label": "{label}_{n}.png"}),
  (files, lists, "_tails", {"b/a.png": png(1), "x/t.txt": b"a"}, {"splits": {"test": "x/t.txt"}}),
  (text, foreign, "_format", {"a.txt": b"\xe9"}),
  (tfds, digits_dataset_builder.Builder, "_generate_examples", {}, {"name": "digits"}),
]


SINGLE = (series, table, arrays, graph)
BOTH_KINDS = {"a.png": png(1), "a.txt": b"words"}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: f"{p[0].__name__}_{p[2]}")
def test_a_bug_in_a_reader_stays_a_bug(tmp_path, monkeypatch, planted):
  module, owner, function, content, *options = planted
  zipped = content is pack
  path = pack(tmp_path / "s.zip", BOTH_KINDS) if zipped else put(tmp_path / "set", content)
  if module in SINGLE:
    path = f"{path}/{next(iter(content))}"

  def broken(*_, **__):
    return {}["planted"]

  monkeypatch.setattr(owner, function, broken)
  skipping = {"on_error": "skip"} if module in (files, wav) else {}
  with pytest.raises(KeyError, match="planted"):
    module.open(path, **skipping, **(options[0] if options else {}))


def test_a_bug_leaves_every_command_as_it_is(tmp_path, monkeypatch):
  """Python then prints its traceback and ends with status 1."""
  path = put(tmp_path / "set", {"train/a.png": png(1), "test/b.png": png(2)})
  monkeypatch.setattr(class_folders, "classes", lambda *_: {}["planted"])
  monkeypatch.chdir(tmp_path)
  config = f"mae:smoke,data.name=folder,data.path={path}"
  commands = ([f"--config={config}", "--check"], [f"--config={config}", "--workdir=run"])
  for words in commands:
    with pytest.raises(KeyError, match="planted"):
      cli.main(["launch.py", *words])
  with pytest.raises(KeyError, match="planted"):
    main([path])
