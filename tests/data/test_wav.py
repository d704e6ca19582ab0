import io
import logging
import multiprocessing
import pathlib
import pickle
import struct
import tempfile
import wave
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from maskjax.data import wav
from maskjax.errors import BadInput

DIGITS = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "spoken_digit.zip"
PATTERN = "{label}_{speaker}_{index}.wav"


def _chunk(name, data):
  return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _riff(data, *, tag=1, channels=1, rate=8000, bits=16, extensible=False, before=b"", after=b""):
  block = channels * bits // 8
  fmt = (0xFFFE if extensible else tag, channels, rate, rate * block, block, bits)
  layout = struct.pack("<HHIIHH", *fmt)
  if extensible:
    layout += struct.pack("<HHIH", 22, bits, 0, tag) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
  body = b"WAVE" + before + _chunk(b"fmt ", layout) + _chunk(b"data", data) + after
  return _chunk(b"RIFF", body)


def _tone(frames=4, **kwargs):
  return _riff(
    np.arange(1, frames * kwargs.get("channels", 1) + 1, dtype="<i2").tobytes(), **kwargs
  )


def _write(root, files):
  """Writes named contents to a folder, or to a zip if `root` is called so."""
  root = pathlib.Path(root)
  if root.suffix == ".zip":
    with zipfile.ZipFile(root, "w", zipfile.ZIP_DEFLATED) as archive:
      for name, content in files.items():
        archive.writestr(name, content)
    return str(root)
  for name, content in files.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
  return str(root)


def _names(sources):
  return {split: list(source.names) for split, source in sources.items()}


def _one(folder, content, **kwargs):
  """The only example of a set of one file."""
  _, sources = wav.open(_write(folder, {"train/a.wav": content}), **kwargs)
  return sources["train"][0]


