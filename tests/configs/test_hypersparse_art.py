"""HyperSparse (Glandorf et al. 2023): what the penalty pulls at, what is pruned and stays so."""

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from maskjax import lab
from maskjax.sections import Lengths, argument
from maskjax.task.base import Aux
from maskjax.train.setup.build import make_task, run_lengths
from maskjax.train.setup.penalty import penalized

NAME = "hypersparse_art"


def flat(tree):
  """The leaves by name."""
  return {name: np.asarray(x) for name, x in flatten_dict(tree, sep="/").items()}


def vector(leaves):
  """All kernels, first layer and classifier too, as one."""
  return np.concatenate([x.ravel() for name, x in leaves.items() if name.endswith("kernel")])


def test_small_weights_of_all_layers_are_pulled_more_and_more_and_large_ones_are_not(built):
  made, params = built(NAME, "laptop"), built(NAME, "laptop").variables["params"]
  section = lab.read(f"{NAME}:laptop").stages.regularized.penalty.to_dict()
  whole = make_task({**made.config, "penalty": section}, made.record).loss
  terms, _ = jax.eval_shape(whole, made.variables, made.batch, jax.random.key(0), 0)
  assert set(terms) == {"recover", "penalty"}
  # Without the network, of which the penalty asks nothing.
  nothing = made.task._replace(loss=lambda *_: ({}, Aux()))
  alone = penalized(nothing, section, run_lengths(made.config, made.record)).loss
  value = lambda params, step: alone({"params": params}, {}, None, step)[0]["penalty"].sum
  values, slopes = [], []
  run = jax.jit(jax.value_and_grad(value))
  for step in (0, made.total_steps):
    found = jax.device_get(run(params, np.int32(step)))
    values.append(found[0])
    slopes.append(flat(found[1]))
  assert values == [0, 0]
  size, ratio = np.abs(vector(flat(params))).astype(np.float64), section["ratio"]
  assert ratio == 0.98
  s = np.arctanh(3**-0.5) / np.sort(size)[int(ratio * len(size))]
  wanted = size.sum() / np.tanh(s * size).sum() * s / np.cosh(s * size) ** 2
  assert wanted.max() > 3 * wanted.min()
  for own, end in zip(slopes, ("start", "end"), strict=True):
    strength = section["scale"][end]
    np.testing.assert_allclose(np.abs(vector(own)), strength * wanted, rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(np.sign(vector(own)), np.sign(vector(flat(params))))
    assert all((x == 0).all() for name, x in own.items() if not name.endswith("kernel"))


def test_strength_grows_by_a_twentieth_an_epoch_and_the_rate_stays():
  c = lab.read(NAME).stages.regularized
  epoch = 50_000 / c.batch_size
  lengths = Lengths(round(c.total_epochs * epoch), epoch)
  strength = argument(c.penalty.scale.to_dict(), lengths).value
  found = [float(strength(np.int32(round(i * epoch)))) for i in (0, 1, 150)]
  np.testing.assert_allclose(found, 5e-6 * 1.05 ** np.array([0, 1, 150]), rtol=1e-3)
  assert (c.optimizer.schedule, c.stages.dense.optimizer.schedule) == ("constant", "constant")


def test_the_smallest_weights_of_all_layers_are_hidden_from_before_the_first_step(built):
  made = built(NAME, "laptop")
  begun = {name: np.abs(x) for name, x in flat(made.variables["params"]).items()}
  size = vector(begun)
  wanted = np.zeros(len(size), bool)
  wanted[np.argsort(size, kind="stable")[: int(0.98 * len(size))]] = True
  after = flat(made.trained.state.variables["params"])
  held = flat(made.trained.held)
  for i in range(3):
    hidden = {name: x[i] for name, x in held.items() if x.ndim}
    np.testing.assert_array_equal(vector(hidden), wanted)
  last = vector(after)
  assert (last[wanted] == 0).all()
  assert (last[~wanted] != vector(flat(made.variables["params"]))[~wanted]).mean() > 0.9
  # One threshold for all: layers with large weights keep more.
  shares = [x[0].mean() for name, x in held.items() if name.endswith("kernel")]
  assert np.ptp(shares) > 0.05


def test_the_run_with_the_penalty_is_asked_about_the_mask_that_follows():
  for preset in ("", ":laptop", ":l1", ":one_shot"):
    c = lab.read(NAME + preset)
    regularized = c.stages.regularized
    pruned = regularized.evals.pruned
    assert pruned.masks == c.hold.within
    assert pruned.where == c.hold.where
    assert (pruned.split, regularized.until.mean_of) == ("train", 3)
    kind = {":l1": "weights.l1_penalty", ":one_shot": None}.get(preset, "weights.tanh_penalty")
    assert (regularized.penalty and regularized.penalty.fn) == kind
    if kind:
      assert regularized.penalty.where == c.hold.where
    if kind == "weights.tanh_penalty":
      assert regularized.penalty.ratio == pruned.masks.select.ratio
    assert (c.init_from, regularized.init_from) == ("stages/regularized", "stages/dense")


def test_norms_and_biases_decay_as_in_the_public_code(built):
  assert all(jax.tree.leaves(built(NAME).optimizer.decays))
  c = lab.read(NAME)
  rules = c.optimizer.decay_rules
  assert c.stages.regularized.optimizer.decay_rules == rules
  assert c.stages.regularized.stages.dense.optimizer.decay_rules == rules
