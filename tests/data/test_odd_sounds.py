"""Odd recordings: what soundfile says is in them, or a refusal with its cause."""
# ruff: noqa: E501  (a row, a line)

import io
import logging
import re
import struct

import numpy as np
import pytest
import soundfile
from oddities import Row, ids, laid, put, tone

from maskjax.data import pipeline, wav
from maskjax.errors import BadInput

SIGNAL = np.random.default_rng(0).uniform(-0.5, 0.5, 3000)
WHOLE_SIGNAL = np.rint(SIGNAL * 2**15).astype(np.int16)
STEREO = np.stack([SIGNAL, -SIGNAL / 2], 1)


def saved(kind, subtype=None, signal=SIGNAL, rate=8000, **kwargs) -> bytes:
  out = io.BytesIO()
  soundfile.write(out, signal, rate, format=kind, subtype=subtype, **kwargs)
  return out.getvalue()


def read(data) -> np.ndarray:
  return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]


def chunk(name, data, size=None):
  return (
    name + struct.pack("<I", len(data) if size is None else size) + data + b"\0" * (len(data) % 2)
  )


def riff(data, *, size=None, before=b"", after=b"", tag=1, bits=16, channels=1, rate=8000):
  block = channels * bits // 8
  fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
  body = b"WAVE" + before + chunk(b"fmt ", fmt) + chunk(b"data", data, size) + after
  return b"RIFF" + struct.pack("<I", len(body) if size is None else 0xFFFFFFFF) + body


WHOLE = np.arange(1, 101, dtype="<i2")
RAW = WHOLE.tobytes()
KNOWN = (WHOLE / 2**15).astype(np.float32)[:, None]
NOISE = saved("WAV", "PCM_16", WHOLE_SIGNAL)
LOUD = saved("WAV", "FLOAT", np.array([0.5, 1.5, -3.0]))

ONE = [
  Row("wav", {"a.wav": riff(RAW)}, KNOWN),
  Row("upper_case", {"a.WAV": riff(RAW)}, KNOWN),
  Row("wave", {"a.wave": riff(RAW)}, KNOWN),
  Row("piped_by_ffmpeg", {"a.wav": riff(RAW, size=0xFFFFFFFF)}, KNOWN),
  Row("piped_by_sox", {"a.wav": riff(RAW, size=0x7FFFF000)}, KNOWN),
  Row("list_before", {"a.wav": riff(RAW, before=chunk(b"LIST", b"INFOISFT" + b"x" * 9))}, KNOWN),
  Row("id3_after", {"a.wav": riff(RAW, after=chunk(b"id3 ", b"x" * 7))}, KNOWN),
  Row("eight_bits", {"a.wav": saved("WAV", "PCM_U8")}, read(saved("WAV", "PCM_U8"))),
  Row("twenty_four_bits", {"a.wav": saved("WAV", "PCM_24")}, read(saved("WAV", "PCM_24"))),
  Row("thirty_two_bits", {"a.wav": saved("WAV", "PCM_32")}, read(saved("WAV", "PCM_32"))),
  Row("floats", {"a.wav": saved("WAV", "FLOAT")}, SIGNAL[:, None].astype(np.float32)),
  Row("doubles", {"a.wav": saved("WAV", "DOUBLE")}, SIGNAL[:, None].astype(np.float32)),
  Row("floats_too_loud", {"a.wav": LOUD}, np.array([[0.5], [1], [-1]], np.float32)),
  Row("mu_law", {"a.wav": saved("WAV", "ULAW")}, read(saved("WAV", "ULAW"))),
  Row("a_law", {"a.wav": saved("WAV", "ALAW")}, read(saved("WAV", "ALAW"))),
  Row("adpcm", {"a.wav": saved("WAV", "IMA_ADPCM")}, read(saved("WAV", "IMA_ADPCM"))),
  Row("extensible", {"a.wav": saved("WAVEX", "PCM_16")}, read(saved("WAVEX", "PCM_16"))),
  Row("rf64", {"a.wav": saved("RF64", "PCM_16", WHOLE_SIGNAL)}, read(NOISE)),
  Row("w64", {"a.w64": saved("W64", "PCM_16", WHOLE_SIGNAL)}, read(NOISE)),
  Row("big_endian", {"a.wav": saved("WAV", "PCM_16", WHOLE_SIGNAL, endian="BIG")}, read(NOISE)),
  Row("flac", {"a.flac": saved("FLAC", "PCM_16", WHOLE_SIGNAL)}, read(NOISE)),
  Row("flac_of_24_bits", {"a.FLAC": saved("FLAC", "PCM_24", WHOLE_SIGNAL)}, read(NOISE)),
  Row("ogg", {"a.ogg": (ogg := saved("OGG", "VORBIS"))}, read(ogg)),
  Row("mp3", {"a.mp3": (mp3 := saved("MP3"))}, read(mp3)),
  Row("aiff", {"a.aiff": saved("AIFF", "PCM_16", WHOLE_SIGNAL)}, read(NOISE)),
  Row("au", {"a.au": saved("AU", "PCM_16", WHOLE_SIGNAL)}, read(NOISE)),
  Row("caf", {"a.caf": saved("CAF", "PCM_16", WHOLE_SIGNAL)}, read(NOISE)),
  Row("flac_called_wav", {"a.wav": saved("FLAC", "PCM_16", WHOLE_SIGNAL)}, read(NOISE)),
  Row("stereo", {"a.wav": (stereo := saved("WAV", "PCM_16", STEREO))}, read(stereo)),
  Row("stereo_averaged", {"a.wav": stereo}, read(stereo).mean(1, keepdims=True), {"channels": 1}),
  Row("mono_doubled", {"a.wav": NOISE}, read(NOISE).repeat(2, 1), {"channels": 2}),
  Row("cut_to_a_length", {"a.wav": riff(RAW)}, KNOWN[:7], {"length": 7}),
  Row("padded_to_a_length", {"a.wav": riff(RAW)}, np.pad(KNOWN, ((0, 20), (0, 0))), {"length": 120}),
  Row("flac_beside_wav", {"a.flac": saved("FLAC", "PCM_16", WHOLE_SIGNAL), "b.wav": NOISE}, read(NOISE)),
  Row("others_are_counted", {"a.wav": NOISE, "b.m4a": b"", "c.trans.txt": b""}, read(NOISE), says=r"passed over 1 \.m4a \(train/b\.m4a\), 1 \.txt"),
  Row("two_rates", {"a.wav": NOISE, "b.wav": NOISE, "c.wav": saved("WAV", "PCM_16", rate=16000)}, read(NOISE), says=r"1 of 3 recordings are resampled to 8000 .*c\.wav has 16000"),
]  # fmt: skip

