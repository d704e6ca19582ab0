"""Residual networks: the published sizes, the plain function, and what hidden pixels may reach."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from maskjax.errors import BadInput
from maskjax.model.resnet import GroupNorm, resnet

KINDS = {
  "cifar": dict(depth=8, width=4),
  "cifar, projected": dict(depth=8, width=4, project=True),
  "basic": dict(depth=18, width=4, stages=(1, 2), stem="small"),
  "bottleneck": dict(depth=50, width=2, stages=(2, 1), stem="imagenet"),
  "group": dict(depth=8, width=4, norm="group"),
  "preact": dict(depth=8, width=4, preact=True, project=True),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def images(shape=(12, 16, 2), b=3, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=(b, *shape)), jnp.float32)


def build(image, stages=(), **options):
  """A network with 5 classes, every weight and statistic drawn; `stages` makes it less deep."""
  network = resnet(record_shape=image.shape[-3:], classes=5, **options)
  if stages:
    network = network.clone(encoder=network.encoder.clone(stages=stages))
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    x = rng.normal(size=leaf.shape)
    name = path[-1].key
    x = {"scale": 1 + x / 4, "var": np.exp(x / 4), "kernel": x / 3}.get(name, x / 4)
    return jnp.asarray(x, jnp.float32)

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


# He et al., table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million, with shortcuts that do not project.
@pytest.mark.parametrize(
  ("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.73")]
)
def test_parameter_counts_of_the_paper_on_cifar(depth, millions):
  assert f"{size((32, 32, 3), 10, depth=depth) / 1e6:.2f}" == millions


def test_resnet_20_with_and_without_projections():
  counts = [size((32, 32, 3), 10, depth=20, project=project) for project in (False, True)]
  assert counts == [269_722, 272_474]


def test_preact_resnet_18_counts_the_parameters_of_fmixs_public_code():
  # 11,171,146 of the network with no norm in its stem, and the stem's 128.
  assert size((32, 32, 3), 10, depth=18, preact=True) == 11_171_274


def preactivated(variables, image, depth):
  """The network with norms before convolutions by hand: running statistics, nothing hidden."""
  params, stats = (variables[name]["encoder"] for name in ("params", "batch_stats"))
  x = conv(image, params["embed"]["kernel"], 1)
  x = jax.nn.relu(norm(x, params["embed_norm"], stats["embed_norm"]))
  for i in range(depth):
    block, seen = params[f"block_{i:02d}"], stats[f"block_{i:02d}"]
    wide = block["conv2"]["kernel"].shape[-1]
    strides = 2 if i and wide != x.shape[-1] else 1
    y = jax.nn.relu(norm(x, block["norm1"], seen["norm1"]))
    if "shortcut" in block:
      x = conv(y, block["shortcut"]["kernel"], strides)
    elif wide != x.shape[-1]:
      x = jnp.pad(y[:, ::2, ::2], [(0, 0)] * 3 + [(0, wide - x.shape[-1])])
    y = conv(y, block["conv1"]["kernel"], strides)
    y = jax.nn.relu(norm(y, block["norm2"], seen["norm2"]))
    x = x + conv(y, block["conv2"]["kernel"], 1)
  head = variables["params"]["head"]
  return x.mean((1, 2)) @ head["kernel"] + head["bias"]


@pytest.mark.parametrize("project", [True, False])
def test_preact_equals_the_equations(project):
  image = images()
  network, variables = build(image, depth=8, width=4, preact=True, project=project)
  expected = preactivated(variables, image, 3)
  np.testing.assert_allclose(network.apply(variables, image), expected, rtol=2e-4, atol=1e-4)


def conv(x, kernel, strides):
  side = kernel.shape[0] // 2
  layout = ("NHWC", "HWIO", "NHWC")
  return lax.conv_general_dilated(x, kernel, (strides,) * 2, [(side, side)] * 2, None, None, layout)


def norm(x, params, statistics):
  mean, var = statistics["mean"], statistics["var"]
  return (x - mean) / jnp.sqrt(var + 1e-5) * params["scale"] + params["bias"]


def plain(variables, image, depth, bottleneck, small):
  """The network by hand: running statistics, nothing hidden."""
  params, stats = (variables[name]["encoder"] for name in ("params", "batch_stats"))
  x = conv(image, params["embed"]["kernel"], 1 if small else 2)
  x = jax.nn.relu(norm(x, params["embed_norm"], stats["embed_norm"]))
  if not small:
    ones, around = (1, 3, 3, 1), [(0, 0), (1, 1), (1, 1), (0, 0)]
    x = lax.reduce_window(x, -jnp.inf, lax.max, ones, (1, 2, 2, 1), around)
  for i in range(depth):
    block, seen = params[f"block_{i:02d}"], stats[f"block_{i:02d}"]
    layers = 3 if bottleneck else 2
    wide = block["conv1"]["kernel"].shape[-1] * (4 if bottleneck else 1)
    strides = 2 if i and wide != x.shape[-1] else 1
    y = x
    for j in range(1, layers + 1):
      y = conv(y, block[f"conv{j}"]["kernel"], strides if j == layers - 1 else 1)
      y = norm(y, block[f"norm{j}"], seen[f"norm{j}"])
      y = jax.nn.relu(y) if j < layers else y
    if "shortcut" in block:
      x = conv(x, block["shortcut"]["kernel"], strides)
      x = norm(x, block["shortcut_norm"], seen["shortcut_norm"])
    elif wide != x.shape[-1]:
      x = jnp.pad(x[:, ::2, ::2], [(0, 0)] * 3 + [(0, wide - x.shape[-1])])
    x = jax.nn.relu(x + y)
  head = variables["params"]["head"]
  return x.mean((1, 2)) @ head["kernel"] + head["bias"]


@pytest.mark.parametrize("name", ["cifar", "cifar, projected", "basic", "bottleneck"])
def test_the_plain_network_written_out(name):
  image = images((24, 40, 3))
  network, variables = build(image, **KINDS[name])
  blocks, bottleneck = sum(network.encoder.stages), name == "bottleneck"
  by_hand = functools.partial(
    plain, depth=blocks, bottleneck=bottleneck, small=network.encoder.small
  )
  expected = jax.jit(by_hand)(variables, image)
  assert jnp.std(expected) > 1e-2
  np.testing.assert_allclose(
    jax.jit(network.apply)(variables, image), expected, rtol=1e-4, atol=1e-4
  )


def pixels_hidden(image, seed=2):
  """Scattered pixels, a block that whole windows fall into, and one example with all hidden."""
  hidden = np.random.default_rng(seed).random(image.shape[:-1]) < 0.3
  hidden[:, :6, :9] = True
  hidden[-1] = True
  return jnp.asarray(hidden)


@every_kind
@pytest.mark.parametrize("train", [False, True])
def test_hidden_pixels_reach_neither_logits_nor_statistics_nor_gradients(kind, train):
  image = images()
  network, variables = build(image, **kind)
  hidden = pixels_hidden(image)

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
  def value(params, image):
    full = {**variables, "params": params}
    logits, new = network.apply(full, image, hidden, train=train, mutable=["batch_stats"])
    return jnp.sum(logits**2), (logits, new)

  clean = value(variables["params"], image)
  spoilt = value(variables["params"], jnp.where(hidden[..., None], jnp.nan, image))
  jax.tree.map(np.testing.assert_array_equal, clean, spoilt)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
  _, (_, to_image) = clean
  np.testing.assert_array_equal(jnp.where(hidden[..., None], to_image, 0), 0)
  assert jnp.any(to_image[0] != 0)


@every_kind
def test_nothing_hidden_is_the_plain_network(kind):
  image = images()
  network, variables = build(image, **kind)
  apply = jax.jit(functools.partial(network.apply, train=True, mutable=["batch_stats"]))
  masked = apply(variables, image, jnp.zeros(image.shape[:-1], bool))
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
  jax.tree.map(close, apply(variables, image), masked)


@every_kind
def test_without_a_mask_the_program_has_none(kind):
  image = images(b=1)
  network, variables = build(image, **kind)
  assert "bool" not in str(jax.make_jaxpr(network.apply)(variables, image))


def test_what_is_visible_matters_and_so_does_what_is_hidden_of_it():
  image = images()
  network, variables = build(image, **KINDS["cifar"])
  apply, hidden = jax.jit(network.apply), pixels_hidden(image)
  plain, masked = apply(variables, image), apply(variables, image, hidden)
  assert jnp.abs(plain - masked).max() > 1e-3
  np.testing.assert_allclose(masked[-1], variables["params"]["head"]["bias"], atol=1e-6)


def test_training_uses_the_batch_and_moves_the_statistics():
  image = images()
  network, variables = build(image, **KINDS["cifar"])
  apply = jax.jit(functools.partial(network.apply, train=True, mutable=["batch_stats"]))
  logits, new = apply(variables, image)
  kernel = variables["params"]["encoder"]["embed"]["kernel"]
  x = np.asarray(conv(image, kernel, 1), np.float64)
  old, moved = (v["batch_stats"]["encoder"]["embed_norm"] for v in (variables, new))
  np.testing.assert_allclose(moved["mean"], 0.9 * old["mean"] + 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
  np.testing.assert_allclose(moved["var"], 0.9 * old["var"] + 0.1 * x.var((0, 1, 2)), rtol=1e-4)
  alone, _ = apply(variables, image[:1])
  assert jnp.abs(alone - logits[:1]).max() > 1e-3


def test_group_normalisation_couples_no_examples():
  image = images()
  network, variables = build(image, **KINDS["group"])
  assert set(variables) == {"params"}
  apply = jax.jit(functools.partial(network.apply, train=True))
  np.testing.assert_allclose(
    apply(variables, image)[:1], apply(variables, image[:1]), rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (32, 16), (16, 8), (12, 4), (9, 1)])
def test_groups_have_two_channels_or_more(channels, groups):
  image = images((4, 4, channels), b=1)
  norm = GroupNorm(epsilon=1e-5, dtype="float32", scale_init=jax.nn.initializers.ones)
  plain, _ = norm.apply(norm.init(jax.random.key(0), image), image)
  parts = np.asarray(plain).reshape(16, groups, channels // groups)
  np.testing.assert_allclose(parts.mean((0, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(parts.std((0, 2)), 1, atol=1e-3)


def test_leading_axes_of_any_number():
  image = images()
  network, variables = build(image, **KINDS["cifar"])
  apply, hidden = jax.jit(network.apply), pixels_hidden(image)
  whole = apply(variables, image, hidden)
  np.testing.assert_allclose(apply(variables, image[0], hidden[0]), whole[0], atol=1e-5)
  views = apply(variables, image[None], hidden[None])
  np.testing.assert_allclose(views[0], whole, atol=1e-5)


def test_bfloat16_computes_in_bfloat16_on_float32_parameters():
  image = images()
  network, variables = build(image, dtype="bfloat16", **KINDS["cifar"])
  text = str(jax.make_jaxpr(network.apply)(variables, image))
  convs = [line for line in text.splitlines() if "conv_general_dilated[" in line]
  assert convs
  assert all("bf16[" in line for line in convs)
  logits = jax.jit(network.apply)(variables, image)
  assert logits.dtype == jnp.float32
  exact = jax.jit(build(image, **KINDS["cifar"])[0].apply)(variables, image)
  np.testing.assert_allclose(logits, exact, atol=0.15)


def test_zero_init_begins_with_shortcuts():
  image = images()

  @functools.partial(jax.jit, static_argnums=0)
  def scales(zero):
    network = resnet(record_shape=image.shape[1:], classes=5, depth=8, width=4, zero_init=zero)
    params = network.init(jax.random.key(0), image)["params"]["encoder"]
    return [params["block_01"][f"norm{i}"]["scale"].sum() for i in (1, 2)]

  assert scales(False) == [8, 8]
  assert scales(True) == [8, 0]


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