@settings(max_examples=40, deadline=None)
@given(
  bits=st.sampled_from([8, 16, 24, 32]),
  channels=st.integers(1, 3),
  frames=st.integers(1, 9),
  extensible=st.booleans(),
  data=st.data(),
)
def test_integers_are_divided_by_their_full_scale(bits, channels, frames, extensible, data):
  low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
  value = st.one_of(st.sampled_from([low, -1, 0, 1, high]), st.integers(low, high))
  size = frames * channels
  values = data.draw(st.lists(value, min_size=size, max_size=size))
  stored = [v + 128 if bits == 8 else v for v in values]
  raw = b"".join(v.to_bytes(bits // 8, "little", signed=bits > 8) for v in stored)
  others = {"before": _chunk(b"LIST", b"odd"), "after": _chunk(b"id3 ", b"x" * 7)}  # stepped over
  content = _riff(raw, bits=bits, channels=channels, extensible=extensible, **others)
  with tempfile.TemporaryDirectory() as folder:
    example = _one(folder, content)
  expected = np.reshape(values, (frames, channels)) / 2.0 ** (bits - 1)
  np.testing.assert_array_equal(example["audio"], expected.astype(np.float32), strict=True)
  assert example["valid"].all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_files_of_scipy(tmp_path, dtype):
  values = np.random.default_rng(0).integers(-128, 127, (50, 2))
  scale = {"uint8": 1, "int16": 2**8, "int32": 2**24, "float32": 1 / 128}[dtype]
  out = io.BytesIO()
  wavfile.write(out, 8000, (values * scale + 128 * (dtype == "uint8")).astype(dtype))
  np.testing.assert_array_equal(_one(tmp_path, out.getvalue())["audio"], values / np.float32(128))


def test_floats_are_clipped_and_must_be_finite(tmp_path):
  floats = lambda *values: _riff(np.array(values, "<f4").tobytes(), tag=3, bits=32)
  example = _one(tmp_path / "a", floats(-3, -0.25, 0.125, 1.5))
  assert example["audio"].tolist() == [[-1], [-0.25], [0.125], [1]]
  with pytest.raises(BadInput, match=r"train/a\.wav: a sample is not finite"):
    _one(tmp_path / "b", floats(0, np.nan))


def test_cut_and_padded_to_the_length(tmp_path):
  path = _write(tmp_path, {"train/a.wav": _tone(3, rate=100), "train/b.wav": _tone(7, rate=100)})
  record, sources = wav.open(path)
  assert (record.kind, record.shape, record.rate) == ("audio", (7, 1), 100)
  assert sources["train"][0]["valid"].tolist() == [True] * 3 + [False] * 4
  assert not sources["train"][0]["audio"][3:].any()
  record, sources = wav.open(path, length=5)
  assert record.shape == (5, 1)
  assert [int(example["valid"].sum()) for example in sources["train"]] == [3, 5]
  assert (sources["train"][1]["audio"] * 2**15).tolist() == [[1], [2], [3], [4], [5]]
  assert "label" not in sources["train"][0]
  with pytest.raises(IndexError):
    sources["train"][2]


@pytest.mark.parametrize("kind", ["folder", "set.zip"])
@pytest.mark.parametrize("top", ["", "outer/inner/"])
def test_classes_and_splits_from_folders(tmp_path, kind, top):
  names = ["train/dog/b.wav", "train/cat/a.wav", "test/dog/c.WAV", "validation/cat/d.wav"]
  files = {top + name: _tone() for name in names}
  files |= {top + "train/cat/._a.wav": b"", "__MACOSX/train/cat/a.wav": b"", top + "readme": b""}
  record, sources = wav.open(_write(tmp_path / kind, files))
  assert record.class_names == ("cat", "dog")
  assert record.sizes == {"train": 2, "validation": 1, "test": 1}
  assert _names(sources)["train"] == [top + "train/cat/a.wav", top + "train/dog/b.wav"]
  labels = {split: [example["label"] for example in source] for split, source in sources.items()}
  assert labels == {"train": [0, 1], "validation": [0], "test": [1]}


def test_labels_and_test_split_from_a_pattern(tmp_path):
  files = {f"{c}_{who}_{i}.wav": _tone() for c in "ab" for who in ("x", "y") for i in range(12)}
  path = _write(tmp_path / "set.zip", files)
  record, sources = wav.open(path, label=PATTERN, test_where={"index": (0, 1), "speaker": "x"})
  assert record.class_names == ("a", "b")
  assert _names(sources)["test"] == ["a_x_0.wav", "a_x_1.wav", "b_x_0.wav", "b_x_1.wav"]
  assert record.sizes == {"train": 44, "test": 4}
  assert [example["label"] for example in sources["test"]] == [0, 0, 1, 1]


def test_a_pattern_of_folders(tmp_path):
  path = _write(tmp_path, {f"yes/{who}_nohash_{i}.wav": _tone() for who in "ab" for i in range(2)})
  label = "{label}/{who}_nohash_{i}.wav"
  record, sources = wav.open(path, label=label, test_where={"who": ("b",)})
  assert record.class_names == ("yes",)
  assert _names(sources)["test"] == ["yes/b_nohash_0.wav", "yes/b_nohash_1.wav"]


def test_a_hash_splits_what_says_nothing_and_another_file_moves_none(tmp_path):
  files = {f"{i}.wav": _tone(1) for i in range(300)}
  few = _names(wav.open(_write(tmp_path / "a.zip", dict(list(files.items())[:200])))[1])
  many = _names(wav.open(_write(tmp_path / "b.zip", files))[1])
  assert set(few["test"]) <= set(many["test"])
  assert set(few["train"]) <= set(many["train"])
  assert sorted(many["train"] + many["test"]) == sorted(files)
  assert (len(many["test"]), many["test"][0]) == (33, "11.wav")  # in every process


def test_sources_travel_to_threads_and_worker_processes(tmp_path):
  files = {f"train/{i:02}.wav": _tone(500 + i) for i in range(24)}
  _, sources = wav.open(_write(tmp_path / "set.zip", files))
  source = sources["train"]
  alone = [example["audio"].tobytes() for example in source]
  assert len(set(alone)) == 24
  with ThreadPoolExecutor(4) as pool:
    assert [e["audio"].tobytes() for e in pool.map(source.__getitem__, range(24))] == alone
  assert [e["audio"].tobytes() for e in pickle.loads(pickle.dumps(source))] == alone
  with multiprocessing.get_context("forkserver").Pool(2) as pool:
    assert [e["audio"].tobytes() for e in pool.map(source.__getitem__, range(24))] == alone


def test_a_zip_that_was_written_again_is_read_again(tmp_path):
  path = _write(tmp_path / "a.zip", {"train/a.wav": _tone(3)})
  assert wav.open(path)[0].shape == (3, 1)
  path = _write(tmp_path / "a.zip", {"train/b.wav": _tone(5)})
  assert wav.open(path)[1]["train"][0]["audio"].shape == (5, 1)


GOOD = _tone(100)
DAMAGED = {
  "empty": b"",
  "text": b"this is no recording at all",
  "truncated": GOOD[:-20],
  "header": GOOD[:30],
  "no_samples": _riff(b""),
  "no_channels": _riff(b"abcd", channels=0),
}


@pytest.mark.parametrize("kind", ["folder", "set.zip"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_named_or_left_out(tmp_path, caplog, kind, damage):
  files = {"train/a.wav": GOOD, "train/bad.wav": DAMAGED[damage], "test/c.wav": GOOD}
  path = _write(tmp_path / kind, files)
  with pytest.raises(BadInput, match=r"cannot read \S*train/bad\.wav"):
    wav.open(path)
  with caplog.at_level(logging.WARNING, "maskjax"):
    record, sources = wav.open(path, on_error="skip")
  assert record.sizes == {"train": 1, "test": 1}
  assert _names(sources)["train"] == ["train/a.wav"]
  assert caplog.text.count("left out: cannot read") == caplog.text.count("train/bad.wav") == 1


def test_a_flipped_byte_in_a_zip_is_found(tmp_path):
  noise = np.random.default_rng(0).integers(-999, 999, 50_000).astype("<i2").tobytes()
  path = tmp_path / "set.zip"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("train/a.wav", GOOD)
    archive.writestr("train/bad.wav", _riff(noise))
  stored = bytearray(path.read_bytes())
  stored[stored.index(noise) + 90_000] ^= 1
  path.write_bytes(stored)
  with pytest.raises(BadInput, match=r"train/bad\.wav .*checksum"):
    wav.open(str(path))
  assert wav.open(str(path), on_error="skip")[0].sizes == {"train": 1}


def test_rates_are_brought_to_the_most_common_one(tmp_path, caplog):
  time = np.arange(1600) / 16000
  tone = np.rint(2**14 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes()
  path = _write(
    tmp_path, {"train/a.wav": GOOD, "train/b.wav": GOOD, "train/c.wav": _riff(tone, rate=16000)}
  )
  record, sources = wav.open(path)
  assert (record.rate, record.shape) == (8000, (800, 1))
  assert "1 of 3 recordings are resampled to 8000 samples a second" in caplog.text
  wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)
  inside = slice(50, 750)  # the filter rings at both ends
  np.testing.assert_allclose(sources["train"][2]["audio"][inside, 0], wanted[inside], atol=2e-3)
  assert wav.open(path, rate=16000)[0].shape == (1600, 1)


def test_channels_are_asked_for(tmp_path):
  both = np.array([[100, 300], [-200, 0]], "<i2")
  files = {"train/a.wav": _tone(2), "train/b.wav": _riff(both.tobytes(), channels=2)}
  path = _write(tmp_path, files)
  with pytest.raises(BadInput, match=r"1 in train/a\.wav but 2 in .*data\.channels=1"):
    wav.open(path)
  _, sources = wav.open(path, channels=1)
  assert (sources["train"][1]["audio"] * 2**15).tolist() == [[200], [-100]]
  _, sources = wav.open(path, channels=2)
  assert (sources["train"][0]["audio"] * 2**15).tolist() == [[1, 1], [2, 2]]


def test_a_member_that_points_outside_is_refused(tmp_path):
  for outside in ("../x.wav", "a/../../x.wav", "/x.wav", "..\\x.wav", "C:\\x.txt"):
    path = _write(tmp_path / "set.zip", {"train/a.wav": GOOD, outside: GOOD})
    with pytest.raises(BadInput, match="points outside"):
      wav.open(path)


def test_nothing_to_read(tmp_path):
  with pytest.raises(BadInput, match=r"nothing' does not exist"):
    wav.open(str(tmp_path / "nothing"))
  with pytest.raises(BadInput, match="no sound files"):
    wav.open(str(tmp_path))
  (tmp_path / "false.zip").write_bytes(b"no zip")
  with pytest.raises(BadInput, match=r"false\.zip.* is neither"):
    wav.open(str(tmp_path / "false.zip"))
  with pytest.raises(BadInput, match="no readable sound"):
    wav.open(_write(tmp_path / "bad", {"a.wav": b""}), on_error="skip")


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"length": 0}, "length is a whole number"),
    ({"on_error": "skp"}, "did you mean 'skip'"),
    ({"label": "foldr"}, "label is 'folder'"),
    ({"label": "{lable}_{x}_{y}.wav"}, "label is 'folder'"),
    ({"label": "{label}_{label}.wav"}, "label pattern"),
    ({"label": "{label}-{x}.wav"}, r"a_x_0\.wav does not fit"),
    ({"label": PATTERN, "test_where": {"indx": "0"}}, "did you mean 'index'"),
    ({"label": PATTERN, "test_where": {"index": ("0", "7")}}, "no file has index '7'"),
    ({"test_where": {"index": "0"}}, "unknown field of test_where 'index'"),
  ],
)
def test_bad_arguments(tmp_path, kwargs, message):
  path = _write(tmp_path, {"a_x_0.wav": GOOD, "b_y_1.wav": GOOD})
  with pytest.raises(BadInput, match=message):
    wav.open(path, **kwargs)