BAD = [
  Row("no_samples", {"a.wav": riff(b"")}, r"cannot read .*a\.wav.*: its header tells of no samples"),
  Row("no_bytes", {"a.wav": b""}, r"cannot read .*a\.wav"),
  Row("text", {"a.wav": b"no recording"}, r"cannot read .*a\.wav.*: Format not recognised"),
  Row("truncated", {"a.wav": riff(RAW)[:-30]}, r"a\.wav.*: truncated, 170 of 200 bytes"),
  Row("header_alone", {"a.wav": riff(RAW)[:30]}, r"cannot read .*a\.wav"),
  Row("no_channels", {"a.wav": riff(RAW, channels=0)}, r"cannot read .*a\.wav"),
  Row("mono_beside_stereo", {"a.wav": NOISE, "b.wav": stereo}, r"channels are 1 in .*a\.wav but 2 in .*data\.channels=1"),
  Row("six_channels_into_two", {"a.wav": riff(RAW[:60], channels=6)}, r"a\.wav has 6 channels, which data\.channels=2", {"channels": 2}),
  Row("only_m4a", {"a.m4a": b"", "b.m4a": b""}, r"no sound files .*2 \.m4a"),
  Row("length_of_nothing", {"a.wav": NOISE}, "length is a whole number from 1", {"length": 0}),
  Row("rate_of_nothing", {"a.wav": NOISE}, "rate is a whole number from 1", {"rate": 0}),
]  # fmt: skip


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("row", ONE, ids=ids)
def test_recordings_are_what_soundfile_says(tmp_path, caplog, row, how):
  content = {f"train/{name}": data for name, data in row.files.items()}
  path = laid(tmp_path, content, how)
  with caplog.at_level(logging.INFO, "maskjax"):
    record, splits = wav.open(path, **row.args)
  example = splits["train"][0]
  np.testing.assert_array_equal(example["audio"][: len(row.want)], row.want.clip(-1, 1))
  assert not example["audio"][len(row.want) :].any()
  assert record.shape[1] == row.want.shape[1]
  assert re.search(row.says, caplog.text)


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("row", BAD, ids=ids)
def test_recordings_that_are_refused(tmp_path, row, how):
  path = laid(tmp_path, row.files, how)
  with pytest.raises(BadInput, match=row.want) as error:
    wav.open(path, **row.args)
  assert "\n" not in str(error.value)


def test_samples_that_are_not_finite_are_named_when_they_are_read(tmp_path):
  path = put(tmp_path, {"train/a.wav": saved("WAV", "FLOAT", np.array([0.0, np.nan]))})
  with pytest.raises(BadInput, match=r"a\.wav: a sample is not finite"):
    wav.open(path)[1]["train"][0]


def test_recordings_shorter_than_a_window_are_filled_and_told(tmp_path, caplog):
  # A window of 25 ms is 200 samples at 8 kHz.
  path = put(
    tmp_path,
    {"train/a.wav": tone(9, 500, 8000), "train/b.wav": saved("WAV", "PCM_16", SIGNAL[:90])},
  )
  mel = {"frames": 4, "bins": 8}
  data = pipeline.load(name="wav", path=path, test="", mel=mel)
  assert re.search(
    r"1 of 2 recordings of train are shorter than a window of 200 .*b\.wav", caplog.text
  )
  assert data.splits["train"][1]["image"][0].std() > 0.1  # its noise, and no constant picture
  short = put(tmp_path / "short", {"train/a.wav": tone(9, 50, 8000)})
  with pytest.raises(BadInput, match=r"all 1 recordings of train are shorter .*data\.mel\.size"):
    pipeline.load(name="wav", path=short, test="", mel=mel)
