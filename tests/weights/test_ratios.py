"""Rules of layer ratios: what each says of the shapes of a ResNet, and that budgets are met."""

import math

import numpy as np
import pytest

from maskjax import weights
from maskjax.errors import BadInput

# In the order of depth: a stem, three convolutions, a head.
SHAPES = {"z": (3, 3, 3, 16), "a": (3, 3, 16, 16), "b": (3, 3, 16, 32), "c": (3, 3, 32, 64)}
SHAPES["h"] = (64, 10)
SIZES = np.array([math.prod(shape) for shape in SHAPES.values()])
RULES = {
  "uniform": weights.uniform,
  "erk": weights.erk,
  "balanced": weights.balanced,
  "pyramidal": lambda shapes, density: weights.pyramidal(
    shapes, density=density, order=("z", "a|b|c", "h")
  ),
}


def found(rule, density):
  """The densities as an array in the order of depth."""
  got = RULES[rule](SHAPES, density=density)
  assert list(got) == list(SHAPES)
  return np.array(list(got.values()))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("density", [0.0, 0.05, 0.2, 0.5, 0.93, 1.0])
def test_every_rule_meets_its_budget_and_gives_no_layer_more_than_it_has(rule, density):
  got = found(rule, density)
  assert (got >= 0).all()
  assert (got <= 1).all()
  np.testing.assert_allclose(got @ SIZES, density * SIZES.sum(), rtol=1e-12)


@pytest.mark.parametrize("density", [0.02, 0.05, 0.2, 0.5])
def test_the_shares_are_those_of_the_papers(density):
  sums = np.array([sum(shape) for shape in SHAPES.values()])
  kept = {rule: found(rule, density) * SIZES for rule in RULES}
  np.testing.assert_allclose(kept["uniform"] / SIZES, density)
  for rule, wanted in (("erk", sums), ("balanced", np.ones(5))):
    open_ = kept[rule] < SIZES  # the others are dense
    ratio = kept[rule][open_] / wanted[open_]
    np.testing.assert_allclose(ratio, ratio[0])
    # A dense layer would have had more than it has at the scale of the others.
    assert (ratio[0] * wanted[~open_] >= SIZES[~open_]).all()
  shares = found("pyramidal", density)
  np.testing.assert_allclose(shares, shares[0] ** np.arange(1, 6))
  # Only uniform ratios are uniform.
  assert all(np.ptp(found(rule, density)) > 0.1 for rule in RULES if rule != "uniform")


def test_layers_are_dense_where_the_others_are_solved_again():
  assert (found("erk", 0.2) == 1).tolist() == [True, False, False, False, True]
  assert (found("balanced", 0.5) == 1).tolist() == [True, True, True, False, True]


def test_what_cannot_be_is_named():
  for rule in (*list(RULES.values())[:3], weights.pyramidal):
    with pytest.raises(BadInput, match="density must lie in"):
      rule(SHAPES, density=-0.1)
  with pytest.raises(BadInput, match="layer for the order of layers 'h'"):
    weights.pyramidal(SHAPES, density=0.5, order=("z", "a|b|c"))
