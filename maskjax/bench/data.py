"""Images a second and core that the data pipeline delivers, decoded, cropped and normalised."""

import io
import os
import pathlib
import time
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from maskjax.bench import harness
from maskjax.bench.harness import Contender, Line, Results, Row, Size, at_least
from maskjax.data import decode, pipeline

AUGMENT = {"crop": (0.2, 1.0), "flip": True}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINDS = ("zip", "folder")
WAYS = ("threads", "processes")


def ours(size: Size) -> Mapping[str, Any]:
  """`pipeline.batches` of a zip or a folder; nothing decoded is kept unless `keep`.

  As many threads or processes as there are cores, unless `workers` says.
  """
  kind, cores = size["kind"], size["workers"] or len(os.sched_getaffinity(0))
  data = pipeline.load(
    name=kind,
    path=size[kind],
    test="",
    size=(size[f"{kind}_side"],) * 2,
    augment=AUGMENT,
    mean=MEAN,
    std=STD,
    cache_bytes=size["keep"] << 30,
  )
  how: Any = {"workers": cores} if size["way"] == "processes" else {"threads": cores}
  stream = pipeline.batches(data, batch_size=size["batch"], seed=0, **how)
  batches = size[f"{kind}_batches"]

  def before() -> None:
    # Others fill their buffers first; then ours is emptied, so that none of it was ready.
    time.sleep(size["pause"])
    for _ in range(size["drain"]):
      next(stream)

  def run() -> float:
    began = time.perf_counter()
    for _ in range(batches):
      next(stream)
    return (time.perf_counter() - began) / (batches * size["batch"])

  return {"run": run, "before": before}


def decoding(size: Size) -> Mapping[str, Any]:
  """Decoding the folder's JPEGs on one core, and nothing else."""
  files = [path.read_bytes() for path in sorted(pathlib.Path(size["folder"]).rglob("*.jpg"))]

  def run() -> float:
    began = time.perf_counter()
    for file in files:
      decode.decode(file, "RGB", "file")
    return (time.perf_counter() - began) / len(files)

  return {"run": run, "facts": {"cores": len(os.sched_getaffinity(0))}}


def prepare(size: Size, folder: pathlib.Path) -> Size:
  """Makes the JPEGs, and the zip unless one was given."""
  rng = np.random.default_rng(0)
  jpegs = folder / "images" / "train"
  jpegs.mkdir(parents=True)
  for i in range(size["images"]):
    (jpegs / f"{i:05d}.jpg").write_bytes(jpeg(rng, size["folder_side"]))
  path = size["cifar"]
  if not path:
    path = str(folder / "images.zip")
    with zipfile.ZipFile(path, "w") as archive:
      for i in range(size["images"]):
        archive.writestr(f"train/{i:05d}.jpg", jpeg(rng, size["zip_side"]))
  return {**size, "folder": str(folder / "images"), "zip": path}


def jpeg(rng: np.random.Generator, side: int) -> bytes:
  """A random smooth image: noise of several scales, the finer the fainter."""
  pixels = np.full((side, side, 3), 128.0)
  for cells in (2, 4, 8, 16, 32):
    noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    large = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    pixels += (np.asarray(large, np.float64) - 127.5) * 1.5 / cells
  file = io.BytesIO()
  Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
  return file.getvalue()


def report(size: Size, results: Results) -> tuple[Sequence[Line], Sequence[str]]:
  """Images per second and core, the faster of threads and processes."""
  lines, notes = [], []
  cores = results["decoding"].facts["cores"]
  per_core = lambda took: harness.over(1 / cores, took)
  for kind in KINDS:
    mine = harness.fastest(results, [f"{kind}, {way}" for way in WAYS])
    peer = harness.median(results, f"{kind}, torch")
    ratio = harness.over(peer, mine)
    lines.append(
      Line(f"{kind}: images/s/core", per_core(mine), per_core(peer), ratio, at_least(1.5))
    )
    each = (f"{way} {per_core(harness.median(results, f'{kind}, {way}')):,.0f}" for way in WAYS)
    notes.append(f"{kind}, each image decoded every time: {', '.join(each)} images/s/core")
  kept = per_core(harness.median(results, "zip, kept"))
  alone = 1 / harness.median(results, "decoding")
  notes.append(f"zip, decoded images kept in memory, the default: {kept:,.0f} images/s/core")
  return lines, [*notes, f"limit: decoding the folder alone, {alone:,.0f} images/s on one core"]


def _row() -> Row:
  here, peer = "maskjax.bench.data:ours", "peers/data.py:loader"
  contenders = [
    Contender(f"{kind}, {way}", here, own={"kind": kind, "way": way, "keep": 0})
    for kind in KINDS
    for way in WAYS
  ]
  contenders += [Contender(f"{k}, torch", peer, peer=True, own={"kind": k}) for k in KINDS]
  kept = {"kind": "zip", "way": "threads", "keep": 1}
  contenders += [Contender("zip, kept", here, own=kept)]
  contenders += [Contender("decoding", "maskjax.bench.data:decoding")]
  shared = {"cifar": "", "zip_side": 32}
  return Row(
    name="data",
    what="data pipeline: a zip of 32 x 32 and a folder of 224 x 224 JPEGs, cropped, flipped",
    contenders=contenders,
    sizes={
      "full": dict(
        **shared, folder_side=224, images=2048, batch=64, zip_batches=200, folder_batches=40,
        drain=24, pause=2.0, workers=0,
      ),
      "smoke": dict(
        **shared, folder_side=24, images=8, batch=4, zip_batches=2, folder_batches=2, drain=1,
        pause=0.0, workers=1,
      ),
    },
    report=report,
    prepare=prepare,
  )  # fmt: skip


ROW = _row()
