"""AdaMAE: a training step of its public code; what the sampler draws and comes to show."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from safetensors.numpy import load_file

from maskjax import lab, recover, score, select
from maskjax.keys import keys
from maskjax.model import Sampler
from maskjax.record import Record
from maskjax.task.base import total
from maskjax.train.run import plain
from maskjax.train.setup.build import make_task

KEY = jax.random.key(0)
HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "adamae.safetensors"
CONFIG = lab.load(HERE.parents[1] / "configs" / "video_mim" / "adamae.py")
begun = runpy.run_path(str(HERE / "toy_weights.py"))["begun"]
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


def build(shape, patch, ratio, *, sampler, width, decoder, **target):
  """The task of the config, tiny: one block everywhere, and `(width, heads)` of its decoder."""
  c = CONFIG.get_config()
  c.over.patch, c.select.ratio = patch, ratio
  c.model.encoder.update(width=width, depth=1, heads=2, dtype="float32")
  c.model.decoder.update(width=decoder[0], depth=1, heads=decoder[1])
  c.score.update(heads=sampler, dtype="float32")
  c.target.update(target)
  return make_task(plain(c), Record("video", shape, {"train": 8}))


def test_a_training_step_of_the_public_code():
  """Its loss, the two parts, and gradients that come through the sampler, the embedding, both.

  Then its mask is that of a caller, in the place of what the sampler draws: the same predictions.
  """
  stored = load_file(GOLDEN)
  part = lambda name: {
    k.removeprefix(f"{name}/"): v for k, v in stored.items() if k.startswith(f"{name}/")
  }
  variables = ours(part("weights"), stored["encoder_positions"], stored["positions"])
  hidden = jax.device_put(stored["hidden"])
  assert hidden.sum(-1).tolist() == [24, 24]
  shape, sizes = stored["video"].shape[1:], dict(sampler=8, width=16, decoder=(12, 3))
  task = build(shape, (2, 4, 4), 0.75, **sizes)
  # The public code's target is normalised from pixels in [0, 1]; here from what the model sees.
  batch = jax.device_put({"video": stored["video"], "position": np.arange(2)})
  expected = jax.eval_shape(task.init, KEY, batch)
  assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, expected)

  of = task.loss.__self__

  @jax.jit
  def run(variables):
    def loss(params):
      given = dict(train=True, given={"hidden": hidden})
      run, _ = of.run({**variables, "params": params}, batch, KEY, 0, **given)
      terms = dict(
        zip(("recover", "teach"), run.take("losses.recover", "losses.teach"), strict=True)
      )
      return total(terms, task.weights), terms

    found = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return found, task.answers["views"](variables, batch, KEY, hidden=hidden)

  ((value, terms), slopes), views = jax.tree.map(np.asarray, run(jax.device_put(variables)))
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
  hidden = np.asarray(hidden)
  chance, given = cut(views["chance"][..., None], (2, 4, 4))[..., 0], stored["chance"]
  np.testing.assert_allclose(chance, given / given.max(-1, keepdims=True), rtol=2e-5)
  seen, clip, guess = (cut(views[name], (2, 4, 4)) for name in ("seen", "input", "prediction"))
  np.testing.assert_array_equal(np.isnan(seen), np.broadcast_to(hidden[..., None], seen.shape))
  # Each channel of a patch by its own deviation.
  wide = clip.reshape(*clip.shape[:2], -1, 3)
  gap = ((guess - clip).reshape(wide.shape) / wide.std(-2, ddof=1, keepdims=True))[hidden]
  np.testing.assert_allclose(np.square(gap).mean(), stored["loss_reconstruction"], rtol=1e-4)


def cut(video, patch):
  """Clips in patches, by numpy."""
  (f, h, w), (b, t, y, x, c) = patch, video.shape
  parts = video.reshape(b, t // f, f, y // h, h, x // w, w, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
  return parts.reshape(b, -1, f * h * w * c)


SHAPE = (4, 8, 8, 1)
PLAIN = dict(normalise=False, apart=1)
DRAWS, STEPS = 32, 80


def clips(key):
  """Half of the positions flicker, and cannot be told from others; the rest is the same grey."""
  noise = jax.random.normal(key, (DRAWS, *SHAPE))
  return noise.at[:, :, :, 4:].set(0.3)


def test_it_comes_to_show_what_random_masks_cannot_recover():
  task = build(SHAPE, (2, 2, 2), 0.875, sampler=2, width=16, decoder=(16, 2), **PLAIN)
  tx, position = optax.adam(1e-2), jax.device_put(np.arange(DRAWS))
  shapes = jax.eval_shape(
    task.init, KEY, {"video": np.zeros((2, *SHAPE)), "position": np.arange(2)}
  )
  variables = begun(shapes)

  rest = {name: x for name, x in variables.items() if name != "params"}
  others = {name: x for name, x in variables["params"].items() if name != "score"}
  # An autoencoder that guesses grey everywhere.
  others["decoder"]["predict"] = jax.tree.map(lambda x: 0 * x, others["decoder"]["predict"])

  @jax.jit
  def run(sampler):
    given = {"video": clips(KEY), "position": position}
    # As one vector: leaf after leaf the optimiser would be most of the program.
    begin, apart = ravel_pytree(sampler)

    def step(carry, i):
      """Of the sampler alone."""
      sampler, moments = carry
      fresh = {**given, "video": clips(jax.random.fold_in(KEY, i))}

      def loss(sampler):
        full = {**rest, "params": {**others, "score": apart(sampler)}}
        return total(task.loss(full, fresh, KEY, i)[0], task.weights)

      updates, moments = tx.update(jax.grad(loss)(sampler), moments)
      return (optax.apply_updates(sampler, updates), moments), None

    def rates(sampler):
      """Shares of the flickering and of the still positions that are visible."""
      cells = recover.patchify(given["video"], (2, 2, 2))
      embed = variables["params"]["encoder"]["embed"]
      tokens = cells @ embed["kernel"] + embed["bias"]
      drawn = Sampler(heads=2).apply({"params": sampler}, keys(KEY, DRAWS), tokens)
      visible = ~select.top(drawn.scores, ratio=0.875).reshape(DRAWS, 2, 4, 2, 2)
      return visible.mean((0, 1, 2, 4))

    after, _ = jax.lax.scan(step, (begin, tx.init(begin)), jnp.arange(STEPS))[0]
    ends = jax.tree.map(lambda *x: jnp.stack(x), sampler, apart(after))
    white = score.uniform(keys(KEY, 64), (2, 4, 4))
    return jax.lax.map(rates, ends), ~select.top(white, ratio=0.875)

  learned, white = map(np.asarray, run(variables["params"]["score"]))
  halves = white.reshape(-1, 2, 4, 2, 2).mean((0, 1, 2, 4))
  np.testing.assert_allclose(halves, 0.125, atol=0.03)
  np.testing.assert_allclose(learned.sum(-1), 0.25, rtol=1e-5)
  # Before it learned anything, the sampler has a slight preference of some kind.
  assert learned[0, 0] < 2 * learned[0, 1]
  assert learned[1, 0] > 3 * learned[1, 1]


def test_the_chance_of_a_token_comes_to_be_its_share_of_the_error():
  """Where a token of error e is hidden nearly always, the loss is least at p in proportion to e."""
  error = np.array([0.1, 0.4, 0.0, 1.5, 0.5, 0.5], np.float32)
  tx, steps = optax.adam(optax.cosine_decay_schedule(0.3, 80)), 80

  def step(carry, i):
    logits, moments = carry

    def loss(logits):
      own = keys(jax.random.fold_in(KEY, i), 2048)
      drawn = score.draw_kept(own, jnp.broadcast_to(logits, (2048, 6)))
      hidden = select.top(drawn.scores, count=5)
      reward = jnp.broadcast_to(jnp.asarray(error), hidden.shape)
      term = recover.policy_gradient(drawn.log_prob, reward, hidden)
      return term.sum / term.count

    updates, moments = tx.update(jax.grad(loss)(logits), moments)
    return (optax.apply_updates(logits, updates), moments), None

  @jax.jit
  def run(logits):
    (logits, _), _ = jax.lax.scan(step, (logits, tx.init(logits)), jnp.arange(steps))
    return jax.nn.softmax(logits)

  chance = np.asarray(run(np.zeros(6, np.float32)))
  # In expectation the gradient is zero where p = e (1 - p), up to one factor for all.
  wanted = error * (1 - chance)
  np.testing.assert_allclose(chance, wanted / wanted.sum(), atol=0.01)
  assert chance[3] > 2 * chance[1] > 4 * chance[0]


def test_kept_tokens_are_drawn_without_replacement_from_the_distribution():
  p = np.array([0.5, 0.3, 0.15, 0.05], np.float32)
  logits = np.log(p)

  @jax.jit
  def run(logits):
    drawn = score.draw_kept(keys(KEY, 40_000), jnp.broadcast_to(logits, (40_000, 4)))
    slope = jax.grad(lambda x: score.draw_kept(KEY, x).scores.sum())(logits)
    return ~select.top(drawn.scores, count=2), drawn.log_prob[0], slope

  kept, log_prob, slope = map(np.asarray, run(logits))
  pairs = {
    (i, j): p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for i in range(4) for j in range(i)
  }
  for (i, j), share in pairs.items():
    assert abs((kept[:, i] & kept[:, j]).mean() - share) < 0.01
  np.testing.assert_allclose(log_prob, logits, rtol=1e-5)
  np.testing.assert_array_equal(slope, np.zeros(4))
