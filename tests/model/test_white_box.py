"""CRATE's blocks (Yu et al. 2023, Pai et al. 2024) are the steps in closed form that they name."""

import functools
import pathlib
import runpy

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sparse_steps import coded, normed, uncoded

from maskjax import model, task
from maskjax.errors import BadInput
from maskjax.model import layers
from maskjax.model.transformer import transformer
from maskjax.model.vit import vit

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
B, N, WIDTH, HEADS, STEP, PENALTY = 2, 5, 12, 3, 0.2, 0.7
# A block of eight products; the longest sums have a channel each.
SUMS = dict(depth=8, terms=WIDTH)
KINDS = dict(
  coding=functools.partial(model.SparseCodingBlock, step_size=STEP, penalty=PENALTY),
  decoding=functools.partial(model.SparseDecodingBlock),
)


class Stack(nn.Module):
  """Two blocks of a kind."""

  kind: str
  scan: bool = False
  remat: bool = False

  @nn.compact
  def __call__(self, x, valid=None, **options):
    ways = dict(scan=self.scan, remat=self.remat, block=KINDS[self.kind])
    return transformer(x, valid, depth=2, heads=HEADS, mlp=1, **ways, **options)


def drawn(kind):
  """Tokens, and variables away from where they begin."""
  x = jax.ShapeDtypeStruct((B, N, WIDTH), jnp.float32)
  shapes, rng = jax.eval_shape(Stack(kind).init, jax.random.key(0), x), np.random.default_rng(1)
  draw = lambda leaf: (rng.normal(size=leaf.shape) / 3).astype(np.float32)
  return draw(x), jax.tree.map(draw, shapes)


STEPS = dict(
  coding=lambda *block: coded(*block, HEADS, STEP, PENALTY),
  decoding=lambda *block: uncoded(*block, HEADS),
)


@pytest.fixture(scope="module", params=["coding", "decoding"])
def run(request):
  """What two blocks make of tokens, the last of which is not there, and what stands inside."""
  kind = request.param
  x, variables = drawn(kind)
  valid = np.arange(N) < [[N], [N - 1]]

  @jax.jit
  def every(variables, x):
    plain = Stack(kind).apply(variables, x, valid)
    names = ("*/output", "1/attention", "block_00/attention/projections")
    told = layers.apply(Stack(kind), variables, x, valid, taps=names)
    ways = [Stack(kind, scan=True), Stack(kind, remat=True)]
    return plain, told, [way.apply(variables, x, valid) for way in ways]

  return kind, x, variables["params"], valid, jax.device_get(every(variables, x))


def test_blocks_are_the_steps_in_closed_form(run):
  kind, x, params, valid, (plain, told, _) = run
  double = jax.tree.map(np.float64, params)
  first = STEPS[kind](double["block_00"], x.astype(np.float64), valid)
  second = STEPS[kind](double["block_01"], first, valid)
  there = lambda tree: jax.tree.map(lambda x: x[valid], tree)
  close(there(told.found["0/output"]), there(first), **SUMS)
  close(there(told.found["1/output"]), there(second), **{**SUMS, "depth": 16})
  close(there(plain), there(normed(double["norm"], second, 1e-6)), **{**SUMS, "depth": 16})
  projections = told.found["block_00/attention/projections"]
  assert projections.shape == (B, HEADS, N, WIDTH // HEADS)
  np.testing.assert_allclose(told.found["1/attention"].sum(-1), 1, rtol=1e-5)


def test_codes_are_sparse_and_never_negative_what_is_decoded_is_neither(run):
  kind, *_, (_, told, _) = run
  out = told.found["1/output"]
  zeros = float(task.zero_share(jnp.asarray(out)).mean())
  if kind == "coding":
    assert out.min() == 0
    assert 0.1 < zeros < 0.9
  else:
    assert out.min() < 0
    assert zeros == 0


def test_in_a_loop_and_rematerialised_they_are_the_same(run):
  *_, (plain, _, ways) = run
  for way in ways:
    close(way, plain, **{**SUMS, "depth": 16})


def test_a_step_lowers_what_it_is_a_step_of():
  """Half the squared residual and the codes' cost, of which no code below 0 is allowed."""
  rng = np.random.default_rng(0)
  x, d = np.abs(rng.normal(size=(40, 8))).astype(np.float32), rng.normal(size=(8, 8)) / 3
  price = lambda a: ((x - a @ d.T) ** 2).sum(-1) / 2 + 0.5 * np.abs(a).sum(-1)
  found = np.asarray(model.ista_step(x, jnp.float32(d), step_size=0.1, penalty=0.5))
  assert (price(found) < price(x)).all()


def test_coding_rate_is_of_eigenvalues_and_falls_as_tokens_come_closer():
  """Of tokens in two subspaces: the first example's lie all around, the last one's on a line."""
  x = np.random.default_rng(0).normal(size=(3, 2, 7, 4))
  x[..., 1:] *= np.array([1, 0.1, 0])[:, None, None, None]
  unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
  values = np.linalg.svd(unit, compute_uv=False) ** 2
  expected = 0.5 * np.log(1 + 4 / (7 * 0.01) * values).sum((1, 2))
  found = task.coding_rate(jnp.float32(x * 9))
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert (np.diff(found) < -1).all()


def test_options_that_a_block_does_not_have_are_refused():
  sizes = dict(record_shape=(4, 4, 3), patch=(2, 2), size="mu", block=KINDS["coding"])
  with pytest.raises(BadInput, match="mlp=8 is of a transformer's own block"):
    vit(**sizes, mlp=8)
  with pytest.raises(BadInput, match="not those of SparseCodingBlock"):
    jax.eval_shape(vit(**sizes, layer_scale=0.1).init, jax.random.key(0), np.ones((4, 12), "f"))
  tokens, segments = np.ones((1, 3, 4), "f"), np.zeros((1, 3), int)
  for block in (model.SparseCodingBlock(2), model.SparseDecodingBlock(2)):
    with pytest.raises(BadInput, match="no segments"):
      jax.eval_shape(block.init, jax.random.key(0), tokens, None, segments)
