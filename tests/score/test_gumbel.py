"""Gumbel top-k against the exact probabilities of drawing without replacement."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.keys import keys
from maskjax.score import gumbel
from maskjax.select import top

LOGITS = np.array([0.0, 1.0, -0.5, 2.0], np.float32)
DRAWS = 20_000
KEYS = jax.jit(lambda key: keys(key, DRAWS))(jax.random.key(0))
noisy = jax.jit(gumbel)


def softmax(x):
  p = np.exp(x - x.max())
  return p / p.sum()


def chi_square(counts, probability):
  expected = probability * counts.sum()
  return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_first_is_a_draw_from_the_softmax(temperature):
  first = np.argmax(noisy(KEYS, LOGITS, temperature=np.float32(temperature)), axis=-1)
  counts = np.bincount(first, minlength=4)
  # 0.1 % point of chi-square with 3 degrees of freedom.
  assert chi_square(counts, softmax(LOGITS / np.float32(temperature))) < 16.27


def test_the_first_two_are_draws_without_replacement():
  hidden = np.asarray(jax.jit(lambda k: top(gumbel(k, jnp.asarray(LOGITS)), count=2))(KEYS))
  p = softmax(LOGITS)
  pairs = list(itertools.combinations(range(4), 2))
  exact = np.array([p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for i, j in pairs])
  np.testing.assert_allclose(exact.sum(), 1, rtol=1e-6)
  counts = np.array([(hidden[:, i] & hidden[:, j]).sum() for i, j in pairs])
  assert counts.sum() == DRAWS
  # 0.1 % point of chi-square with 5 degrees of freedom.
  assert chi_square(counts, exact) < 20.52


def test_what_cannot_be_drawn_is_hidden_after_all_that_can():
  logits = jnp.array([0.0, -jnp.inf, 0.0, jnp.nan])
  hide = jax.jit(lambda k: [top(gumbel(k[:50], logits), count=count) for count in (2, 3)])
  two, three = map(np.asarray, hide(KEYS))
  assert two[:, [0, 2]].all()
  assert not three[:, 3].any()


def test_draws_are_float32_and_each_example_has_its_own():
  zeros = lambda k: (gumbel(k[:16], jnp.zeros((16, 3), jnp.bfloat16)), gumbel(k[3], jnp.zeros(3)))
  scores, alone = jax.device_get(jax.jit(zeros)(KEYS))
  assert scores.dtype == jnp.float32
  assert len(np.unique(scores)) == 48
  np.testing.assert_array_equal(alone, scores[3])


def test_the_tail_is_longer_than_float32_of_few_bits_reaches():
  # -log(-log u) of u on a grid of 2⁻²³ ends at 15.94; of 2²⁴ draws about half pass 16.6.
  # Here the arithmetic costs more than the compilation.
  options = {"xla_backend_optimization_level": 2}
  largest = lambda k: jnp.max(gumbel(k[:8], jnp.zeros(2**22)))
  scores = jax.jit(largest, compiler_options=options)(KEYS)
  assert scores.max() > 16


def test_a_temperature_of_an_example_is_its_own():

  @jax.jit
  def draw(k):
    both = gumbel(k[:2], jnp.asarray(LOGITS), temperature=jnp.array([1.0, 2.0]))
    alone = gumbel(k[1], jnp.asarray(LOGITS), temperature=2.0)
    return both, jnp.stack([gumbel(k[0], jnp.asarray(LOGITS)), alone])

  np.testing.assert_array_equal(*draw(KEYS))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_0_is_refused(temperature):
  with pytest.raises(BadInput, match=f"must be above 0, got {temperature}"):
    gumbel(jax.random.key(0), jnp.zeros(3), temperature=temperature)
