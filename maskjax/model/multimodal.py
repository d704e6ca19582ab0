"""One encoder for what is kept of several modalities, a decoder with cross-attention for each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from maskjax import bind, reduce
from maskjax.errors import BadInput, unknown
from maskjax.hide import restore
from maskjax.model.attention import attention
from maskjax.model.dense import Dense
from maskjax.model.position import sincos
from maskjax.model.transformer import Mlp, transformer
from maskjax.model.vit import check_heads, sized, with_first
from maskjax.over.cut import patch_grid


class Channel(NamedTuple):
  """What a modality's patches are: sides, channels of its values, or classes of its labels."""

  patch: tuple[int, ...]
  channels: int = 1
  classes: int = 0

  @property
  def outputs(self) -> int:
    """Numbers that a prediction of a patch has: its values, or the logits of its labels."""
    return math.prod(self.patch) * (self.classes or self.channels)


class Embed(nn.Module):
  """Patches of values, or of labels that are embedded one by one, as tokens."""

  width: int
  classes: int = 0
  label_width: int = 64
  dtype: str = "float32"

  @nn.compact
  def __call__(self, patches: Num[Array, "*b n p"]) -> Float[Array, "*b n d"]:
    """One token a patch; its bias tells the modality."""
    if self.classes:
      start = nn.initializers.truncated_normal(0.02)
      words = nn.Embed(
        self.classes, self.label_width, self.dtype, embedding_init=start, name="words"
      )
      patches = words(patches).reshape(*patches.shape[:-1], -1)
    xavier = nn.initializers.xavier_uniform()
    return Dense(self.width, dtype=self.dtype, kernel_init=xavier, name="project")(patches)


class Encoder(nn.Module):
  """A class token and a transformer over tokens that know where they are."""

  depth: int
  heads: int
  mlp: int
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False

  @nn.compact
  def __call__(
    self, tokens: Float[Array, "*b k d"], valid: Bool[Array, "*b k"] | None = None
  ) -> Float[Array, "*b m d"]:
    """The class token first, m = k + 1; tokens that are not `valid` are seen by none."""
    *batch, _, width = tokens.shape
    token = self.param("class_token", nn.initializers.truncated_normal(0.02), (width,), jnp.float32)
    first = jnp.broadcast_to(token.astype(tokens.dtype), (*batch, 1, width))
    sizes = {f: getattr(self, f) for f in ("depth", "heads", "mlp", "dtype", "norm_eps")}
    x = jnp.concatenate([first, tokens], axis=-2)
    return transformer(x, with_first(valid), **sizes, remat=self.remat, scan=self.scan)


class CrossAttention(nn.Module):
  """Each token of `x` takes from those of `context`, by several heads."""

  heads: int
  dtype: str = "float32"

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "*b n d"],
    context: Float[Array, "*b m d"],
    valid: Bool[Array, "*b m"] | None = None,
  ) -> Float[Array, "*b n d"]:
    """Tokens of the context that are not `valid` are seen by none."""
    width, xavier = x.shape[-1], nn.initializers.xavier_uniform()
    dense = lambda name, size: Dense(size, dtype=self.dtype, kernel_init=xavier, name=name)
    part = lambda t: jnp.swapaxes(t.reshape(*t.shape[:-1], self.heads, -1), -2, -3)
    k, v = map(part, jnp.split(dense("kv", 2 * width)(context), 2, axis=-1))
    mixed = attention(part(dense("q", width)(x)), k, v, valid=valid)
    return dense("out", width)(jnp.swapaxes(mixed, -2, -3).reshape(x.shape))