def test_folders_that_do_not_say_one_thing(tmp_path):
  for one, other, message in (
    ("train/a.wav", "cat/b.wav", "folder 'cat' beside 'train'"),
    ("train/a.wav", "b.wav", r"file 'b\.wav' beside 'train'"),
    ("cat/a.wav", "b.wav", "both outside and inside class folders"),
  ):
    with pytest.raises(BadInput, match=message):
      wav.open(_write(tmp_path / "set.zip", {one: GOOD, other: GOOD}))


@pytest.mark.skipif(not DIGITS.exists(), reason="no ../shared/data/spoken_digit.zip")
def test_spoken_digits():
  record, sources = wav.open(str(DIGITS), label=PATTERN, test_where={"index": range(5)})
  assert record.class_names == tuple("0123456789")
  assert (record.shape, record.rate, record.sizes["test"]) == ((18262, 1), 8000, 300)
  with zipfile.ZipFile(DIGITS) as archive:
    for i in (0, 150, 299):
      name, example = sources["test"].names[i], sources["test"][i]
      with wave.open(io.BytesIO(archive.read(name))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
      audio = example["audio"][example["valid"], 0]
      np.testing.assert_array_equal(audio, samples / np.float32(2**15))
      assert example["label"] == int(name[0])
      assert int(name.removesuffix(".wav").split("_")[2]) < 5
