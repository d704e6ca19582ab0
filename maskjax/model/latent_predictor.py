"""A network that predicts in its own latent space: a ViT's context, and a narrow predictor."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind, reduce
from maskjax.hide import Seen, drop, fill
from maskjax.model.position import resize_table
from maskjax.model.transformer import transformer
from maskjax.model.vit import ViT, check_heads, positions, vit

# The positions of what is asked, and where they are no padding, to positions that say less.
Degrade = Callable[[Float[Array, "*b k d"], Bool[Array, "*b k"]], Float[Array, "*b k d"]]


class Predicted(NamedTuple):
  """`tokens[k]` are predicted of position `index[k]`; padding has `valid` False."""

  tokens: Float[Array, "*b v k d"]
  index: Int[Array, "*b v k"]  # type: ignore[assignment]
  valid: Bool[Array, "*b v k"]


class Predictor(nn.Module):
  """Predicts `outputs` numbers at positions that are asked, view by view, from encoded tokens.

  The tokens and, for each of these positions, a mask token, all with where they stand, go through
  the blocks together; no view sees another.
  """

  width: int
  depth: int
  heads: int
  outputs: int
  grid: tuple[int, ...]
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False

  def setup(self):
    """Binds the table of positions."""
    self.table = positions(self, "sincos", self.grid, self.width, 0)

  def __call__(
    self,
    seen: Seen,
    index: Int[Array, "*b v k"],
    valid: Bool[Array, "*b v k"],
    *,
    grid: tuple[int, ...],
    degrade: Degrade | None = None,
  ) -> Float[Array, "*b v k d"]:
    """What is predicted at the positions `index` of each view, in float32."""
    where = self.locate(index, grid=grid)
    if degrade is not None:
      where = degrade(where, valid)
    return self.attend(seen.values, seen.index, seen.valid, where, valid, grid=grid)

  def locate(
    self, index: Int[Array, "*b k"], *, grid: tuple[int, ...] | None = None
  ) -> Float[Array, "*b k d"]:
    """The embeddings of positions of a grid, the stored one unless said."""
    grid = self.grid if grid is None else tuple(grid)
    return resize_table(self.table, self.grid, grid).astype(self.dtype)[index]

  @nn.compact
  def attend(
    self,
    tokens: Float[Array, "*b k e"],
    index: Int[Array, "*b k"],
    seen: Bool[Array, "*b k"],
    where: Float[Array, "*b v m d"],
    valid: Bool[Array, "*b v m"],
    *,
    grid: tuple[int, ...] | None = None,
  ) -> Float[Array, "*b v m d"]:
    """What mask tokens that are told `where` they stand come to, view by view, in float32.

    They see encoded tokens of the positions `index` of the grid, the stored one unless said, that
    are `seen`, and those of their own view that are `valid`; the rest is padding.
    """
    xavier = nn.initializers.xavier_uniform()
    dense = lambda width, name: nn.Dense(width, dtype=self.dtype, kernel_init=xavier, name=name)
    mask_token = self.param("mask_token", nn.initializers.normal(0.02), (self.width,))
    asked = mask_token.astype(self.dtype) + where
    x = dense(self.width, "embed")(tokens) + self.locate(index, grid=grid)
    each = lambda x, axis: jnp.repeat(jnp.expand_dims(x, axis), valid.shape[-2], axis)
    x = transformer(
      jnp.concatenate([each(x, -3), asked], axis=-2),
      jnp.concatenate([each(seen, -2), valid], axis=-1),
      depth=self.depth,
      heads=self.heads,
      mlp=4 * self.width,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
    )
    x = dense(self.outputs, "predict")(x[..., index.shape[-1] :, :])
    return x.astype(jnp.float32)


class LatentPredictor(nn.Module):
  """Encodes a context, and predicts what the encoder makes of other parts; by `latent_predictor`.

  Source: Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
  Architecture", 2023, section 3.
  """

  encoder: ViT
  predictor_width: int = 384
  predictor_depth: int = 12
  predictor_heads: int = 16

  @property
  def grid(self) -> tuple[int, ...]:
    """Patches along each axis."""
    return self.encoder.grid

  def setup(self):
    """Binds the predictor, which follows the encoder in all but its size."""
    self.predictor = predictor(
      encoder=self.encoder,
      width=self.predictor_width,
      depth=self.predictor_depth,
      heads=self.predictor_heads,
    )

  def __call__(
    self,
    patches: Float[Array, "*b n p"],
    hidden: Bool[Array, "*b n"],
    asked: Bool[Array, "*b v n"],
    *,
    keep: int,
    ask: int,
    grid: tuple[int, ...] | None = None,
    degrade: Degrade | None = None,
  ) -> Predicted:
    """Predicts the tokens at the asked positions of each view from the patches not hidden.

    At most `keep` patches are seen, and at most `ask` positions asked of each view; of more the
    later ones are left out, and where there are fewer the rest is padding outside attention.
    `degrade` changes the positions that the mask tokens are told.
    """
    grid = self.encoder.grid if grid is None else tuple(grid)
    seen = drop(patches, hidden, keep=keep)
    tokens = self.encoder(seen.values, index=seen.index, valid=seen.valid, grid=grid)
    # Nothing but where they stand.
    _, index, valid, _ = drop(jnp.zeros((*asked.shape, 0)), ~asked, keep=ask)
    context = seen._replace(values=tokens)
    predicted = self.predictor(context, index, valid, grid=grid, degrade=degrade)
    return Predicted(predicted, index, valid)

  def encode(
    self,
    patches: Float[Array, "*b n p"],
    *,
    valid: Bool[Array, "*b n"] | None = None,
    grid: tuple[int, ...] | None = None,
  ) -> dict[str, Float[Array, "..."]]:
    """Features of all `valid` patches: "tokens" `[*b n d]` and their "mean" `[*b d]`, float32.

    Patches that are not valid are missing: no other token sees them, and the mean leaves them out.
    """
    if valid is not None:
      patches = fill(patches, ~valid, 0.0)
    tokens = self.encoder(patches, valid=valid, grid=grid).astype(jnp.float32)
    there = jnp.ones(tokens.shape[:-1], jnp.bool_) if valid is None else valid
    return {"mean": reduce.mean(tokens, there[..., None], axis=-2), "tokens": tokens}


@bind.least(width=16, depth=1, heads=2)
def predictor(
  *, encoder: ViT, width: int = 384, depth: int = 12, heads: int | None = None
) -> Predictor:
  """A predictor of an encoder's tokens, which follows the encoder in all but its size.

  Args:
    encoder: whose width is predicted, and whose grid, dtype and normalisation it has.
    width, depth: of its blocks.
    heads: of its blocks; the encoder's unless said.

  Raises:
    BadInput: a width that the heads do not divide.
  """
  heads = heads or encoder.heads
  check_heads("width", width, heads)
  return Predictor(
    width=width,
    depth=depth,
    heads=heads,
    outputs=encoder.width,
    grid=encoder.grid,
    dtype=encoder.dtype,
    norm_eps=encoder.norm_eps,
    remat=encoder.remat,
    scan=encoder.scan,
  )


@bind.least(width=16, depth=1, heads=2, predictor_width=16, predictor_depth=1, predictor_heads=2)
def latent_predictor(
  *,
  record_shape: Sequence[int],
  patch: Sequence[int],
  size: str = "B",
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
  predictor_width: int = 384,
  predictor_depth: int = 12,
  predictor_heads: int | None = None,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
) -> LatentPredictor:
  """A latent predictor for examples of `record_shape`, `(*space, channels)`, no class token.

  `size` names a row of `SIZES`; `width`, `depth`, `heads` and `mlp` (4 · width unless said)
  override it. The predictor has the encoder's heads unless said. `BadInput` if the size is unknown,
  the shape not divisible by the patch, or a width not by its heads.

  >>> latent_predictor(record_shape=(32, 48, 3), patch=(4, 8), size="Ti").grid
  (8, 6)
  """
  encoder = vit(
    record_shape=record_shape,
    patch=patch,
    size=size,
    width=width,
    depth=depth,
    heads=heads,
    mlp=mlp,
    class_token=False,
    dtype=dtype,
    norm_eps=norm_eps,
    remat=remat,
    scan=scan,
  )
  predictor_heads = predictor_heads or encoder.heads
  check_heads("predictor_width", predictor_width, predictor_heads)
  return LatentPredictor(encoder, predictor_width, predictor_depth, predictor_heads)
