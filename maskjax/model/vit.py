"""The vision transformer: an encoder of the patches that it is given, wherever they lie."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.model.dense import Dense
from maskjax.model.position import relative, resize, resize_table, sincos
from maskjax.model.transformer import ACTIVATIONS, transformer
from maskjax.over.cut import patch_grid


class Size(NamedTuple):
  """Token width, number of blocks, width inside the MLP, and heads."""

  width: int
  depth: int
  mlp: int
  heads: int


SIZES = {
  "mu": Size(32, 1, 128, 2),
  "Ti": Size(192, 12, 768, 3),
  "S": Size(384, 12, 1536, 6),
  "B": Size(768, 12, 3072, 12),
  "L": Size(1024, 24, 4096, 16),
  "H": Size(1280, 32, 5120, 16),
}

POSITIONS = ("sincos", "learned", "relative")


class ViT(nn.Module):
  """A transformer over patches of any grid: only the patches that are given enter.

  Attributes:
    width, depth, heads, mlp: the transformer's sizes; see `SIZES`.
    patch: sides of a patch, one per space axis.
    grid: number of patches along each axis, the grid that the position table is stored for.
    class_token: whether a learned token comes first.
    position: "sincos" is fixed, in the collection "buffers"; "learned" is among the parameters.
      With a class token its row comes first in the table. "relative" adds a learned number to the
      logits of attention for each offset in the grid and each head, the same in all blocks.
    dtype: of the computation; parameters, softmax and normalisation statistics are float32.
    norm_eps: added to the variance in every normalisation.
    remat: compute each block again in the backward pass, for memory.
    scan: compile one block for all, a loop over them.
    layer_scale: that of `transformer.Block`; 0 for none.
    activation: that of `transformer.Mlp`.
    embed_bias: whether the embedding of patches has a bias.
    embed_norm: whether tokens are normalised before the first block too, positions included.
    block: another kind of block, see `transformer`.

  Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1.
  """

  width: int
  depth: int
  heads: int
  mlp: int
  patch: tuple[int, ...]
  grid: tuple[int, ...]
  class_token: bool = True
  position: str = "sincos"
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False
  layer_scale: float = 0.0
  activation: str = "gelu"
  embed_bias: bool = True
  embed_norm: bool = False
  block: functools.partial[nn.Module] | None = None

  def setup(self):
    """Binds the embedding, which may be asked for by itself."""
    xavier = nn.initializers.xavier_uniform()
    self.embed = Dense(self.width, use_bias=self.embed_bias, dtype=self.dtype, kernel_init=xavier)

  def __call__(
    self,
    patches: Float[Array, "*b k p"],
    *,
    index: Int[Array, "*b k"] | None = None,
    valid: Bool[Array, "*b k"] | None = None,
    grid: tuple[int, ...] | None = None,
  ) -> Float[Array, "*b m d"]:
    """Encodes the given patches to normalised tokens: `attend` of their embedding."""
    return self.attend(self.embed(patches), index=index, valid=valid, grid=grid)

  @nn.compact
  def attend(
    self,
    x: Float[Array, "*b k d"],
    *,
    index: Int[Array, "*b k"] | None = None,
    valid: Bool[Array, "*b k"] | None = None,
    grid: tuple[int, ...] | None = None,
    residual: Float[Array, "*b k d"] | None = None,
  ) -> Float[Array, "*b m d"]:
    """Encodes embedded patches to normalised tokens: `m = k`, with a class token in front `k + 1`.

    `index` says where in the grid each patch lies (None: all of them, in order). Patches that are
    not `valid` are padding that no other token sees. Another `grid` than the stored one resizes the
    position table. A `residual` is added to what the blocks make of the patches, before the last
    normalisation. `BadInput` if there is no `index` and the patches do not fill the grid.
    """
    grid = self.grid if grid is None else tuple(grid)
    if index is None and x.shape[-2] != math.prod(grid):
      raise BadInput(f"{x.shape[-2]} patches do not fill grid {grid}: say their index")
    extra = int(self.class_token)
    first, bias = jnp.zeros((), self.dtype), None
    if self.position == "relative":
      bias = self._bias(index, grid)
    else:
      table = positions(self, self.position, self.grid, self.width, extra)
      # An array of JAX, as one of numpy takes no traced index.
      table = jnp.asarray(resize_table(table, self.grid, grid), self.dtype)
      x, first = x + (table[extra:] if index is None else table[extra:][index]), table[0]
    if self.class_token:
      valid = with_first(valid)
      token = self.param("class_token", nn.initializers.normal(0.02), (self.width,), jnp.float32)
      token = jnp.broadcast_to(token.astype(self.dtype) + first, (*x.shape[:-2], 1, self.width))
      x = jnp.concatenate([token, x], axis=-2)
      if residual is not None:
        residual = jnp.pad(residual, [(0, 0)] * (x.ndim - 2) + [(1, 0), (0, 0)])
    if self.embed_norm:
      x = nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name="embed_norm")(x)
    return transformer(
      x,
      valid,
      position_bias=bias,
      depth=self.depth,
      heads=self.heads,
      mlp=self.mlp,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
      layer_scale=self.layer_scale,
      activation=self.activation,
      residual=residual,
      block=self.block,
    )

  def _bias(
    self, index: Int[Array, "*b k"] | None, grid: tuple[int, ...]
  ) -> Float[Array, "*b heads m m"]:
    """What is added to the logits of each pair of tokens, for where they lie to each other."""
    offsets = lambda grid: [2 * g - 1 for g in grid]
    n, extra = math.prod(offsets(self.grid)), int(self.class_token)
    zeros = nn.initializers.zeros
    table = self.param("relative_position", zeros, (n + 3 * extra, self.heads), jnp.float32)
    moved = resize(table[:n], offsets(self.grid), offsets(grid))
    row = jnp.asarray(relative(grid, self.class_token))
    if index is not None:
      token = jnp.pad(index + extra, (*[(0, 0)] * (index.ndim - 1), (extra, 0)))
      row = row[token[..., :, None], token[..., None, :]]
    return jnp.moveaxis(jnp.concatenate([moved, table[n:]])[row], -1, -3)


def positions(
  module: nn.Module, kind: str, grid: tuple[int, ...], width: int, extra: int
) -> Float[Array, "n d"]:
  """The position table of the module whose compact method calls: `extra` rows, then the grid's."""
  if kind == "learned":
    shape = (extra + math.prod(grid), width)
    return module.param("position", nn.initializers.normal(0.02), shape)
  if kind != "sincos":
    raise unknown("position", kind, POSITIONS)
  fixed = lambda: jnp.pad(sincos(grid, width), ((extra, 0), (0, 0)))
  return module.variable("buffers", "position", fixed).value


