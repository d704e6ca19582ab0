"""The pre-norm transformer block, and a stack of blocks."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import _global_interceptor_stack
from jaxtyping import Array, Bool, Float, Int, Key

from maskjax.errors import BadInput
from maskjax.hide.pairs import Predicate
from maskjax.model.attention import Attention
from maskjax.model.dense import Dense
from maskjax.model.norm import LayerNorm
from maskjax.model.places import GATES, NOWHERE, TAPS, Places


def gelu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
  """`x Φ(x)`, Φ the distribution function of the standard normal distribution.

  In float32 by the error function, as in PyTorch, which is cheaper on CPUs than its complement; in
  lower precision by that, as 1 + erf(x) would have hardly a digit left below 0.

  >>> [round(float(y), 4) for y in gelu(jnp.array([-1.0, 0.0, 1.0]))]
  [-0.1587, 0.0, 0.8413]

  Source: Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016, equation 1.
  """
  if x.dtype != jnp.float32:
    return nn.gelu(x, approximate=False)
  return x * (0.5 + 0.5 * jax.lax.erf(x * 0.5**0.5))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  "gelu": gelu,
  "gelu_tanh": partial(nn.gelu, approximate=True),
  "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
}


class Mlp(nn.Module):
  """Two dense layers with an activation between them, applied to every token by itself.

  The `activation` is "gelu", exact, "gelu_tanh", its approximation (GPT-2), or "quick_gelu" (CLIP).
  """

  hidden_width: int
  dtype: str = "float32"
  activation: str = "gelu"

  @nn.compact
  def __call__(self, x: Float[Array, "*b n d"], at: Places = NOWHERE) -> Float[Array, "*b n d"]:
    """`down(activation(up(x)))`; what `down` reads is the place "hidden"."""
    dense = partial(Dense, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform())
    up = dense(self.hidden_width, name="up")(x)
    return dense(x.shape[-1], name="down")(at("hidden", ACTIVATIONS[self.activation](up)))


class GatedMlp(nn.Module):
  """A dense layer scaled by a gate, and a dense layer back: `down(silu(gate(x)) · up(x))`.

  Source: Shazeer, "GLU Variants Improve Transformer", 2020, equation 6 (SwiGLU).
  """

  hidden_width: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Float[Array, "*b n d"], at: Places = NOWHERE) -> Float[Array, "*b n d"]:
    """Applied to every token by itself; what `down` reads is the place "hidden"."""
    dense = partial(
      Dense, use_bias=False, dtype=self.dtype, kernel_init=nn.initializers.xavier_uniform()
    )
    gate = nn.silu(dense(self.hidden_width, name="gate")(x))
    hidden = gate * dense(self.hidden_width, name="up")(x)
    return dense(x.shape[-1], name="down")(at("hidden", hidden))


class Block(nn.Module):
  """Attention and MLP, each on normalised tokens and added to what came in.

  `x + attention(norm1(x))`, then `x + mlp(norm2(x))`; normalisation statistics in float32. With
  `gated` the block is that of today's language models: RMS norms, a gated MLP, no biases. With
  `post_norm` it is `norm1(x + attention(x))`, then `norm2(x + mlp(x))`, as in BERT. `base` is that
  of rotary positions, `activation` that of `Mlp`. With a `layer_scale` (0: none) what attention and
  MLP add is scaled by learned numbers, one a channel, that begin there.

  Sources: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1; Touvron et al.,
  "Going deeper with Image Transformers", 2021, section 2 (LayerScale).
  """

  heads: int
  mlp: int
  dtype: str = "float32"
  norm_eps: float = 1e-6
  gated: bool = False
  rotary: bool = False
  pairs: Predicate | None = None
  kv_heads: int = 0
  activation: str = "gelu"
  base: float = 10_000.0
  post_norm: bool = False
  layer_scale: float = 0.0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "*b n d"],
    valid: Bool[Array, "*b m"] | None = None,
    segments: Int[Array, "*b m"] | None = None,
    start: int | Int[Array, ""] | None = None,
    position_bias: Float[Array, "*#b #h #n #m"] | None = None,
  ) -> Float[Array, "*b n d"]:
    """Tokens to tokens; see `Attention` for what they see of each other, `Places` for gates."""
    at = Places(self, x)
    x = at("input", x)
    norm = partial(nn.RMSNorm if self.gated else LayerNorm, epsilon=self.norm_eps, dtype=self.dtype)
    options = self.dtype, self.rotary, not self.gated, self.pairs, self.kv_heads, self.base
    mix = Attention(self.heads, *options, name="attention")
    sizes = (self.mlp, self.dtype) if self.gated else (self.mlp, self.dtype, self.activation)
    mlp = (GatedMlp if self.gated else Mlp)(*sizes, name="mlp")
    before, after = norm(name="norm1"), norm(name="norm2")
    if self.post_norm:
      x = before(x + mix(x, valid, segments, start, at, position_bias))
      return at("output", after(x + mlp(x, at)))
    mixed = mix(before(x), valid, segments, start, at, position_bias)
    x = x + self._scaled("scale1", mixed)
    return at("output", x + self._scaled("scale2", mlp(after(x), at)))

  def _scaled(self, name: str, x: Float[Array, "*b n d"]) -> Float[Array, "*b n d"]:
    if not self.layer_scale:
      return x
    scale = self.param(name, nn.initializers.constant(self.layer_scale), x.shape[-1:], jnp.float32)
    return x * scale.astype(x.dtype)


# kv_heads, activation, base, post_norm and layer_scale of a block of which nothing else is asked.
PLAIN = 0, "gelu", 10_000.0, False, 0.0


def transformer(
  x: Float[Array, "*b n d"],
  valid: Bool[Array, "*b m"] | None = None,
  segments: Int[Array, "*b m"] | None = None,
  start: int | Int[Array, ""] | None = None,
  position_bias: Float[Array, "*#b #h #n #m"] | None = None,
  *,
  depth: int,
  heads: int,
  mlp: int,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
  gated: bool = False,
  rotary: bool = False,
  pairs: Predicate | Sequence[Predicate | None] | None = None,
  kv_heads: int = 0,
  activation: str = "gelu",
  base: float = 10_000.0,
  post_norm: bool = False,
  layer_scale: float = 0.0,
  residual: Float[Array, "*b n d"] | None = None,
  block: partial[nn.Module] | None = None,
) -> Float[Array, "*b n d"]:
  """A stack of `depth` blocks and a last normalisation; to be called inside a compact method.

  The parameters `block_00`, `block_01` … and `norm` belong to the module that calls. `remat` keeps
  only each block's input for the backward pass and computes the rest again. With `scan` one block
  is compiled for all, which are met in a loop over their stacked parameters; not where they are
  drawn, nor with a cache. Blocks of which other things are asked, by `maskjax.model.layers`, are
  met in a loop of their own. Without `scan`, and where they are drawn, blocks that are alike are
  traced once. `pairs`, `kv_heads`, `segments`, `start` and `position_bias`, the same in all blocks,
  are those of `Attention`; several `pairs` take turns, one a block, and as many blocks are
  compiled. `activation`, `base`, `post_norm` and `layer_scale` are those of `Block`; with
  `post_norm` there is no normalisation behind the blocks. A `residual`, as of finer stages before
  these blocks, is added to what they make, before the last normalisation. A `block` is another kind
  than `Block`, made of `heads` and `dtype` and called as it is.

  Raises:
    BadInput: no `pairs` to take turns, or with `scan` so many that they do not divide the blocks;
      another kind of block with options of `Block`.
  """
  turns = [*pairs] if isinstance(pairs, Sequence) else [pairs]
  if not turns or (scan and depth % len(turns)):
    raise BadInput(f"{len(turns)} masks of pairs cannot take turns in {depth} blocks")
  more = kv_heads, activation, base, post_norm, layer_scale
  sizes: list[tuple[Any, ...]]
  sizes = [(heads, mlp, dtype, norm_eps, gated, rotary, own, *more) for own in turns]
  kind: Any = partial(Block)
  if block is not None:
    if [pairs, gated, rotary, *more] != [None, False, False, *PLAIN]:
      raise BadInput(f"options of a transformer's own block are not those of {block.func.__name__}")
    kind, sizes = block, [(heads, dtype)]
  scan = scan and depth > len(turns)  # Of one round there is no loop.
  # Inside a loop nothing is merged with what was computed before it.
  made = nn.remat(kind.func, prevent_cse=not scan) if remat else kind.func
  make = partial(made, **kind.keywords)
  layers = [make(*sizes[i % len(turns)], name=f"block_{i:02d}") for i in range(depth)]
  ones = [make(*own, parent=None) for own in sizes]
  seen = valid, segments, None, position_bias
  if scan and start is None and not layers[0].is_initializing():
    x = _scanned(x, seen, layers, ones)
  elif start is None and all(map(_plain, layers)):
    for one, layer in zip(itertools.cycle(ones), layers):
      x = _met(one, {"params": layer.variables["params"]}, x, seen)
  elif start is None and layers[0].is_initializing() and not _global_interceptor_stack:
    for one, layer in zip(itertools.cycle(ones), layers):
      x, drawn = _begun(one, layer.make_rng("params"), x, seen)
      for kind, variables in drawn.items():
        for name, value in variables.items():
          layer.put_variable(kind, name, value)
  else:
    for layer in layers:
      x = layer(x, valid, segments, start, position_bias)
  x = x if residual is None else x + residual
  if post_norm:
    return x
  norm = nn.RMSNorm if gated else LayerNorm
  return norm(epsilon=norm_eps, dtype=dtype, name="norm")(x)


@partial(jax.jit, static_argnums=0)
def _met(block: nn.Module, variables: Any, x: Array, seen: Sequence[Any]) -> Any:
  """What an unbound block makes of the tokens; traced once for variables of the same shapes."""
  return block.apply(variables, x, *seen)


@partial(jax.jit, static_argnums=0)
def _begun(block: nn.Module, key: Key[Array, ""], x: Array, seen: Sequence[Any]) -> Any:
  """What an unbound block makes of the tokens with variables drawn from a key, and these."""
  return block.init_with_output(key, x, *seen)


def _plain(layer: nn.Module) -> bool:
  """Whether there is nothing to a bound block but its parameters, and no one listens to it."""
  asked = any(map(layer.is_mutable_collection, (TAPS, "intermediates")))
  # Whoever does, by `nn.intercept_methods`, is to meet every block, by its own name.
  heard = bool(_global_interceptor_stack)
  return not (heard or layer.is_initializing() or asked or {GATES, TAPS} & {*layer.variables})


def _scanned(x: Array, seen: Sequence[Any], layers: list[Any], ones: list[Any]) -> Array:
  """Meets the bound `layers` in loops, by unbound blocks that take turns; `seen` all get alike."""
  told = [kind for kind in (TAPS, "intermediates") if layers[0].is_mutable_collection(kind)]

  def step(x: Array, round_: Sequence[Any]) -> tuple[Array, list[Mapping[str, Any]]]:
    states = []
    for one, given in zip(ones, round_, strict=True):
      x, state = one.apply(given, x, *seen, mutable=told)
      states.append(state)
    return x, states

  given = [
    {kind: layer.variables[kind] for kind in ("params", GATES, TAPS) if kind in layer.variables}
    for layer in layers
  ]
  rounds = [given[i : i + len(ones)] for i in range(0, len(given), len(ones))]
  left = iter(layers)
  for _, group in itertools.groupby(rounds, key=_form):
    run = [*group]
    x, states = jax.lax.scan(step, x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *run))
    for i in range(len(run)):
      for state in states:
        _put(next(left), state, i)
  return x


def _put(layer: nn.Module, state: Mapping[str, Any], i: int) -> None:
  """Gives a layer what it told in round `i` of a loop."""
  for kind, told in state.items():
    for name, values in told.items():
      layer.put_variable(kind, name, jax.tree.map(lambda leaf: leaf[i], values))


def _form(tree: Any) -> tuple[Any, ...]:
  """What trees have in common that can be stacked."""
  shapes = [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(tree)]
  return jax.tree.structure(tree), shapes
