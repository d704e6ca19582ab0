"""Hiding latents of a given autoencoder, ever more of them: LMD, and the authors' code."""

import functools
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save_file

from maskjax import lab, recover, score, sections, select
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.model import autoencoder, published
from maskjax.record import Record
from maskjax.sections import Lengths
from maskjax.task.base import total
from maskjax.train.checkpoints import export
from maskjax.train.run import plain
from maskjax.train.setup import initial
from maskjax.train.setup.build import make_task
from maskjax.train.state import State
from maskjax.train.step import make_step

KEY = jax.random.key(0)
ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "lmd.safetensors"
CONFIG = lab.load(ROOT / "configs" / "diffusion_mask" / "lmd.py")


def config(depth=1):
  """The config, tiny, on 16 latents each of 2 x 2 pixels, in ten steps."""
  c = CONFIG.get_config()
  c.batch_size, c.total_epochs, c.total_steps = 8, 0.0, 10
  c.over.patch, c.hide.keep, c.target.normalise = (1, 1), None, False
  c.model.encoder.update(width=16, depth=depth, heads=2, dtype="float32")
  c.model.decoder.update(width=8, depth=1, heads=2)
  c = plain(c)
  c["model"]["codec"] = dict(fn="user_package.parts:rotation", frozen=True)
  c["select"] = dict(fn="select.top", ratio=0.75)
  return c


def build(**options):
  """The task of a config."""
  return make_task(config(**options), Record("image", (8, 8, 1), {"train": 8}))


def share_of(section, steps):
  """The ratio that a section of the config says, which moves over so many steps."""
  return sections.argument(section, Lengths(steps, steps)).value


@functools.cache
def tiny():
  """A task, a batch and variables."""
  task, rng = build(), np.random.default_rng(0)
  draw = lambda *shape: jax.device_put(rng.normal(0, 0.3, shape).astype(np.float32))
  batch = {"image": draw(8, 8, 8, 1), "position": jax.device_put(np.arange(8))}
  shapes = jax.eval_shape(task.init, KEY, batch)
  variables = jax.tree.map(lambda leaf: draw(*leaf.shape), shapes)
  turn = jax.device_put(np.linalg.qr(variables["frozen"]["codec"]["turn"])[0])
  return task, batch, {**variables, "frozen": {"codec": {"turn": turn}}}


@functools.cache
def given():
  """What the authors' code answered."""
  found = load_file(GOLDEN)
  return {k.removeprefix("golden."): v for k, v in found.items() if k.startswith("golden.")}


SCHEDULES = ("LINEAR", "PIECES", "COSINE")


@functools.cache
def curves():
  """The share of every step of the authors' run and of 90, and how many of 64 latents it hides."""
  steps = int(given()["steps"])

  @jax.jit
  def run():
    share = lambda section, steps: share_of(section, steps)(jnp.arange(steps))
    drawn = score.uniform(keys(KEY, 8), (64,))
    hide = lambda ratio: select.top(drawn, ratio=ratio).sum(-1)
    found = {}
    for name in SCHEDULES:
      section = getattr(CONFIG, name)
      found[name] = share(section, steps), jax.lax.map(hide, share(section, 90)[::5])
    return found

  return steps, jax.tree.map(np.asarray, run())


def test_the_cosine_share_is_that_of_the_authors_code():
  _, found = curves()
  ours, theirs = found["COSINE"][0], given()["cosine"]
  np.testing.assert_allclose(ours[: len(theirs)], theirs, atol=1e-6)
  np.testing.assert_allclose(ours[len(theirs) :], 0.75, atol=1e-6)


