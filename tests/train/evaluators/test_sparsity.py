"""Shares of zeros against counting by hand."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.train.evaluators import sparsity
from maskjax.train.mesh.mesh import make_mesh

DENSE = {"bias": jnp.zeros(4), "kernel": jnp.arange(1.0, 33.0).reshape(8, 4)}


def measured(params, **options):
  """The evaluator's figures of these parameters."""
  task = types.SimpleNamespace(final=lambda variables: variables)
  context = types.SimpleNamespace(variables={"params": params}, mesh=make_mesh(), task=task)
  return sparsity(context, **options)


def test_a_dense_net_has_no_masked_weights_whatever_its_biases():
  assert measured(DENSE) == {"total": 0.0, "whole": 0.0}


def test_zeros_count_in_masked_leaves_and_in_all():
  pruned = DENSE["kernel"].at[:6].set(0)
  got = measured({**DENSE, "pruned": pruned})
  assert got == {"total": 24 / 32, "whole": 24 / (4 + 32 + 32)}


@pytest.mark.parametrize(("broken", "share"), [(0, 1.0), (1, 7 / 8)])
def test_groups_run_along_the_inputs_and_one_that_is_too_full_is_seen(broken, share):
  keep = np.tile([True, False, True, False], 2)[:, None] & np.ones((8, 4), bool)
  keep[1, :broken] = True  # a third weight in the first group of the first output
  kernel = jnp.where(keep, DENSE["kernel"], 0)
  assert measured({"kernel": kernel}, group=(2, 4))["groups"] == share
  if not broken:  # along the other axis whole rows are full
    assert measured({"kernel": kernel.reshape(4, 8).T}, group=(2, 4))["groups"] < 1


def test_layers_are_told_by_name():
  params = {"a": {"kernel": jnp.eye(4)}, "b": DENSE}
  assert measured(params, layers=True)["layer/a/kernel"] == 12 / 16
  assert set(measured(params, layers=True)) == {"total", "whole", "layer/a/kernel"}
