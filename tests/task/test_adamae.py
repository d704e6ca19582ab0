"""AdaMAE: a training step of its public code; what the sampler draws and comes to show."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import load_file

from maskjax import recover, score, select
from maskjax.keys import keys
from maskjax.model import Sampler, masked_autoencoder
from maskjax.record import Record
from maskjax.task import reconstruct
from maskjax.task.base import total

KEY = jax.random.key(0)
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "adamae.safetensors"
# What the public code normalises clips by.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def dense(given, name, bias=None):
  """A dense layer of the public code's; `bias` where it has none of that name."""
  own = given.get(f"{name}.bias")
  kernel = given[f"{name}.weight"].T
  return {"kernel": kernel, "bias": own if bias is None else bias}


def norm(given, name):
  return {"scale": given[f"{name}.weight"], "bias": given[f"{name}.bias"]}


def block(given, name):
  """A transformer block; its keys have no bias, in the sampler neither queries nor values."""
  q = given.get(f"{name}.attn.q_bias", np.zeros(len(given[f"{name}.norm1.weight"]), np.float32))
  qkv = np.concatenate([q, 0 * q, given.get(f"{name}.attn.v_bias", 0 * q)])
  return {
    "norm1": norm(given, f"{name}.norm1"),
    "attention": {
      "qkv": dense(given, f"{name}.attn.qkv", qkv),
      "out": dense(given, f"{name}.attn.proj"),
    },
    "norm2": norm(given, f"{name}.norm2"),
    "mlp": {"up": dense(given, f"{name}.mlp.fc1"), "down": dense(given, f"{name}.mlp.fc2")},
  }


def ours(given, encoder_positions, positions):
  """The public code's weights as variables of the task."""
  project = given["encoder.patch_embed.proj.weight"]
  embed = project.transpose(2, 3, 4, 1, 0).reshape(-1, len(project))
  width = len(positions[0])
  encoder = {
    "embed": {"kernel": embed, "bias": given["encoder.patch_embed.proj.bias"]},
    "block_00": block(given, "encoder.blocks.0"),
    "norm": norm(given, "encoder.norm"),
  }
  decoder = {
    "embed": dense(given, "encoder_to_decoder", np.zeros(width, np.float32)),
    "mask_token": given["mask_token"].reshape(-1),
    "block_00": block(given, "decoder.blocks.0"),
    "norm": norm(given, "decoder.norm"),
    "predict": dense(given, "decoder.head"),
  }
  sampler = {
    "position": given["encoder.pos_embed_probs"][0],
    "block": block(given, "encoder.get_token_probs.0"),
    "logit": dense(given, "encoder.get_token_probs.1"),
  }
  tables = {"encoder": {"position": encoder_positions}, "decoder": {"position": positions}}
  return {
    "params": {"encoder": encoder, "decoder": decoder, "score": sampler},
    "buffers": tables,
  }


def build(shape, hidden=0.75, *, score, select=select.top, target, heads=2, **sizes):
  """The task, whose masks are learned where the score is a module."""
  learned = isinstance(score.func, type)
  return reconstruct(
    record=Record("video", shape, {"train": 8}),
    model=functools.partial(masked_autoencoder, class_token=False, depth=1, heads=heads, **sizes),
    score=score,
    select=functools.partial(select, ratio=hidden),
    target=target,
    recover=recover.squared_error,
    teach=functools.partial(recover.policy_gradient) if learned else None,
    teaching=1e-4,
  )


