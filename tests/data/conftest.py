import io
import pathlib
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

# What is compiled in this process; readers need nothing of it.
_COMPILED: list[str] = []
_COMPILES = ("test_missing.py",)  # uses words of the grammar


def _count(event, _, **__):
  if event.endswith("backend_compile_duration"):
    _COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(_count)


@pytest.fixture(autouse=True)
def compiles_nothing(request):
  before = len(_COMPILED)
  yield
  assert len(_COMPILED) == before or request.path.name in _COMPILES, "a reader compiles a program"


def png(seed: int, size=(4, 6), mode="RGB") -> bytes:
  channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "I;16": ()}[mode]
  depth = 2**16 if mode == "I;16" else 256
  dtype = np.uint16 if mode == "I;16" else np.uint8
  pixels = np.random.default_rng(seed).integers(depth, size=(*size, *channels)).astype(dtype)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG")
  return file.getvalue()


@pytest.fixture
def write(tmp_path):
  """Writes files, by name, to a new folder, or to a zip where the folder's name says so."""

  def to(where: str, files: dict[str, bytes], compression=zipfile.ZIP_STORED) -> str:
    target: pathlib.Path = tmp_path / where
    if where.endswith(".zip"):
      with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in files.items():
          archive.writestr(name, data)
    else:
      target.mkdir()
      for name, data in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    return str(target)

  return to


@pytest.fixture
def image():
  """Bytes of a PNG of random pixels: `image(seed, size=(4, 6), mode="RGB")`."""
  return png