class CrossDecoder(nn.Module):
  """Predicts all patches of the modality `of` from the tokens of all modalities.

  Its queries are its own patches, encoded or mask tokens; they look once at everything encoded, and
  then at each other in `depth` blocks. Tokens are told their place and, by a learned embedding,
  their modality.

  Source: Bachmann et al. 2022 (MultiMAE), section 3.2.
  """

  width: int
  depth: int
  heads: int
  outputs: int
  grid: tuple[int, ...]
  names: tuple[str, ...]
  of: str
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False

  @nn.compact
  def __call__(
    self,
    tokens: Float[Array, "*b m e"],
    index: Int[Array, "*b k"],
    hidden: Bool[Array, "*b a"],
    valid: Bool[Array, "*b m"] | None,
  ) -> Float[Array, "*b n p"]:
    """From the class token and those at `index` of all modalities in a row, in float32."""
    xavier, normal = nn.initializers.xavier_uniform(), nn.initializers.truncated_normal(0.02)
    dense = lambda size, name: Dense(size, dtype=self.dtype, kernel_init=xavier, name=name)
    norm = lambda name: nn.LayerNorm(epsilon=self.norm_eps, dtype=self.dtype, name=name)
    x = dense(self.width, "embed")(tokens)
    table = jnp.asarray(sincos(self.grid, self.width))
    kinds = [
      self.param(f"modality_{name}", normal, (self.width,), jnp.float32) for name in self.names
    ]
    place = jnp.concatenate([table + kind for kind in kinds]).astype(self.dtype)
    context = jnp.concatenate([x[..., :1, :], x[..., 1:, :] + place[index]], axis=-2)
    mask_token = self.param("mask_token", nn.initializers.zeros, (self.width,), jnp.float32)
    full = restore(x[..., 1:, :], hidden, mask_token.astype(x.dtype)) + place
    n, own = len(table), self.names.index(self.of)
    query = full[..., own * n : (own + 1) * n, :]
    mix = CrossAttention(self.heads, self.dtype, name="attention")
    x = mix(norm("query_norm")(query), norm("context_norm")(context), valid)
    x = x + Mlp(4 * self.width, self.dtype, name="mlp")(norm("mlp_norm")(x))
    sizes = {f: getattr(self, f) for f in ("depth", "heads", "dtype", "norm_eps", "remat", "scan")}
    x = transformer(x, mlp=4 * self.width, **sizes)
    return dense(self.outputs, "predict")(x).astype(jnp.float32)


class MultimodalAutoencoder(nn.Module):
  """Encodes what is kept of all modalities, decodes each; built by `multimodal_autoencoder`.

  Every modality has the same `grid` of patches, whatever its resolution. `asks` are pairs of a
  decoder's name and the modality that it predicts.

  Source: Bachmann et al., "MultiMAE: Multi-modal Multi-task Masked Autoencoders", 2022, section 3.
  """

  modalities: Mapping[str, Channel]
  asks: tuple[tuple[str, str], ...]
  grid: tuple[int, ...]
  width: int
  depth: int
  heads: int
  mlp: int
  decoder_width: int = 256
  decoder_depth: int = 2
  decoder_heads: int = 8
  label_width: int = 64
  dtype: str = "float32"
  norm_eps: float = 1e-6
  remat: bool = False
  scan: bool = False

  def setup(self):
    """Binds what has parameters."""
    common = dict(dtype=self.dtype, norm_eps=self.norm_eps, remat=self.remat, scan=self.scan)
    self.embed = {
      name: Embed(self.width, kind.classes, self.label_width, self.dtype)
      for name, kind in self.modalities.items()
    }
    self.encoder = Encoder(self.depth, self.heads, self.mlp, **common)
    names, sizes = tuple(self.modalities), (self.decoder_width, self.decoder_depth)
    self.decoder = {
      name: CrossDecoder(
        *sizes, self.decoder_heads, self.modalities[of].outputs, self.grid, names, of, **common
      )
      for name, of in self.asks
    }

  def attend(self, seen: Any) -> Float[Array, "*b m d"]:
    """What the encoder makes of tokens that are seen, a `hide.Seen`, the class token first."""
    return self.encoder(seen.values, seen.valid)

  def decode(
    self, encoded: Float[Array, "*b m d"], seen: Any, hidden: Bool[Array, "*b a"]
  ) -> dict[str, Float[Array, "*b n _"]]:
    """All patches, by decoder, from what was encoded of those that are seen.

    `hidden` goes through all modalities in their order.
    """
    valid = with_first(seen.valid)
    return {
      name: decode(encoded, seen.index, hidden, valid) for name, decode in self.decoder.items()
    }

  def encode(
    self,
    patches: Mapping[str, Num[Array, "*b n _"]],
    hidden: Bool[Array, "*b a"] | None = None,
  ) -> dict[str, Float[Array, "..."]]:
    """Features of the modalities that are given, of any of them: float32, after the last norm.

    "tokens" `[*b a d]`, their "mean" `[*b d]`, and the "class" token `[*b d]`. No other token sees
    `hidden` patches, and the mean leaves them out.
    """
    valid = None if hidden is None else ~hidden
    x = self.encoder(self.tokens(patches), valid)
    first, tokens = x[..., 0, :].astype(jnp.float32), x[..., 1:, :].astype(jnp.float32)
    there = jnp.ones(tokens.shape[:-1], bool) if valid is None else valid
    return {
      "mean": reduce.mean(tokens, there[..., None], axis=-2),
      "tokens": tokens,
      "class": first,
    }

  def tokens(self, patches: Mapping[str, Num[Array, "*b n _"]]) -> Float[Array, "*b a d"]:
    """One token a patch of what is given, in the order of the modalities, with its place."""
    names = [name for name in self.modalities if name in patches]
    table = jnp.asarray(sincos(self.grid, self.width), self.dtype)
    return jnp.concatenate([self.embed[name](patches[name]) + table for name in names], axis=-2)