def test_a_training_step_of_the_public_code():
  """Its loss, the two parts, and gradients that come through the sampler, the embedding, both."""
  stored = load_file(GOLDEN)
  part = lambda name: {
    k.removeprefix(f"{name}/"): v for k, v in stored.items() if k.startswith(f"{name}/")
  }
  variables = ours(part("weights"), stored["encoder_positions"], stored["positions"])
  variables = jax.tree.map(jnp.asarray, variables)
  hidden = jnp.asarray(stored["hidden"])
  assert hidden.sum(-1).tolist() == [24, 24]
  task = build(
    stored["video"].shape[1:],
    score=functools.partial(Sampler, heads=8),
    select=lambda scores, *, ratio: hidden[: len(scores)] if scores.ndim > 1 else hidden[0],
    target=functools.partial(recover.pixels, apart=3),
    patch=(2, 4, 4),
    width=16,
    decoder_width=12,
    decoder_depth=1,
    decoder_heads=3,
  )
  # The public code's target is normalised from pixels in [0, 1]; here from what the model sees.
  batch = {"video": jnp.asarray(stored["video"]), "position": jnp.arange(2)}
  expected = jax.eval_shape(task.init, KEY, batch)
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, expected)

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(params):
    terms, _ = task.loss({**variables, "params": params}, batch, KEY, 0)
    return total(terms, task.weights), terms

  (value, terms), slopes = loss(variables["params"])
  np.testing.assert_allclose(value, stored["loss"], rtol=2e-5)
  mean = lambda term: term.sum / term.count
  np.testing.assert_allclose(mean(terms["recover"]), stored["loss_reconstruction"], rtol=2e-5)
  np.testing.assert_allclose(1e-4 * mean(terms["teach"]), stored["loss_sampling"], rtol=2e-5)
  named = {name: np.zeros_like(value) for name, value in part("weights").items()}
  theirs = ours({**named, **part("gradients")}, *2 * [np.zeros((1, 12))])["params"]
  places = [
    ("encoder", "embed", "kernel"),
    ("score", "position"),
    ("score", "block", "attention", "qkv", "kernel"),
    ("score", "block", "mlp", "up", "kernel"),
    ("score", "logit", "kernel"),
    ("decoder", "predict", "kernel"),
  ]
  for place in places:
    pick = lambda tree, place=place: functools.reduce(lambda x, name: x[name], place, tree)
    scale = np.abs(pick(theirs)).max()
    assert scale > 0
    np.testing.assert_allclose(pick(slopes), pick(theirs), rtol=1e-3, atol=1e-4 * scale)
  views = jax.jit(task.views)(variables, batch, KEY)
  chance = recover.patchify(views["chance"][..., None], (2, 4, 4))[..., 0]
  given = stored["chance"]
  np.testing.assert_allclose(chance, given / given.max(-1, keepdims=True), rtol=2e-5)


PLAIN = functools.partial(recover.pixels, normalise=False)
SHAPE = (4, 8, 8, 1)
SMALL = dict(patch=(2, 2, 2), width=16, decoder_width=16, decoder_depth=1, decoder_heads=2)
DRAWS = 64


def clips(key):
  """Half of the positions flicker, and cannot be told from others; the rest is the same grey."""
  noise = jax.random.normal(key, (DRAWS, *SHAPE))
  return noise.at[:, :, :, 4:].set(0.3)


def trained(score, steps=80):
  """Shares of the flickering and of the still positions that are visible, before and after."""
  task = build(SHAPE, 0.875, score=score, target=PLAIN, **SMALL)
  batch = {"video": clips(jax.random.key(1)), "position": jnp.arange(DRAWS)}
  variables = jax.jit(task.init)(KEY, batch)
  tx = optax.adam(1e-2)

  @jax.jit
  def step(params, moments, i):
    fresh = {**batch, "video": clips(jax.random.fold_in(KEY, i))}
    loss = lambda p: total(task.loss({**variables, "params": p}, fresh, KEY, i)[0], task.weights)
    updates, moments = tx.update(jax.grad(loss)(params), moments)
    return optax.apply_updates(params, updates), moments

  @jax.jit
  def rates(params):
    seen = task.views({**variables, "params": params}, batch, KEY)["seen"]
    visible = ~jnp.isnan(seen)
    return visible[:, :, :, :4].mean(), visible[:, :, :, 4:].mean()

  params, moments = variables["params"], tx.init(variables["params"])
  before = rates(params)
  for i in range(steps):
    params, moments = step(params, moments, i)
  return np.array([before, rates(params)])


