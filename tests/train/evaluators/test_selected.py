"""Where the free weights lie, against counting by hand."""

import types
from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest

from maskjax import select, weights
from maskjax.errors import BadInput
from maskjax.train.evaluators import selected
from maskjax.train.mesh.mesh import make_mesh

PARAMS = {
  "body": {"a": {"kernel": jnp.array([[9.0, 1.0], [2.0, 3.0]]), "bias": jnp.array([8.0, 0.0])}},
  "tail": {"kernel": jnp.array([7.0, 4.0])},
  "head": jnp.ones(5),
}
SQUARES = {
  "body": {"a": {"kernel": jnp.array([[6.0, 0.0], [5.0, 0.0]]), "bias": jnp.array([0.0, 4.0])}},
  "tail": {"kernel": jnp.array([3.0, 0.0])},
  "head": jnp.ones(5),
}
WHERE = {"body": {"a": {"kernel": True, "bias": True}}, "tail": {"kernel": True}, "head": False}


def measured(**options):
  tx = weights.update_only(
    optax.sgd(0.1), score=weights.fisher, select=partial(select.top, ratio=0.5), where=WHERE
  )
  moments = jax.jit(tx.init)(PARAMS, squared_gradients=SQUARES)
  context = types.SimpleNamespace(variables={"params": PARAMS}, opt_state=moments, mesh=make_mesh())
  return selected(context, **options)


def test_shares_and_overlap_are_those_of_the_free_weights():
  # Free: 9, 2, the bias of 0 and 7; the four largest with a mask: 9, 8, 7 and 4.
  assert measured() == {
    "share": 0.5,
    "overlap": 0.5,
    "where/body/a": 0.75,
    "density/body/a": 0.5,
    "where/tail/kernel": 0.25,
    "density/tail/kernel": 0.5,
  }
  assert set(measured(depth=1)) == {
    "share", "overlap", "where/body", "density/body", "where/tail", "density/tail",
  }  # fmt: skip


def test_an_optimiser_without_masks_is_refused():
  context = types.SimpleNamespace(
    variables={"params": PARAMS}, opt_state=optax.sgd(0.1).init(PARAMS), mesh=make_mesh()
  )
  with pytest.raises(BadInput, match="with hold"):
    selected(context)
