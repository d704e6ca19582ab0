"""The text transformer: token ids to logits, reading both ways or from left to right."""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from maskjax import bind
from maskjax.errors import BadInput, unknown
from maskjax.hide.pairs import Predicate, either, segments
from maskjax.hide.pairs import causal as causal_pairs
from maskjax.model.dense import Dense
from maskjax.model.transformer import ACTIVATIONS, transformer


class TextTransformer(nn.Module):
  """Embeds ids, mixes them, and predicts a token at every position; built by `text_transformer`.

  Attributes:
    vocabulary: number of tokens that can be predicted.
    extra: further ids that can be read but not predicted: a mask token has the id `vocabulary`.
    width, depth, heads, mlp: the transformer's sizes.
    dtype: of the computation; parameters, softmax and logits are float32.
    remat: compute each block again in the backward pass, for memory.
    scan: compile one block for all, a loop over them.
    causal: whether a token sees only itself and those before it.
    kv_heads: see `attention.Attention`.
    tied: predict tokens with the embeddings that they are read with, not a matrix of their own.
    gated: blocks of today's language models, else those of the first transformers; see
      `transformer.Block`.
    learned: so many positions with a learned vector each, in place of rotary ones; 0 for these.
    norm_eps, base, activation, post_norm: see `transformer.Block`; with the last, what is
      embedded is normalised before the blocks.
    head: whether tokens are predicted after a dense layer, an activation and a norm, with biases.
  """

  vocabulary: int
  extra: int
  width: int
  depth: int
  heads: int
  mlp: int
  dtype: str = "float32"
  remat: bool = False
  scan: bool = False
  causal: bool = False
  kv_heads: int = 0
  tied: bool = False
  gated: bool = True
  learned: int = 0
  norm_eps: float = 1e-6
  base: float = 10_000.0
  activation: str = "gelu"
  post_norm: bool = False
  head: bool = False

  @nn.compact
  def __call__(
    self,
    ids: Int[Array, "*b n"],
    valid: Bool[Array, "*b m"] | None = None,
    segments: Int[Array, "*b m"] | None = None,
    *,
    start: int | Int[Array, ""] | None = None,
    features: bool = False,
    pairs: Predicate | None = None,
  ) -> Float[Array, "*b n v"]:
    """Logits in float32; positions where `valid` is False are seen by none.

    With `segments` tokens see those of their own segment alone. `pairs`, which may ask for them,
    says in place of that and of `causal` what is hidden from which token. With `start` a network
    goes on from the keys and values in the collection "cache", see `attention.Attention`.
    `features` are the normalised tokens `[*b n d]`, in place of logits.
    """
    embed = nn.Embed(
      self.vocabulary + self.extra,
      self.width,
      dtype=self.dtype,
      embedding_init=nn.initializers.normal(0.02),
      name="embed",
    )
    x = embed(ids)
    if self.learned:
      shape = (self.learned, self.width)
      table = self.param("position", nn.initializers.normal(0.02), shape, jnp.float32)
      first = 0 if start is None else start
      x = x + jax.lax.dynamic_slice_in_dim(table, first, ids.shape[-1]).astype(x.dtype)
    norm = partial(nn.LayerNorm, epsilon=self.norm_eps, dtype=self.dtype)
    if self.post_norm:
      x = norm(name="embed_norm")(x)
    x = transformer(
      x,
      valid,
      segments,
      start,
      depth=self.depth,
      heads=self.heads,
      mlp=self.mlp,
      dtype=self.dtype,
      norm_eps=self.norm_eps,
      remat=self.remat,
      scan=self.scan,
      gated=self.gated,
      rotary=not self.learned,
      pairs=pairs or seen_pairs(self.causal, segments is not None),
      kv_heads=self.kv_heads,
      activation=self.activation,
      base=self.base,
      post_norm=self.post_norm,
    )
    if features:
      return x
    if self.head:
      x = Dense(self.width, dtype=self.dtype, name="transform")(x)
      x = norm(name="transform_norm")(ACTIVATIONS[self.activation](x))
    if self.tied:
      logits = embed.attend(x)[..., : self.vocabulary].astype(jnp.float32)
      if self.head:
        logits += self.param("predict_bias", nn.initializers.zeros, (self.vocabulary,), jnp.float32)
      return logits
    logits = Dense(self.vocabulary, use_bias=self.head, dtype=self.dtype, name="predict")(x)
    return logits.astype(jnp.float32)


def seen_pairs(causal: bool, segmented: bool) -> Predicate | None:
  """Which keys are hidden from which queries; None where none are."""
  parts = [causal_pairs()] * causal + [segments()] * segmented
  return either(*parts) if parts else None


@bind.least(width=16, depth=1, heads=2, mlp=16, kv_heads=0)
def text_transformer(
  *,
  record_shape: Sequence[int],
  vocabulary: int,
  width: int = 256,
  depth: int = 6,
  heads: int = 4,
  mlp: int | None = None,
  extra: int = 1,
  dtype: str = "float32",
  remat: bool = False,
  scan: bool = False,
  causal: bool = False,
  kv_heads: int = 0,
  tied: bool = False,
  gated: bool = True,
  learned: int = 0,
  norm_eps: float = 1e-6,
  base: float = 10_000.0,
  activation: str = "gelu",
  post_norm: bool = False,
  head: bool = False,
) -> TextTransformer:
  """A transformer over windows of `record_shape` `(n,)` with rotary positions and gated MLPs.

  `mlp` is 8/3 of the width, rounded up to a multiple of 64, unless said. `causal` reads from left
  to right: a token sees itself and those before it. `kv_heads` and all that follows as in
  `TextTransformer`. Llama is `norm_eps=1e-5` and, of Llama 3, `base=500_000`, without its scaling
  of positions beyond 8,192; GPT-2 is `gated=False, learned=1024, activation="gelu_tanh",
  norm_eps=1e-5, tied=True, causal=True`; BERT `gated=False, learned=512, post_norm=True, head=True,
  norm_eps=1e-12, tied=True`.

  Raises:
    BadInput: no text (a shape of several axes, no vocabulary), a width not divisible by the heads,
      heads not by those of keys and values, fewer than no extra ids.

  >>> text_transformer(record_shape=(256,), vocabulary=65).mlp
  704
  """
  if len(record_shape) != 1 or vocabulary < 1:
    raise BadInput(f"text_transformer takes windows of tokens, got shape {tuple(record_shape)}")
  if width % (2 * heads):
    raise BadInput(f"width {width} is not divisible by {heads} heads of even width")
  if kv_heads < 0 or (kv_heads and heads % kv_heads):
    raise BadInput(f"{heads} heads are not divisible by {kv_heads} of keys and values")
  if activation not in ACTIVATIONS:
    raise unknown("activation", activation, ACTIVATIONS)
  if gated and (post_norm or head):
    raise BadInput("post_norm and head are for blocks with layer norms: set gated=False")
  if learned and learned < record_shape[0]:
    raise BadInput(f"windows of {record_shape[0]} tokens want as many positions, got {learned=}")
  if extra < 0:
    raise BadInput(f"extra ids must not be negative in number, got {extra}")
  mlp = mlp or -(-8 * width // 3 // 64) * 64
  sizes = vocabulary, extra, width, depth, heads, mlp
  return TextTransformer(
    *sizes,
    dtype=dtype,
    remat=remat,
    scan=scan,
    causal=causal,
    kv_heads=kv_heads,
    tied=tied,
    gated=gated,
    learned=learned,
    norm_eps=norm_eps,
    base=base,
    activation=activation,
    post_norm=post_norm,
    head=head,
  )
