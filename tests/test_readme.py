"""The README does what it says."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maskjax import catalogue

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_grammar_in_ten_lines_runs():
  code = next(c for c in re.findall(r"```python\n(.*?)```", TEXT, re.S) if "import maskjax" in c)
  assert len(code.strip().splitlines()) <= 14
  names = {}
  exec(code, names)
  assert names["hidden"].sum(-1).tolist() == [147] * 8
  assert names["seen"].values.shape == (8, 49, 768)
  assert int(names["term"].count) == 8 * 147


def test_pruning_in_ten_lines_runs():
  blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
  code = next(c for c in blocks if "weights.hold" in c).replace("1000", "4")
  assert len([line for line in code.splitlines() if line.strip()]) <= 10
  kernel = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5)), jnp.float32)
  names = {"params": {"kernel": kernel, "bias": jnp.ones(5)}}
  exec(code, names)

  @jax.jit
  def steps(params, state):
    for _ in range(4):
      updates, state = names["tx"].update(jax.tree.map(jnp.ones_like, params), state, params)
      params = optax.apply_updates(params, updates)
    return params

  @jax.jit
  def one_of_two_four(params):
    tx = names["two_four"]
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    return optax.apply_updates(params, updates)

  params = jax.device_get(steps(names["params"], names["state"]))
  assert int((params["kernel"] == 0).sum()) == 36
  assert (params["bias"] != 0).all()
  kept = jax.device_get(one_of_two_four(names["params"]))["kernel"] != 0
  assert (kept.reshape(2, 4, 5).sum(1) == 2).all()


def test_its_table_is_the_list_of_methods(monkeypatch):
  monkeypatch.chdir(ROOT)
  assert catalogue.markdown(catalogue.entries(ROOT / "configs")) in TEXT


def test_its_two_commands_are_those_of_ci():
  commands = [line.split(" && ") for line in TEXT.splitlines() if line.startswith("pip install")]
  ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
  for install, run in commands:
    assert install.removeprefix("pip install ") in ci
    assert run.split(" --workdir")[0] in ci


def test_its_pictures_are_there():
  for path in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", TEXT):
    assert (ROOT / path).is_file(), path
