"""Clips made from any set of images: one image moves, others stand still, one of them enlarged."""

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

from maskjax.data import kinds
from maskjax.data.augment import fit, peak
from maskjax.data.classes import labeller, reads_labels
from maskjax.data.source import Example, Source, content_of, generator
from maskjax.errors import BadInput
from maskjax.record import Record


class Moving:
  """Clips `{"video": uint8 [t, h, w, c], "label": int}`, each the same at every call.

  Clip i shows image i mod n, whose label is the clip's, in front of others. Where all are and how
  they move depends on (seed, i) alone.
  """

  def __init__(
    self,
    images: Source,
    clips: int,
    *,
    frames: int,
    size: tuple[int, int],
    side: int,
    speed: float,
    still: float,
    opaque: bool,
    resting: int,
    seed: tuple[int, int],
  ):
    self.images, self.clips, self.frames, self.size = images, clips, frames, size
    self.side, self.speed, self.still, self.opaque, self.seed = side, speed, still, opaque, seed
    self.resting = resting

  def __len__(self) -> int:
    """Number of clips."""
    return self.clips

  def __getitem__(self, index: SupportsIndex, /) -> Example:
    """The clip at `index`, with the label of what moves where there are labels."""
    i = index.__index__() % self.clips
    rng = generator(self.seed, i)
    front = self.images[i % len(self.images)]
    back = self.images[int(rng.integers(len(self.images)))]
    small = lambda image: np.clip(fit(_unit(image), (self.side, self.side)), 0, 1)
    moving = small(front)
    clip = np.repeat(self.still * fit(_unit(back), self.size)[None], self.frames, axis=0)
    room = np.array(self.size) - self.side
    places = path(rng, room, self.frames, self.speed)
    for _ in range(self.resting):
      still = small(self.images[int(rng.integers(len(self.images)))])
      top, left = rng.integers(room + 1).tolist()
      for frame in clip:
        self._put(frame, still, top, left)
    for frame, (top, left) in zip(clip, places.tolist(), strict=True):
      self._put(frame, moving, top, left)
    example: Example = {"video": np.rint(255 * np.clip(clip, 0, 1)).astype(np.uint8)}
    return {**example, "label": front["label"]} if "label" in front else example

  def label_of(self, index: int) -> int | None:
    """The label of what moves in the clip at `index`; None without labels."""
    return labeller(self.images)(index % len(self.images))

  @property
  def reads_labels(self) -> bool:
    """Whether a label is known only once its image has been read."""
    return reads_labels(self.images)

  def content_of(self, index: int) -> bytes:
    """What changes where the image that moves in the clip at `index` does."""
    return content_of(self.images, index % len(self.images))

  def _put(self, frame: np.ndarray, image: np.ndarray, top: int, left: int) -> None:
    """Puts an image into a frame, in place."""
    behind = frame[top : top + self.side, left : left + self.side]
    # Light adds up where it is not opaque: dark is see-through, and white hides all.
    behind[...] = image if self.opaque else image + (1 - image) * behind


def path(rng: np.random.Generator, room: np.ndarray, frames: int, speed: float) -> np.ndarray:
  """Whole places `[frames, axes]` in [0, room] along a line that is thrown back at the ends.

  Start and direction are drawn evenly; `speed` is in pixels a frame.
  """
  start, angle = rng.uniform(0, room), rng.uniform(0, 2 * np.pi)
  direction = np.array([np.sin(angle), np.cos(angle)])
  straight = start + speed * direction * np.arange(frames)[:, None]
  period = np.maximum(2 * room, 1)
  folded = np.abs((straight + room) % period - room)
  return np.rint(np.minimum(folded, room)).astype(np.int64)


def open(
  path: str = "",
  *,
  images: str = "digits",
  frames: int = 16,
  size: Sequence[int] = (32, 32),
  side: int = 16,
  speed: float = 2.0,
  still: float = 0.5,
  opaque: bool = False,
  resting: int = 0,
  draws: int = 1,
  seed: int = 0,
) -> tuple[Record, dict[str, Source]]:
  """Clips of a moving image over one that stands still, from the images of another data set.

  `images` and `path` name that set as `data.name` and `data.path` do. The moving one is `side`
  pixels high and wide and moves `speed` pixels a frame on a straight line, thrown back at the
  borders of the clip; the still one fills `size`, (height, width), its brightness times `still`.
  Dark pixels of what moves are see-through unless `opaque`. Behind it stand still `resting` others
  that are as large and as bright. Every image moves in `draws` clips, of the test splits in one. A
  clip's label is that of what moves in it.

  Args:
    path: of the images, as `data.path` would be.
    images: name of their data set, as `data.name` would be.
    frames: of a clip.
    size: height and width of a clip, in pixels.
    side: height and width of what moves, in pixels.
    speed: pixels a frame.
    still: brightness of what stands still, a factor.
    opaque: whether dark pixels of what moves cover what is behind.
    resting: further images that stand still.
    draws: clips in which each training image moves.
    seed: of places and directions.

  Returns:
    The record, and the clips of each split.
  """
  from maskjax.data import pipeline  # which opens this module by name

  height, width = size
  if not 0 < side <= min(height, width):
    raise BadInput(f"data.side={side} does not fit into clips of {height}x{width}")
  if min(frames, draws) < 1:
    raise BadInput(f"data.frames={frames} and data.draws={draws} must be positive")
  if resting < 0:
    raise BadInput(f"data.resting must not be negative, got {resting}")
  # With a size images may differ in theirs: each is fitted into the clip as it is.
  given = pipeline.load(name=images, path=path, test="", size=(height, width))
  record = given.record
  kinds.expect(record, f"data.images={images!r}", "image")
  options: dict[str, Any] = dict(frames=frames, size=(height, width), side=side, speed=speed)
  options |= dict(still=still, opaque=opaque, resting=resting)
  sources: dict[str, Source] = {}
  for name, source in given.splits.items():
    clips = len(source) * (draws if name == "train" else 1)
    sources[name] = Moving(source, clips, seed=(seed, zlib.crc32(name.encode())), **options)
  sizes = {name: len(source) for name, source in sources.items()}
  shape = (frames, height, width, record.shape[-1])
  return dataclasses.replace(record, kind="video", shape=shape, sizes=sizes, peak=255.0), sources


def _unit(example: Example) -> np.ndarray:
  """An example's image, of which the stored range is mapped to [0, 1], as float32."""
  image = np.asarray(example["image"])
  return image.astype(np.float32) / peak(image.dtype)
