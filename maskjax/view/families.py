"""One picture of masks of many kinds, a row each, all by the same four words."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from PIL import Image, ImageDraw, ImageFont

from maskjax import hide, keys, schedule, score, select
from maskjax.hide.pairs import dense
from maskjax.view import grid as layout

SEEN, HIDDEN = np.array((47, 111, 176)), np.array((226, 230, 234))
SIDE = 84  # pixels of a tile
COLUMNS = 6
LINED = 3  # pixels of the smallest position that gets lines around it
NAME, TEXT = 15, 12  # sizes of type


class Row(NamedTuple):
  """A kind of mask.

  Attributes:
    name: what is masked.
    how: the functions that make the masks, and a config that names them.
    hidden: one mask a column.
  """

  name: str
  how: str
  hidden: Bool[Array, "columns h w"]


def families(seed: int = 0) -> layout.Picture:
  """Draws masks of many kinds, a row each: blue is seen, grey is hidden."""
  drawn = jax.jit(masks)(jax.random.key(seed))
  return page([Row(*told, drawn[told[0]]) for told in ROWS])


def page(rows: list[Row]) -> layout.Picture:
  """Lays rows of masks out, with what they are to their left."""
  large, small = (ImageFont.load_default(size) for size in (NAME, TEXT))
  widths = [large.getlength(row.name) for row in rows]
  widths += [small.getlength(line) for row in rows for line in row.how.split("\n")]
  left, step = 2 * layout.MARGIN + math.ceil(max(widths)), SIDE + layout.GUTTER
  across = max(len(row.hidden) for row in rows)
  size = left + across * step + 4, len(rows) * step + 2 * layout.MARGIN - layout.GUTTER
  sheet = Image.new("RGB", size, layout.BACKGROUND)
  draw = ImageDraw.Draw(sheet)
  for i, row in enumerate(rows):
    top = layout.MARGIN + i * step
    draw.text((layout.MARGIN, top + 10), row.name, layout.INK, large)
    draw.multiline_text((layout.MARGIN, top + 34), row.how, (96, 96, 96), small, spacing=4)
    for j, hidden in enumerate(row.hidden):
      layout.place(sheet, tile(np.asarray(hidden)), left + j * step, top)
  return np.array(sheet)


def tile(hidden: Bool[np.ndarray, "h w"]) -> layout.Picture:
  """A mask as a square, with lines between positions that are large enough.

  >>> tile(np.eye(2, dtype=bool))[0, [0, -2]].tolist()
  [[226, 230, 234], [47, 111, 176]]
  """
  sides = [SIDE // n for n in hidden.shape]
  color = np.where(hidden[..., None], HIDDEN, SEEN).astype(np.uint8)
  cells = color.repeat(sides[0], axis=0).repeat(sides[1], axis=1)
  if min(sides) > LINED:
    cells[sides[0] - 1 :: sides[0]] = cells[:, sides[1] - 1 :: sides[1]] = 255
  edges = [(SIDE - n) // 2 for n in cells.shape[:2]]
  around = [(edge, SIDE - n - edge) for edge, n in zip(edges, cells.shape[:2], strict=True)]
  return np.pad(cells, (*around, (0, 0)), constant_values=255)


ROWS = (
  ("Image patches", "score.uniform, select.top\n75 % hidden: mae"),
  ("Clusters of patches", "score.color_noise, select.top\ngreen, 75 % hidden: colormae"),
  ("A context and its targets", "select.multiblock\npredicted in latent space: ijepa"),
  ("Regions of another image", "score.fourier_noise, select.top\n15 % to 85 %: fmix"),
  ("Steps of decoding", "score.uniform, select.top\nschedule.cosine: md4, mage"),
  ("Tubes through a clip", "score.blocks, select.top\nsix frames, 90 % hidden"),
  ("Times and frequencies", "select.per_axis\nof a spectrogram: audio_mae"),
  ("Three modalities", "score.split, select.top\none patch of three seen: multimae"),
  ("Whole words", "score.words, select.top\n30 % of the tokens of seven lines"),
  ("Attention", "hide.causal, window, prefix,\nsegments, blocks, either"),
  ("Weights", "select.n_of_m, 2 of every 4: maskllm\nselect.top, 90 % pruned: magnitude"),
  ("Cells of a table", "score.self_masked, select.threshold\nlarge values go missing"),
)


def masks(key: Key[Array, ""]) -> dict[str, Bool[Array, "columns h w"]]:
  """The masks of each row, made by the functions that configs name.

  Args:
    key: of all that is drawn.
  """
  each, plane = keys(key, COLUMNS), (14, 14)
  lines, order = keys(key, COLUMNS * 7).reshape(COLUMNS, 7), score.uniform(each, plane)
  decoded = jnp.broadcast_to(order[0], order.shape)
  still = schedule.cosine(1.0, 0.0)(jnp.linspace(0.1, 0.9, COLUMNS))
  begins = score.uniform(lines, (28,)) > 0.7
  weights, table = _normal(each, (12, 12)), _normal(each, (21, 7))
  pairs = select.n_of_m(-abs(weights[:3]), keep=2, of=4)
  pruned = select.top(-abs(weights[3:]).reshape(3, -1), ratio=0.9).reshape(3, 12, 12)
  tubes = score.blocks(each[0], (COLUMNS, *plane), size=(None, 1, 1))
  sound = select.per_axis(order, grid=plane, ratios=(0.3, 0.3)).reshape(COLUMNS, *plane)
  hidden = (
    select.top(order, ratio=0.75),
    select.top(score.color_noise(each, plane, color="green"), ratio=0.75),
    select.multiblock(score.uniform(each, (32,)), grid=plane).hidden,
    select.top(score.fourier_noise(each, (28, 28)), ratio=jnp.linspace(0.15, 0.85, COLUMNS)),
    select.top(decoded, ratio=still),
    select.top(tubes, ratio=0.9),
    jnp.flip(sound.swapaxes(1, 2), 1),  # low frequencies at the bottom
    select.top(score.split(each, (49,) * 3, 49), count=98),
    select.top(score.words(lines, jnp.cumsum(begins, -1) % 28), ratio=0.3),
    _attention(14),
    jnp.concatenate([pairs, pruned]),
    select.threshold(score.self_masked(each, table, ratio=0.4), above=0.0),
  )
  shapes = {"Regions of another image": (28, 28), "Three modalities": (21, 7)}
  shapes |= {"Whole words": (7, 28), "Weights": (12, 12), "Cells of a table": (21, 7)}
  named = {name: mask for (name, _), mask in zip(ROWS, hidden, strict=True)}
  return {k: mask.reshape(COLUMNS, *shapes.get(k, plane)) for k, mask in named.items()}


def _normal(each: Key[Array, "b"], shape: tuple[int, ...]) -> Float[Array, "b *shape"]:
  return jax.vmap(lambda key: jax.random.normal(key, shape))(each)


def _attention(n: int) -> Bool[Array, "columns n n"]:
  """Query by key, of documents that lie one after another."""
  documents = jnp.searchsorted(jnp.array([3, 8, 10]), jnp.arange(n), side="right")
  apart, causal = hide.segments(), hide.causal()
  made = (causal, hide.window(2), hide.prefix(5), apart, hide.blocks(), hide.either(causal, apart))
  return jnp.stack([dense(predicate, n, documents) for predicate in made])