def test_it_comes_to_show_what_random_masks_cannot_recover():
  learned = trained(functools.partial(Sampler, heads=2))
  white = trained(functools.partial(score.white), steps=2)
  np.testing.assert_allclose(white, 0.125, atol=0.03)
  np.testing.assert_allclose(learned.sum(-1), 0.25, rtol=1e-5)
  # Before it learned anything, the sampler has a slight preference of some kind.
  assert learned[0, 0] < 2 * learned[0, 1]
  assert learned[1, 0] > 3 * learned[1, 1]


def test_the_chance_of_a_token_comes_to_be_its_share_of_the_error():
  """Where a token of error e is hidden nearly always, the loss is least at p in proportion to e."""
  error = jnp.array([0.1, 0.4, 0.0, 1.5, 0.5, 0.5])
  tx, logits = optax.adam(0.05), jnp.zeros(6)

  @jax.jit
  def step(logits, moments, i):
    def loss(logits):
      own = keys(jax.random.fold_in(KEY, i), 4096)
      drawn = score.draw_kept(own, jnp.broadcast_to(logits, (4096, 6)))
      hidden = select.top(drawn.scores, count=5)
      reward = jnp.broadcast_to(error, hidden.shape)
      term = recover.policy_gradient(drawn.log_prob, reward, hidden)
      return term.sum / term.count

    updates, moments = tx.update(jax.grad(loss)(logits), moments)
    return optax.apply_updates(logits, updates), moments

  moments = tx.init(logits)
  for i in range(300):
    logits, moments = step(logits, moments, i)
  chance = np.asarray(jax.nn.softmax(logits))
  # In expectation the gradient is zero where p = e (1 - p), up to one factor for all.
  wanted = np.asarray(error) * (1 - chance)
  np.testing.assert_allclose(chance, wanted / wanted.sum(), atol=0.01)
  assert chance[3] > 2 * chance[1] > 4 * chance[0]


def test_kept_tokens_are_drawn_without_replacement_from_the_distribution():
  logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
  drawn = score.draw_kept(keys(KEY, 40_000), jnp.broadcast_to(logits, (40_000, 4)))
  kept = ~np.asarray(select.top(drawn.scores, count=2))
  p = np.exp(np.asarray(logits))
  pairs = {
    (i, j): p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for i in range(4) for j in range(i)
  }
  for (i, j), share in pairs.items():
    assert abs((kept[:, i] & kept[:, j]).mean() - share) < 0.01
  np.testing.assert_allclose(drawn.log_prob[0], logits, rtol=1e-6)
  slope = jax.grad(lambda x: score.draw_kept(KEY, x).scores.sum())(logits)
  np.testing.assert_array_equal(slope, np.zeros(4))


def test_a_mask_of_the_callers_own_replaces_that_of_the_sampler():
  task = build(SHAPE, 0.875, score=functools.partial(Sampler, heads=2), target=PLAIN, **SMALL)
  batch = {"video": clips(KEY)[:3], "position": jnp.arange(3)}
  variables = task.init(KEY, batch)
  hidden = select.top(jnp.arange(96.0).reshape(3, 32), count=28)
  views = jax.jit(task.views)(variables, batch, KEY, hidden=hidden)
  seen = recover.patchify(jnp.isnan(views["seen"]), (2, 2, 2)).all(-1)
  np.testing.assert_array_equal(seen, hidden)
  patches = recover.patchify(batch["video"], (2, 2, 2))
  prediction = task.network.apply(variables, patches, hidden, keep=4)
  got = recover.patchify(views["prediction"], (2, 2, 2))
  np.testing.assert_allclose(got, prediction, rtol=1e-5, atol=1e-5)