@bind.least(
  width=16,
  depth=1,
  heads=2,
  decoder_width=16,
  decoder_depth=1,
  decoder_heads=2,
  label_width=4,
)
def multimodal_autoencoder(
  *,
  shapes: Mapping[str, tuple[Sequence[int], int]],
  cells: Mapping[str, Sequence[int]],
  asks: Mapping[str, str] | None = None,
  size: str = "B",
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
  decoder_width: int = 256,
  decoder_depth: int = 2,
  decoder_heads: int = 8,
  label_width: int = 64,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
) -> MultimodalAutoencoder:
  """A masked autoencoder of several modalities.

  Args:
    shapes: of an example of each, `(*space, channels)`, with the number of its classes: 0 of
      values, of labels `*space` alone is looked at.
    cells: sides of the patches of each, `(*space)`; all have as many patches.
    asks: name of a decoder → the modality that it predicts; unless said, one for each.
    size: of the encoder, by name, as in `vit`.
    width: of the encoder's tokens; that of its size unless said.
    depth: of the encoder, likewise.
    heads: of the encoder's blocks, likewise.
    mlp: hidden numbers of the encoder's blocks, likewise.
    decoder_width: of each decoder's tokens.
    decoder_depth: blocks of each decoder.
    decoder_heads: of each decoder's blocks.
    label_width: numbers that a label is embedded as.
    dtype: of the computation; parameters are float32.
    norm_eps: added to the variance by layer normalisations.
    remat: whether blocks are computed again in the backward pass, which saves memory.
    scan: whether blocks are one loop, which compiles faster.

  Raises:
    BadInput: an unknown size or modality, a space that does not divide, a width not by its heads.

  >>> shapes = {"image": ((32, 32, 3), 0), "segments": ((8, 8, 1), 5)}
  >>> cells = {"image": (4, 4), "segments": (1, 1)}
  >>> net = multimodal_autoencoder(shapes=shapes, cells=cells, size="Ti")
  >>> net.grid, net.modalities["segments"], net.asks[1]
  ((8, 8), Channel(patch=(1, 1), channels=1, classes=5), ('segments', 'segments'))
  """
  made = sized(size, width=width, depth=depth, heads=heads, mlp=mlp)
  check_heads("decoder_width", decoder_width, decoder_heads)
  asks = dict(zip(shapes, shapes, strict=True)) if asks is None else asks
  kinds, grid = {}, None
  for name, ((*space, channels), classes) in shapes.items():
    own = patch_grid(tuple(space), cells[name])
    grid = grid or own
    if own != grid:
      raise BadInput(f"modality {name!r} of {tuple(space)} is not cut into {grid} patches")
    kinds[name] = Channel(tuple(cells[name]), channels, classes)
  for of in asks.values():
    if of not in kinds:
      raise unknown("modality to predict", of, kinds)
  if not asks:
    raise BadInput("asks is empty: nothing would be asked")
  return MultimodalAutoencoder(
    kinds,
    tuple(asks.items()),
    grid or (),
    **made._asdict(),
    decoder_width=decoder_width,
    decoder_depth=decoder_depth,
    decoder_heads=decoder_heads,
    label_width=label_width,
    dtype=dtype,
    norm_eps=norm_eps,
    remat=remat,
    scan=scan,
  )
