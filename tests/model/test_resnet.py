"""Residual networks: the published sizes, the plain function, and what hidden pixels may reach."""

import functools
import math
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model.resnet import GroupNorm, resnet

close = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "closeness.py"))["close"]
KINDS = {
  "cifar": dict(depth=8, width=4, stages=(1, 1)),
  "basic": dict(depth=18, width=4, stages=(1, 1), stem="small"),
  "bottleneck": dict(depth=50, width=2, stages=(2, 1), stem="imagenet"),
  "group": dict(depth=8, width=4, stages=(1, 1), norm="group"),
  "preact": dict(depth=8, width=4, stages=(1, 1), preact=True, project=True),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
# Convolutions one after the other, with the norms between them, each over a window of channels.
SUMS = dict(depth=16, terms=9 * 16)


def images(shape=(8, 10, 2), b=3, seed=0):
  return np.random.default_rng(seed).normal(size=(b, *shape)).astype(np.float32)


def build(image, stages=(), **options):
  """A network with 5 classes, every weight and statistic drawn; `stages` makes it less deep."""
  network = resnet(record_shape=image.shape[-3:], classes=5, **options)
  if stages:
    network = network.clone(encoder=network.encoder.clone(stages=stages))
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    x = rng.normal(size=leaf.shape)
    name = path[-1].key
    return np.float32({"scale": 1 + x / 4, "var": np.exp(x / 4), "kernel": x / 3}.get(name, x / 4))

  shapes = jax.eval_shape(network.init, jax.random.key(0), image)
  return network, jax.tree_util.tree_map_with_path(draw, shapes)


def size(record_shape, classes, **options):
  network = resnet(record_shape=record_shape, classes=classes, **options)
  image = jax.ShapeDtypeStruct((1, *record_shape), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), image)
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize(
  ("depth", "count"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)]
)
def test_torchvisions_parameter_counts(depth, count):
  assert size((224, 224, 3), 1000, depth=depth) == count


# He et al., table 6, with shortcuts that do not project: 0.27 million of 20 layers (below), 0.46 of
# 32, from which the rest of the table follows: it is linear.
def test_parameter_counts_of_the_paper_on_cifar():
  assert f"{size((32, 32, 3), 10, depth=32) / 1e6:.2f}" == "0.46"


def test_resnet_20_with_and_without_projections():
  counts = [size((32, 32, 3), 10, depth=20, project=project) for project in (False, True)]
  assert counts == [269_722, 272_474]


def test_preact_resnet_18_counts_the_parameters_of_fmixs_public_code():
  # 11,171,146 of the network with no norm in its stem, and the stem's 128.
  assert size((32, 32, 3), 10, depth=18, preact=True) == 11_171_274


def pixels_hidden(image, seed=2):
  """Scattered pixels, a block that whole windows fall into, and one example with all hidden."""
  hidden = np.random.default_rng(seed).random(image.shape[:-1]) < 0.3
  hidden[:, :5, :6] = True
  hidden[-1] = True
  return hidden


# Group normalisation knows no training.
MODES = {kind: (True,) if kind == "group" else (False, True) for kind in KINDS}


@functools.cache
def measured(kind):
  """A kind's network on images with and without hidden pixels, all of it in one program."""
  # Bottlenecks that keep the shape take the shortcut of plain blocks that do.
  one_each = {"stages": (1, 1)}
  network, variables = build(images(), **{**KINDS[kind], **one_each})

  def value(params, image, hidden, train):
    def loss(params, image):
      full = {**variables, "params": params}
      logits, new = network.apply(full, image, hidden, train=train, mutable=["batch_stats"])
      return jnp.sum(logits**2), (logits, new)

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, image)

  @jax.jit
  def program(params, image, hidden):
    full, options = {**variables, "params": params}, dict(train=True, mutable=["batch_stats"])
    return {
      "plain": network.apply(full, image, **options),
      **{f"train={train}": value(params, image, hidden, train) for train in MODES[kind]},
    }

  run = functools.partial(program, variables["params"])
  image, hidden = images(), pixels_hidden(images())
  spoilt = np.where(hidden[..., None], np.nan, image).astype(np.float32)
  cases = {"clean": (image, hidden), "spoilt": (spoilt, hidden)}
  cases["seen"] = (image, np.zeros_like(hidden))
  return jax.device_get({name: run(*case) for name, case in cases.items()})


@pytest.mark.parametrize(("train", "kind"), [(t, kind) for kind in KINDS for t in MODES[kind]])
def test_hidden_pixels_reach_neither_logits_nor_statistics_nor_gradients(kind, train):
  results, hidden = measured(kind), pixels_hidden(images())
  clean, spoilt = (results[name][f"train={train}"] for name in ("clean", "spoilt"))
  jax.tree.map(np.testing.assert_array_equal, clean, spoilt)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
  _, (_, to_image) = clean
  np.testing.assert_array_equal(np.where(hidden[..., None], to_image, 0), 0)
  assert np.any(to_image[0] != 0)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_hidden_is_the_plain_network(kind):
  seen = measured(kind)["seen"]
  (_, masked), _ = seen["train=True"]
  close(masked, seen["plain"], **SUMS)


