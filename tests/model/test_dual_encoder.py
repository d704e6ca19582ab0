"""The dual encoder: what the authors' own code answers, and what neither side may see."""

import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file

from maskjax.errors import BadInput
from maskjax.model import dual_encoder
from maskjax.recover import info_nce, patchify
from maskjax.recover.contrastive import unit

STORED = load_file(pathlib.Path(__file__).parents[1] / "golden" / "flip.safetensors")
GOLDEN = {k.removeprefix("golden."): v for k, v in STORED.items() if k.startswith("golden.")}
SIZES = dict(
  record_shape=(8, 8, 3), patch=(2, 2), vocabulary=11, caption=5, width=16, depth=2, heads=2,
  text_width=12, text_depth=2, text_heads=2, shared=6,
)  # fmt: skip
NETWORK = dual_encoder(**SIZES)
PATCHES = patchify(jnp.asarray(GOLDEN["image"]), (2, 2))
HIDDEN = jnp.asarray(GOLDEN["hidden"] == 1)
TEXT = jnp.asarray(GOLDEN["txt"])
SIDES = {"encoder": "img_encoder", "text": "txt_encoder"}
TOPS = {"log_scale": "logit_scale", "project_image": "img_mlp1", "project_text": "txt_mlp1"}
PARTS = {
  "class_token": "cls",
  "position": "posembed_encoder/pos_embedding",
  "norm": "Transformer/encoder_norm",
  "norm1": "LayerNorm_0",
  "norm2": "LayerNorm_1",
  "mlp": "MlpBlock_0",
  "up": "Dense_0",
  "down": "Dense_1",
  "attention": "MultiHeadDotProductAttention_0",
}


def public(name):
  """The authors' name of a parameter of ours."""
  side, *rest = name.split("/")
  if side in TOPS:
    return "/".join([TOPS[side], *rest])
  embed = {"embed": {"encoder": "embedding", "text": "token_embedding"}[side]}
  words = [{**PARTS, **embed}.get(part, part) for part in rest]
  return "/".join([SIDES[side], *words]).replace("/block_", "/Transformer/encoderblock_")


def theirs(name, like):
  """The authors' values of a parameter of ours."""
  if "qkv" in name:
    parts = [STORED[public(name.replace("qkv", part))] for part in ("query", "key", "value")]
    return np.concatenate(parts, axis=-1)
  return STORED[public(name)].reshape(like.shape)


@pytest.fixture(scope="module")
def variables():
  nothing = jnp.zeros_like(HIDDEN)
  made = NETWORK.init(jax.random.key(0), PATCHES, nothing, TEXT, keep=16)
  flat = flatten_dict(made["params"], sep="/")
  params = {name: jnp.asarray(theirs(name, value)) for name, value in flat.items()}
  return {**made, "params": unflatten_dict(params, sep="/")}


@jax.jit
def cost(params, buffers):
  """The mean loss of the batch with the authors' masks."""
  variables = {"params": params, "buffers": buffers}
  a, b = NETWORK.apply(variables, PATCHES, HIDDEN, TEXT, keep=8, exact=True)
  temperature = NETWORK.apply(variables, method="sharpness")
  term = info_nce(a, b, temperature=temperature)
  return term.sum / term.count


def test_places_are_those_of_the_authors_code(variables):
  image = NETWORK.apply(variables, PATCHES, method="encode")["shared"]
  np.testing.assert_allclose(image, GOLDEN["z_img"], atol=2e-5)
  text = NETWORK.apply(variables, TEXT, method="read")
  np.testing.assert_allclose(unit(text), GOLDEN["z_txt"], atol=2e-5)
  np.testing.assert_allclose(
    NETWORK.apply(variables, method="sharpness"), GOLDEN["tau"][0], rtol=1e-6
  )


def test_the_loss_and_its_slopes_are_those_of_the_authors_code(variables):
  loss, slope = jax.value_and_grad(cost)(variables["params"], variables["buffers"])
  np.testing.assert_allclose(loss, GOLDEN["loss"][0], rtol=1e-5)
  flat = {public(k): v for k, v in flatten_dict(slope, sep="/").items()}
  for name in ("img_encoder/embedding/kernel", "txt_encoder/token_embedding/embedding"):
    want = GOLDEN[f"slope.{name}"]
    np.testing.assert_allclose(flat[name].reshape(want.shape), want, atol=2e-5)
  np.testing.assert_allclose(flat["logit_scale"], GOLDEN["slope.logit_scale"][0], rtol=1e-4)


def test_the_paper_counts_as_many_parameters():
  network = dual_encoder(
    record_shape=(224, 224, 3), patch=(16, 16), vocabulary=30_523, caption=32, size="L",
    text_width=768, text_depth=12, text_heads=12, shared=768,
  )  # fmt: skip
  some = jnp.zeros((1, 196, 768)), jnp.zeros((1, 196), bool), jnp.zeros((1, 32), int)
  made = jax.eval_shape(lambda: network.init(jax.random.key(0), *some, keep=196))
  found = sum(x.size for x in jax.tree.leaves(made["params"]))
  assert found == GOLDEN["parameters_of_large"][0]


def test_what_is_hidden_is_not_seen(variables):
  look = jax.jit(partial(NETWORK.apply, method="look", keep=10))
  broken = jnp.where(HIDDEN[..., None], jnp.nan, PATCHES)
  padded = look(variables, PATCHES, HIDDEN)
  np.testing.assert_array_equal(look(variables, broken, HIDDEN), padded)
  exact = NETWORK.apply(variables, PATCHES, HIDDEN, keep=8, exact=True, method="look")
  np.testing.assert_allclose(padded, exact, atol=1e-5)
  features = NETWORK.apply(variables, broken, valid=~HIDDEN, method="encode")
  np.testing.assert_allclose(features["shared"], unit(exact), atol=1e-5)


@pytest.mark.parametrize("pool", ["first", "mean"])
def test_padding_of_captions_is_not_seen(variables, pool):
  network = NETWORK.clone(pool=pool)
  short = TEXT.at[:, 3:].set(-1)
  got = network.apply(variables, short, method="read")
  np.testing.assert_allclose(got, network.apply(variables, TEXT[:, :3], method="read"), atol=1e-5)
  assert np.abs(got - network.apply(variables, TEXT, method="read")).max() > 1e-3


def test_the_temperature_stays_above_a_hundredth(variables):
  for log_scale, expected in ((9.0, 0.01), (-1.0, 1.0), (0.7, np.exp(-0.7))):
    params = {**variables["params"], "log_scale": jnp.float32(log_scale)}
    got = NETWORK.apply({**variables, "params": params}, method="sharpness")
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
  ("given", "says"),
  [
    (dict(pool="last"), "unknown pool"),
    (dict(text_heads=5), "text_width 12 is not divisible by 5 heads"),
    (dict(temperature=2.0), "the first temperature lies in"),
  ],
)
def test_what_cannot_work_is_said(given, says):
  with pytest.raises(BadInput, match=says):
    dual_encoder(**{**SIZES, **given})


def test_data_without_captions_have_no_reader():
  network = dual_encoder(**{**SIZES, "caption": 0})
  made = jax.eval_shape(lambda: network.init(jax.random.key(0), PATCHES, HIDDEN, keep=8))
  assert sorted(made["params"]) == ["encoder", "log_scale", "project_image"]
  with pytest.raises(BadInput, match="no encoder of texts"):
    network.apply(made, TEXT, method="read")