def test_the_pieces_are_those_of_the_authors_code():
  steps, found = curves()
  ours, rise, steeper = found["PIECES"][0], given()["rise"], given()["steeper"]
  np.testing.assert_allclose(ours[: steps // 6], rise, atol=1e-6)
  np.testing.assert_allclose(ours[steps // 6 : steps // 3], 0.4, atol=1e-6)
  np.testing.assert_allclose(ours[steps // 3 : steps * 2 // 3], steeper, atol=1e-6)
  np.testing.assert_allclose(ours[steps * 2 // 3 :], 0.75, atol=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_scheduler_goes_from_easy_to_hard_and_stays_there(name):
  counts = curves()[1][name][1]
  assert (counts == counts[:, :1]).all()
  assert (np.diff(counts[:, 0]) >= 0).all()
  assert counts[0, 0] == round(0.15 * 64)
  assert (counts[12:] == 48).all()
  assert counts[11, 0] < 48


@functools.cache
def found():
  """Views of a batch, the loss, and views by masks of the caller's own, in one program."""
  task, batch, variables = tiny()
  key = stream(KEY, "none")

  @jax.jit
  def run(variables, batch):
    masks = lambda key: select.top(score.uniform(keys(key, batch["position"]), (4, 4)), ratio=0.75)
    asked, other = masks(stream(key, "mask", 0)), masks(stream(KEY, "other"))
    cells = recover.patchify(batch["image"], (2, 2))
    spoilt = recover.unpatchify(jnp.where(other[..., None], 7.0, cells), (2, 2), (4, 4), 1)
    by = lambda x: task.answers["views"](variables, {**batch, "image": x[0]}, KEY, 0, x[1])
    given = jnp.stack([batch["image"], batch["image"], spoilt]), jnp.stack([asked, other, other])
    return {
      "views": task.answers["views"](variables, batch, KEY),
      "hidden": masks(stream(KEY, "mask")),
      "loss": task.loss(variables, batch, key, 0)[0]["recover"],
      "asked": asked,
      "by": jax.lax.map(by, given)["prediction"],
    }

  return jax.tree.map(np.asarray, (batch["image"], run(variables, batch)))


def cut(image):
  """Cells of 2 x 2 pixels, by numpy."""
  return image.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4)


def test_latents_are_hidden_and_come_back_as_pixels():
  image, got = found()
  shown, hidden = got["views"], got["hidden"]
  assert tiny()[0].network.grid == (4, 4)
  np.testing.assert_array_equal(np.isnan(cut(shown["seen"])).all(-1), hidden)
  for name in ("input", "seen", "prediction", "pasted"):
    np.testing.assert_allclose(cut(shown[name])[~hidden], cut(image)[~hidden], atol=1e-5)
  np.testing.assert_array_equal(shown["input"], image)
  gap = cut(shown["prediction"] - image)[hidden]
  np.testing.assert_array_equal(gap, cut(shown["pasted"] - image)[hidden])
  assert np.abs(gap).max() > 1e-3
  # The codec is orthogonal: errors of pixels are errors of latents, which is what is asked.
  loss, asked = got["loss"], got["asked"]
  error = np.square(got["by"][0] - image).sum() / (asked.sum() * 4)
  np.testing.assert_allclose(loss.sum / loss.count, error, rtol=1e-4)


def test_what_is_hidden_of_a_latent_changes_no_prediction():
  _, other, spoilt = found()[1]["by"]
  np.testing.assert_array_equal(other, spoilt)


def test_the_codec_is_no_parameter_and_passes_a_step_untouched():
  task, batch, variables = tiny()
  assert "turn" not in str(jax.tree_util.tree_structure(variables["params"]))
  tx = optax.adamw(1e-2, weight_decay=0.1)
  moments = jax.eval_shape(tx.init, variables["params"])
  state = State(jnp.int32(0), KEY, variables, moments, {})
  traced = jax.jit(make_step(task, tx)).trace(state, batch)
  program, after = traced.jaxpr.jaxpr, traced.out_info
  place = lambda tree: [
    "turn" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  ].index(True)
  assert program.outvars[place(after)] is program.invars[place((state, batch))]


def test_a_codec_encodes_whole_examples():
  with pytest.raises(BadInput, match="no field 'image' to encode"):
    make_task(config(), Record("table", (8, 1), {"train": 8}))
  task, batch, variables = tiny()
  holes = {**batch, "valid": jnp.ones(batch["image"].shape, bool)}
  with pytest.raises(BadInput, match="'image' may be missing"):
    jax.eval_shape(lambda: task.loss(variables, holes, KEY, 0))


def test_a_stage_becomes_the_codec_not_parameters(tmp_path):
  _, _, variables = tiny()
  export.export(
    tmp_path / "codec.safetensors",
    {"params": {"codec": {"turn": 2 * variables["frozen"]["codec"]["turn"]}}},
  )
  data = SimpleNamespace(record=Record("image", (8, 8, 1), {"train": 8}))
  parts = SimpleNamespace(config={}, task=SimpleNamespace(learned=dict), data=data)
  found = initial.given(tmp_path / "codec.safetensors", variables, parts)
  np.testing.assert_array_equal(
    found["frozen"]["codec"]["turn"], 2 * variables["frozen"]["codec"]["turn"]
  )
  for a, b in zip(*(jax.tree.leaves(x["params"]) for x in (found, variables)), strict=True):
    np.testing.assert_array_equal(a, b)


def test_published_weights_become_the_codec(tmp_path):
  vae = {k.removeprefix("vae."): v for k, v in load_file(GOLDEN).items() if k.startswith("vae.")}
  save_file(vae, tmp_path / "vae.safetensors")
  network = autoencoder(record_shape=(8, 8, 3), widths=(4, 8), depth=1, groups=2)
  images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  codec = jax.eval_shape(network.init, KEY, images)["params"]
  variables = {"frozen": {"codec": codec}, "params": {}}
  parts = SimpleNamespace(config={}, task=SimpleNamespace(learned=dict))
  found = initial.given(tmp_path / "vae.safetensors", variables, parts)
  np.testing.assert_array_equal(
    found["frozen"]["codec"]["to_latent"]["bias"], vae["quant_conv.bias"]
  )
  variables["frozen"]["other"] = {}
  with pytest.raises(BadInput, match="is one network, codec, other are frozen"):
    initial.given(tmp_path / "vae.safetensors", variables, parts)


def test_the_authors_network_predicts_the_same_latents_and_has_the_same_loss():
  golden, c = given(), config(depth=2)
  c["over"]["patch"], c["target"]["normalise"], c["let"] = (2, 2), True, {}
  c["answers"] = {}
  del c["model"]["codec"]
  task = make_task(c, Record("image", (8, 8, 4), {"train": 8}))
  batch = {"image": golden["latents"], "position": np.arange(len(golden["latents"]))}
  hidden, batch = jax.device_put((golden["hidden"] == 1, batch))
  variables = jax.eval_shape(task.init, KEY, batch)
  variables, _ = published.load(GOLDEN, variables, patch=(2, 2), grid=(4, 4))

  @jax.jit
  def see(variables, batch):
    told = dict(train=True, keep=6, given={"hidden": hidden})
    run, _ = task.loss.__self__.run(variables, batch, KEY, 0, **told)
    return run.take("prediction", "losses.recover")

  prediction, term = see(variables, batch)
  np.testing.assert_allclose(prediction, golden["prediction"], rtol=2e-4, atol=5e-5)
  np.testing.assert_allclose(total({"recover": term}, {}), golden["loss"], rtol=1e-4)


def test_the_papers_model_has_the_authors_parameters():
  assert CONFIG.NOTE["scale"]["parameters"] == int(given()["parameters_of_base"])
