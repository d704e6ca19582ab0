"""Pages say what is there: generated parts, links, commands, code."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maskjax import lab, pages
from maskjax.errors import BadInput

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(p for p in ROOT.rglob("*.md") if not any(q.startswith(".") for q in p.parts[1:]))
PAGES = [p for p in PAGES if p.is_relative_to(ROOT) and "egg-info" not in str(p)]


def named(page):
  return page.relative_to(ROOT).as_posix()


def test_generated_parts_are_those_of_the_configs():
  for path, text in pages.pages(ROOT).items():
    assert path.read_text(encoding="utf-8") == text, (
      f"{named(path)}: python -m maskjax.pages --write"
    )


def test_a_part_that_is_not_there_is_refused():
  with pytest.raises(BadInput, match="lacks its part 'methods'"):
    pages.fill("no markers", "methods", "")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
  text = page.read_text(encoding="utf-8")
  for target in re.findall(r"\]\(([^)\s]+)\)", text):
    path, _, heading = target.partition("#")
    if "://" in path:
      continue
    assert not path or (page.parent / path).exists(), target
    if heading and not path:
      titles = [t.lower().replace(" ", "-") for t in re.findall(r"^#+ (.*)$", text, re.M)]
      assert heading in titles, target


def commands(text):
  """What follows `launch.py` in a page: config and changes."""
  for line in text.replace("\\\n", " ").splitlines():
    place = re.search(r"(?:launch\.py|maskjax)\b.*?--config=([^\s…]+)", line)
    if place:
      pairs = re.findall(r"--config\.([\w.]+)=('[^']*'|\S+)", line)
      yield place[1], [f"{key}={value.strip(chr(39))}" for key, value in pairs]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_name_configs_presets_and_fields(page, monkeypatch):
  monkeypatch.chdir(ROOT)
  for place, changes in commands(page.read_text(encoding="utf-8")):
    lab.assigned(lab.read(place), changes)


def test_a_command_that_names_no_preset_is_found(monkeypatch):
  monkeypatch.chdir(ROOT)
  ((place, _),) = commands("python launch.py --config=configs/image_mim/mae.py:labtop")
  with pytest.raises(BadInput, match="did you mean 'laptop'"):
    lab.read(place)


def code(page, word):
  blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
  return next(c for c in blocks if word in c)


def test_the_grammar_in_ten_lines_and_a_loop_of_ones_own_run():
  ten = code("README.md", "score.uniform(keys")
  assert len(ten.strip().splitlines()) <= 14
  names = {}
  exec(ten, names)
  assert names["hidden"].sum(-1).tolist() == [147] * 8
  assert names["seen"].values.shape == (8, 49, 768)
  assert int(names["term"].count) == 8 * 147
  own = code("README.md", "def step(")
  names = {}
  exec(own, names)  # whole, by itself
  zeros = jax.tree.map(jnp.zeros_like, names["params"])
  given = zeros, names["tx"].init(zeros), names["images"], jax.random.key(0)
  assert names["value"] < names["step"](*given)[2]


def test_pruning_in_ten_lines_runs():
  text = code("configs/weight_mask/README.md", "weights.hold").replace("1000", "4")
  assert len([line for line in text.splitlines() if line.strip()]) <= 10
  kernel = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5)), jnp.float32)
  names = {"params": {"kernel": kernel, "bias": jnp.ones(5)}}
  exec(text, names)

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


def test_its_two_commands_are_those_of_ci():
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  lines = [line.split(" && ") for line in text.splitlines() if line.startswith("pip install")]
  ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
  assert len(lines) == 2
  for install, run in lines:
    assert install.removeprefix("pip install ") in ci
    assert run.split(" --workdir")[0] in ci


def test_the_readme_is_read_to_the_end():
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  assert len(text.splitlines()) <= 180
  assert len(text.split()) <= 1300
