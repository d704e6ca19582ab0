"""Two encoders, of images and of what is said of them, that meet in one space."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind, reduce
from maskjax.errors import BadInput, unknown
from maskjax.model.dense import Dense
from maskjax.model.text import TextTransformer
from maskjax.model.vit import ViT, check_heads, vit
from maskjax.recover.contrastive import l2_normalize

SHARPEST = 100.0  # of the factor 1 / temperature
POOLS = ("first", "mean", "last")
IMAGE_POOLS = ("mean", "first")


class DualEncoder(nn.Module):
  """An image encoder and a text encoder, each with a linear map into a shared space.

  Attributes:
    encoder: of images.
    text: of texts, None where there are none.
    shared: the width of the space.
    pool: what stands for a text: its "first" token, its "last", or the "mean" of all.
    temperature: of the contrast between both, at first; it is learned.
    image_pool: what stands for an image: the "mean" of all tokens, the class token among them, or
      the "first" token.

  Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
  2021, section 2 (the first token of images, the last of texts); Li et al., "Scaling Language-Image
  Pre-training via Masking", 2023 (the mean, and the first).
  """

  encoder: ViT
  text: TextTransformer | None
  shared: int
  pool: str = "first"
  temperature: float = 0.07
  image_pool: str = "mean"

  @property
  def grid(self) -> tuple[int, ...]:
    """Patches along each axis."""
    return self.encoder.grid

  def setup(self) -> None:
    """Binds the maps and the logarithm of 1 / temperature."""
    xavier = nn.initializers.xavier_uniform()
    dense = lambda: Dense(self.shared, use_bias=False, dtype=self.encoder.dtype, kernel_init=xavier)
    self.project_image = dense()
    if self.text is not None:
      self.project_text = dense()
    constant = nn.initializers.constant(-math.log(self.temperature))
    self.log_scale = self.param("log_scale", constant, (), jnp.float32)

  def __call__(
    self,
    patches: Float[Array, "*b k p"],
    caption: Int[Array, "*b m"] | None = None,
    *,
    index: Int[Array, "*b k"] | None = None,
    valid: Bool[Array, "*b k"] | None = None,
  ) -> tuple[Float[Array, "*b d"], Float[Array, "*b d"] | None]:
    """Embeddings of images by what is left of their patches to see, and of their captions."""
    image = self.image(patches, index=index, valid=valid)
    return image, None if caption is None else self.read(caption)

  def image(
    self,
    patches: Float[Array, "*b k p"],
    *,
    index: Int[Array, "*b k"] | None = None,
    valid: Bool[Array, "*b k"] | None = None,
  ) -> Float[Array, "*b d"]:
    """Embeddings of images by what is left of their patches to see.

    Args:
      patches: those that are seen.
      index: where each of them stood; None where all are there, in order.
      valid: False where one is padding; None where none is.
    """
    x = self.encoder(patches, index=index, valid=valid).astype(jnp.float32)
    return self._place(x, valid)

  def read(self, caption: Int[Array, "*b m"]) -> Float[Array, "*b d"]:
    """Embeddings of texts, ids that end in -1 where there are no tokens; these are seen by none."""
    if self.text is None:
      raise BadInput("this network has no encoder of texts: its data had no captions")
    there = caption >= 0
    x = self.text(jnp.maximum(caption, 0), there, features=True).astype(jnp.float32)
    if self.pool == "first":
      one = x[..., 0, :]
    elif self.pool == "last":
      last = jnp.maximum(there.sum(axis=-1, dtype=jnp.int32) - 1, 0)
      one = jnp.take_along_axis(x, last[..., None, None], axis=-2)[..., 0, :]
    else:
      one = reduce.mean(x, there[..., None], axis=-2)
    return self.project_text(one).astype(jnp.float32)

  def learned_temperature(self) -> Float[Array, ""]:
    """The temperature as it is learned: not below a hundredth."""
    return jnp.exp(-jnp.clip(self.log_scale, 0.0, math.log(SHARPEST)))

  def encode(
    self,
    patches: Float[Array, "*b k p"],
    *,
    index: Int[Array, "*b k"] | None = None,
    valid: Bool[Array, "*b k"] | None = None,
  ) -> dict[str, Float[Array, "..."]]:
    """Features of images by what is left of their patches to see, in float32; see `image`.

    "mean" `[*b d]` over the patches' tokens, where there is a class token "class" `[*b d]`, and
    "shared" `[*b s]`, the place in the shared space, at length 1.
    """
    x = self.encoder(patches, index=index, valid=valid).astype(jnp.float32)
    extra = int(self.encoder.class_token)
    tokens, there = x[..., extra:, :], jnp.ones((), bool) if valid is None else valid[..., None]
    features = {
      "mean": reduce.mean(tokens, there, axis=-2),
      "shared": l2_normalize(self._place(x, valid)),
    }
    return {**features, "class": x[..., 0, :]} if extra else features

  def _place(
    self, x: Float[Array, "*b m e"], valid: Bool[Array, "*b k"] | None
  ) -> Float[Array, "*b d"]:
    """What stands for an image, in the shared space; the mean is over the class token too."""
    if self.image_pool == "first":
      return self.project_image(x[..., 0, :]).astype(jnp.float32)
    there = jnp.ones((), bool)
    if valid is not None:
      first = jnp.ones((*valid.shape[:-1], x.shape[-2] - valid.shape[-1]), bool)
      there = jnp.concatenate([first, valid], axis=-1)[..., None]
    return self.project_image(reduce.mean(x, there, axis=-2)).astype(jnp.float32)


@bind.least(width=16, depth=1, heads=2, text_width=16, text_depth=1, text_heads=2, shared=8)
def dual_encoder(
  *,
  record_shape: Sequence[int],
  patch: Sequence[int],
  vocabulary: int = 0,
  caption: int = 0,
  size: str = "B",
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
  class_token: bool = True,
  text_width: int = 512,
  text_depth: int = 12,
  text_heads: int = 8,
  shared: int = 512,
  pool: str = "first",
  temperature: float = 0.07,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
  position: str = "sincos",
  activation: str = "gelu",
  embed_bias: bool = True,
  embed_norm: bool = False,
  image_pool: str = "mean",
  text_causal: bool = False,
  text_positions: int = 0,
) -> DualEncoder:
  """A dual encoder of images of `record_shape` and captions of so many tokens of a vocabulary.

  The image encoder is that of a masked autoencoder of the same sizes, and its parameters lie under
  `encoder/` as there; `position`, `embed_bias` and `embed_norm` are those of `ViT`, `activation`
  and `norm_eps` those of both encoders. Texts are read both ways, or with `text_causal` from left
  to right, with learned positions, so many as captions are long or `text_positions`; without
  captions there is no encoder of them. CLIP is `position="learned", activation="quick_gelu",
  embed_bias=False, embed_norm=True, image_pool="first", norm_eps=1e-5, text_causal=True,
  text_positions=77, pool="last"`, its captions ending in a token that says so.

  Raises:
    BadInput: as in `vit`; an unknown pool, an image's first token without a class token, a text's
      width not divisible by its heads, captions longer than `text_positions`, a first temperature
      not in [0.01, 1].

  >>> dual_encoder(record_shape=(32, 32, 3), patch=(4, 4), vocabulary=9, caption=5, size="Ti").grid
  (8, 8)
  """
  if pool not in POOLS:
    raise unknown("pool", pool, POOLS)
  if image_pool not in IMAGE_POOLS:
    raise unknown("image_pool", image_pool, IMAGE_POOLS)
  if image_pool == "first" and not class_token:
    raise BadInput("image_pool='first' is the class token: set class_token=True")
  if text_positions and text_positions < caption:
    raise BadInput(f"captions of {caption} tokens want as many positions, got {text_positions=}")
  check_heads("text_width", text_width, text_heads)
  if not 1 / SHARPEST <= temperature <= 1:
    raise BadInput(f"the first temperature lies in [{1 / SHARPEST}, 1], got {temperature}")
  encoder = vit(
    record_shape=record_shape,
    patch=patch,
    size=size,
    width=width,
    depth=depth,
    heads=heads,
    mlp=mlp,
    class_token=class_token,
    dtype=dtype,
    norm_eps=norm_eps,
    remat=remat,
    scan=scan,
    position=position,
    activation=activation,
    embed_bias=embed_bias,
    embed_norm=embed_norm,
  )
  text = TextTransformer(
    vocabulary=vocabulary,
    extra=0,
    width=text_width,
    depth=text_depth,
    heads=text_heads,
    mlp=4 * text_width,
    dtype=dtype,
    remat=remat,
    scan=scan,
    gated=False,
    learned=text_positions or caption,
    causal=text_causal,
    norm_eps=norm_eps,
    activation=activation,
  )
  return DualEncoder(encoder, text if caption else None, shared, pool, temperature, image_pool)