@bind.least(width=16, depth=1, heads=2)
def vit(
  *,
  record_shape: Sequence[int],
  patch: Sequence[int],
  size: str = "B",
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
  class_token: bool = True,
  position: str = "sincos",
  layer_scale: float = 0.0,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
  activation: str = "gelu",
  embed_bias: bool = True,
  embed_norm: bool = False,
  block: functools.partial[nn.Module] | None = None,
) -> ViT:
  """A ViT for examples of `record_shape`, `(*space, channels)`; its sizes are those of `sized`.

  `position`, `layer_scale` and what follows `scan` are those of `ViT`. `BadInput` as in `sized`,
  for an unknown `position` or `activation`, if the shape is not divisible by the patch, and for the
  `mlp` of another kind of block.

  >>> vit(record_shape=(32, 48, 3), patch=(4, 8), size="Ti").grid
  (8, 6)
  """
  made = sized(size, width=width, depth=depth, heads=heads, mlp=mlp)
  if block is not None and mlp is not None:
    raise BadInput(f"mlp={mlp} is of a transformer's own block, not of {block.func.__name__}")
  if position not in POSITIONS:
    raise unknown("position", position, POSITIONS)
  if activation not in ACTIVATIONS:
    raise unknown("activation", activation, ACTIVATIONS)
  return ViT(
    **made._asdict(),
    patch=tuple(patch),
    grid=patch_grid(record_shape[:-1], patch),
    class_token=class_token,
    position=position,
    layer_scale=layer_scale,
    dtype=dtype,
    norm_eps=norm_eps,
    remat=remat,
    scan=scan,
    activation=activation,
    embed_bias=embed_bias,
    embed_norm=embed_norm,
    block=block,
  )


def sized(
  size: str,
  *,
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
) -> Size:
  """A row of `SIZES` with what overrides it; `mlp` is 4 · width unless said.

  `BadInput` if the size is unknown, a number is below 1 (of blocks below 0), or the width not
  divisible by the heads.

  >>> sized("Ti", width=96)
  Size(width=96, depth=12, mlp=384, heads=3)
  """
  if size not in SIZES:
    raise unknown("size", size, SIZES)
  given = {"width": width, "depth": depth, "heads": heads}
  made = SIZES[size]._replace(**{k: v for k, v in given.items() if v is not None})
  made = made._replace(mlp=4 * made.width if mlp is None else mlp)
  for name, number in made._asdict().items():
    if number < (name != "depth"):
      raise BadInput(f"{name} of a transformer is {number}")
  check_heads("width", made.width, made.heads)
  return made


def follows(encoder: ViT) -> dict[str, Any]:
  """What a network after an encoder has of it, whatever its own size: grid, dtype, and the like."""
  return {name: getattr(encoder, name) for name in ("grid", "dtype", "norm_eps", "remat", "scan")}


def check_heads(name: str, width: int, heads: int) -> None:
  """Raises `BadInput` if a width, called `name`, is not divisible by so many heads."""
  if heads < 1 or width % heads:
    raise BadInput(f"{name} {width} is not divisible by {heads} heads")


def with_first(valid: Bool[Array, "*b k"] | None) -> Bool[Array, "*b m"] | None:
  """What is valid, where a token that always is comes first; None, all, stays None."""
  if valid is None:
    return None
  return jnp.concatenate([jnp.ones_like(valid[..., :1]), valid], axis=-1)