@every_kind
def test_without_a_mask_the_program_has_none(kind):
  image = images(b=1)
  network, variables = build(image, **kind)
  assert "bool" not in str(jax.make_jaxpr(network.apply)(variables, image))


@pytest.fixture(scope="module")
def cifar():
  """The smallest network, its variables, and it applied to images and hidden pixels."""
  network, variables = build(images(), **KINDS["cifar"])
  return network, variables, jax.jit(network.apply)


def test_what_is_visible_matters_and_so_does_what_is_hidden_of_it(cifar):
  _, variables, apply = cifar
  hidden = pixels_hidden(images())
  plain = np.asarray(apply(variables, images(), np.zeros_like(hidden)))
  masked = np.asarray(apply(variables, images(), hidden))
  assert np.abs(plain - masked).max() > 1e-3
  np.testing.assert_allclose(masked[-1], variables["params"]["head"]["bias"], atol=1e-6)


def test_group_normalisation_couples_no_examples():
  image = images()
  network, variables = build(image, **KINDS["group"])
  assert set(variables) == {"params"}
  apply = functools.partial(network.apply, train=True)
  whole, alone = jax.jit(lambda v, x: (apply(v, x), apply(v, x[:1])))(variables, image)
  close(whole[:1], alone, **SUMS)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (32, 16), (16, 8), (12, 4), (9, 1)])
def test_groups_have_two_channels_or_more(channels, groups):
  image = images((4, 4, channels), b=1)
  norm = GroupNorm(epsilon=1e-5, dtype="float32", scale_init=jax.nn.initializers.ones)
  (plain, _), _ = jax.jit(norm.init_with_output)(jax.random.key(0), image)
  parts = np.asarray(plain).reshape(16, groups, channels // groups)
  np.testing.assert_allclose(parts.mean((0, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(parts.std((0, 2)), 1, atol=1e-3)
  # The same of what is visible alone.
  hidden = np.random.default_rng(3).random(image.shape[:-1]) < 0.4
  masked = lambda x, hidden: norm.init_with_output(jax.random.key(0), x, hidden)[0]
  seen = np.asarray(jax.jit(masked)(image, hidden)[0])[~hidden]
  parts = seen.reshape(-1, groups, channels // groups)
  np.testing.assert_allclose(parts.mean((0, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(parts.std((0, 2)), 1, atol=1e-3)


def test_leading_axes_of_any_number(cifar):
  _, variables, apply = cifar
  image, hidden = images(), pixels_hidden(images())
  whole = apply(variables, image, hidden)
  alone = lambda v, image, hidden: (
    apply(v, image[0], hidden[0]),
    apply(v, image[None], hidden[None]),
  )
  one, views = jax.jit(alone)(variables, image, hidden)
  close(one, whole[0], **SUMS)
  close(views[0], whole, **SUMS)


def test_bfloat16_computes_in_bfloat16_on_float32_parameters():
  image = images()
  network, variables = build(image, dtype="bfloat16", **KINDS["cifar"])
  text = str(jax.make_jaxpr(network.apply)(variables, image))
  convs = [line for line in text.splitlines() if "conv_general_dilated[" in line]
  assert convs
  assert all("bf16[" in line for line in convs)
  exact = build(image, **KINDS["cifar"])[0]
  both = jax.jit(lambda v, image: (network.apply(v, image), exact.apply(v, image)))
  logits, expected = both(variables, image)
  assert logits.dtype == jnp.float32
  np.testing.assert_allclose(logits, expected, atol=2.0**-6 * np.abs(expected).max())


def test_zero_init_begins_with_shortcuts():
  image = images()

  def scales(zero):
    network = resnet(record_shape=image.shape[1:], classes=5, depth=8, width=4, zero_init=zero)
    params = network.init(jax.random.key(0), image)["params"]["encoder"]
    return [params["block_01"][f"norm{i}"]["scale"].sum() for i in (1, 2)]

  assert jax.jit(lambda: [scales(False), scales(True)])() == [[8, 8], [8, 0]]


@pytest.mark.parametrize(
  ("shape", "depth", "small"),
  [
    ((32, 32, 3), 18, True),
    ((64, 96, 1), 18, False),
    ((224, 32, 4), 50, True),
    ((224, 224, 3), 20, True),
  ],
)
def test_the_stem_follows_depth_and_image(shape, depth, small):
  assert resnet(record_shape=shape, classes=2, depth=depth).encoder.small == small


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"depth": 21}, r"^resnet depth 21 is neither one of \[18, 34, 50, 101, 152\] nor 6n \+ 2$"),
    ({"depth": 2}, "^resnet depth 2 is neither"),
    ({"preact": True, "zero_init": True}, "with preact there is none"),
    ({"norm": "bach"}, "unknown norm 'bach'; did you mean 'batch'"),
    ({"stem": "smal"}, "unknown stem 'smal'; did you mean 'small'"),
    ({"record_shape": (100,)}, r"takes images \(h, w, c\), the data have shape \(100,\)"),
  ],
)
def test_bad_input(options, says):
  with pytest.raises(BadInput, match=says):
    resnet(**{"record_shape": (8, 8, 1), "classes": 2, **options})
