"""Rules on parameter names, layer-wise decay against its formula, and the table of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskjax.errors import BadInput
from maskjax.train.optimizers import rules


def encoder(blocks=3):
  block = {"norm1": {"scale": jnp.ones(4)}, "mlp": {"up": {"kernel": jnp.ones((4, 8))}}}
  return {
    "encoder": {
      "embed": {"kernel": jnp.ones((5, 4)), "bias": jnp.zeros(4)},
      "class_token": jnp.zeros((1, 1, 4)),
      "norm": {"scale": jnp.ones(4)},
      **{f"block_{i:02d}": block for i in range(blocks)},
    },
    "head": {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2)},
  }


def by_name(tree, values):
  return dict(zip(jax.tree.leaves(rules.names(tree)), jax.tree.leaves(values), strict=True))


def test_names_keep_the_structure():
  params = encoder()
  assert jax.tree.structure(rules.names(params)) == jax.tree.structure(params)
  assert rules.names(params)["encoder"]["block_01"]["mlp"]["up"]["kernel"] == (
    "encoder/block_01/mlp/up/kernel"
  )


@given(st.permutations([("bias$", 1.0), ("encoder", 2.0), ("kernel", 3.0)]))
@settings(deadline=None, max_examples=10)
def test_the_first_rule_that_matches_wins(order):
  params = encoder()
  values = by_name(params, rules.match(params, order, default=0.0).values)
  for name, value in values.items():
    first = [v for pattern, v in order if pattern.strip("$") in name]
    assert value == (first[0] if first else 0.0)


def test_the_report_counts_every_parameter_once():
  params = encoder()
  report = rules.match(params, [("bias", 0.0), ("head", 0.5), ("head/bias", 9.0)], default=1).report
  assert report == (
    "'bias' = 0.0 → 6 parameters, 2 leaves",
    "'head' = 0.5 → 8 parameters, 1 leaves",
    "'head/bias' = 9.0 → 0 parameters, 0 leaves",
    "otherwise 1 → 136 parameters, 9 leaves",
  )
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 6 + 8 + 136


def test_abstract_parameters_match_too():
  shapes = jax.eval_shape(encoder)
  assert rules.match(shapes, [("head", 2)], default=1) == (
    rules.match(encoder(), [("head", 2)], default=1)
  )


@pytest.mark.parametrize(
  ("rule", "message"),
  [
    (("encoder/embd", 0), "'encoder/embd' matches no parameter .nearest: encoder/embed/"),
    (("^bias$", 0), "matches no parameter"),
    (("(", 0), "no rule .*regular expression"),
    (("head",), "no rule"),
    ((3, 0), "no rule"),
    (7, "no rule"),
  ],
)
def test_bad_rules(rule, message):
  with pytest.raises(BadInput, match=message) as error:
    rules.match(encoder(), [rule], default=1)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("blocks", [1, 3, 12])
def test_layerwise_by_hand(blocks):
  params = encoder(blocks)
  values = by_name(params, rules.layerwise(params, 0.75).values)
  for name, value in values.items():
    if "embed" in name or "token" in name:
      layer = 0
    elif "block_" in name:
      layer = int(name.split("block_")[1][:2]) + 1
    else:
      layer = blocks + 1
    np.testing.assert_allclose(value, 0.75 ** (blocks + 1 - layer), rtol=1e-12)


def test_layerwise_of_vit_base():
  params = encoder(12)
  values = by_name(params, rules.layerwise(params, 0.65).values)
  assert values["head/kernel"] == values["encoder/norm/scale"] == 1
  assert values["encoder/block_11/norm1/scale"] == 0.65
  np.testing.assert_allclose(values["encoder/block_00/norm1/scale"], 0.65**12)
  np.testing.assert_allclose(values["encoder/class_token"], 0.65**13)


def test_layerwise_report():
  report = rules.layerwise(encoder(2), 0.5).report
  assert report == (
    "embeddings = 0.125 → 3 leaves",
    "block 0 = 0.25 → 2 leaves",
    "block 1 = 0.5 → 2 leaves",
    "rest = 1 → 3 leaves",
  )


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"layers": r"blok_(\d+)"}, "matches no parameter"),
    ({"layers": r"block_\d+"}, "needs one group"),
    ({"layers": r"(block)_\d+"}, "finds no number"),
    ({"embeddings": "nowhere"}, "'nowhere' matches no parameter"),
  ],
)
def test_bad_layers(options, message):
  with pytest.raises(BadInput, match=message):
    rules.layerwise(encoder(), 0.5, **options)


def test_without_embeddings():
  values = rules.layerwise({"block_0": 0.0, "embed": 0.0}, 0.5, embeddings=None).values
  assert values == {"block_0": 0.5, "embed": 1.0}


def test_overview_against_numpy():
  kernel = np.random.default_rng(0).normal(2, 3, (7, 5)).astype(np.float32)
  lines = rules.overview({"a": {"kernel": kernel}, "b": jnp.zeros(1200, jnp.bfloat16)}).split("\n")
  expected = [
    "a/kernel",
    "(7,",
    "5)",
    "float32",
    "35",
    f"{kernel.mean():.3g}",
    f"{kernel.std():.3g}",
  ]
  assert lines[1].split() == expected
  assert lines[2].split() == ["b", "(1200,)", "bfloat16", "1,200", "0", "0"]
  assert lines[3].split() == ["total", "1,235"]
  assert len(lines) == 4


def test_overview_of_shapes_and_of_nothing():
  assert rules.overview(jax.eval_shape(encoder)).split("\n")[-1].split() == ["total", "150"]
  assert rules.overview({}).split() == [
    "name",
    "shape",
    "dtype",
    "count",
    "mean",
    "std",
    "total",
    "0",
  ]
