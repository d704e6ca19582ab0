"""MD4 beside its authors' code: times, counts, loss, gradient, two steps, decay, rates, bound.

The code is github.com/google-deepmind/md4 at b9fbf29, in JAX: `MD4` with its own transformer, told
no time (`time_features="none"`, as its OpenWebText has it), and `get_learning_rate` of train.py,
cut out, as the file imports a training loop. tensorflow_probability, clu, distrax and seaborn are
stand-ins. What is hidden is ours: of the same coins both hide as many tokens, ours others.
Run: python tests/golden/beside_md4.py CHECKOUT
"""

import logging
import pathlib
import sys
import types
from unittest import mock

import beside
import numpy as np

ROOM = 1e-3  # 1 - alpha(0) is 1e-4, in float32 off by 6e-8
BATCH, LENGTH, WORDS, WIDTH, DEPTH, HEADS, STEPS = 3, 14, 11, 24, 2, 3, 40


def load(folder):
  """The authors' model, and the function of their rate."""
  jax_tfp = types.ModuleType("jax")
  jax_tfp.distributions = None
  empty = {name: {} for name in ("seaborn", "tensorflow_probability")}
  empty |= dict(
    distrax={"Distribution": object},
    clu={"platform": None},
    tensorflow_probability__substrates={"jax": jax_tfp},
  )
  empty["tensorflow_probability__substrates__jax"] = {"distributions": None}
  with beside.standing_in(folder, **empty):
    from md4.models.diffusion import md4
  import jax.numpy as jnp

  train = pathlib.Path(folder) / "md4" / "train.py"
  found = beside.cut(train, "cosine_decay", "get_learning_rate", jnp=jnp, logging=logging)
  return md4, found[-1]


def turned(theirs):
  """The authors' parameters as ours, whose rotary pairs lie half a head apart, not side by side."""
  net = theirs["classifier"]["Transformer_0"]
  head = WIDTH // HEADS
  order = np.concatenate([np.r_[i : i + head : 2, i + 1 : i + head : 2]
                          for i in range(0, WIDTH, head)])  # fmt: skip
  found = {"embed": net["Embed_0"], "norm": net["RMSNorm_0"], "predict": net["Dense_0"]}
  for i in range(DEPTH):
    block = net[f"TransformerBlock_{i}"]
    attention, mlp = block["attention"], block["feed_forward"]
    q, k, v = (np.asarray(attention[f"w{x}"]["kernel"]) for x in "qkv")
    qkv = {"kernel": np.concatenate([q[:, order], k[:, order], v], 1)}
    found[f"block_{i:02d}"] = {
      "norm1": block["RMSNorm_0"], "norm2": block["RMSNorm_1"],
      "attention": {"qkv": qkv, "out": attention["wo"]},
      "mlp": {"gate": mlp["w1"], "up": mlp["w3"], "down": mlp["w2"]},
    }  # fmt: skip
  import jax

  return jax.tree.map(np.asarray, found)


def main(folder):
  """Runs both."""
  code, rate_of = load(folder)
  import jax
  import jax.numpy as jnp
  import optax

  from maskjax import lab, recover
  from maskjax.data import tiny
  from maskjax.schedule import linear

  scale = dict(kind="text", shape=(LENGTH,), vocabulary=WORDS, examples=BATCH * STEPS)
  batch = {**tiny.batch(scale, BATCH), "valid": np.ones((BATCH, LENGTH), bool)}
  settings = lab.read("md4")

  def change(c):
    c.batch_size, c.total_steps = BATCH, STEPS
    c.model.update(width=WIDTH, depth=DEPTH, heads=HEADS, mlp=64, dtype="float32", norm_eps=1e-5)
    c.optimizer.update(beside.CONSTANT, weight_decay=0.03)  # its sweep's

  ours = beside.Method("md4", change, tiny.record(scale, "train"), batch)
  model = code.MD4(
    (LENGTH,), cont_time=True, feature_dim=WIDTH // HEADS, num_heads=HEADS, n_layers=DEPTH,
    vocab_size=WORDS, time_features="none", classes=-1, outside_embed=False,
  )  # fmt: skip
  x, keys = jnp.array(batch["tokens"]), {"params": jax.random.key(1), "sample": jax.random.key(2)}
  params = model.init(keys, x)["params"]
  rng = np.random.default_rng(7)
  params = jax.tree.map(lambda p: p + 0.2 * rng.normal(size=p.shape).astype(np.float32), params)
  variables = {"params": turned(params)}
  names = ("times", "level.alpha", "coins", "count", "hidden")
  told = [ours.values(variables, *names, step=i) for i in range(2)]
  apply = lambda p, *rest, **given: model.apply({"params": p}, *rest, **given)
  counts, alphas = [], []
  for times, _, coins, _, _ in told:
    drawn = lambda key, p, shape, coins=coins: jnp.asarray(coins) < p
    with mock.patch.object(code.jax.random, "bernoulli", drawn):
      zt = apply(params, x, times, method="forward_sample", rngs={"sample": jax.random.key(0)})
    counts.append(np.asarray(zt == WORDS).sum(-1))
    alphas.append(np.asarray(apply(params, times, method=lambda m, t: m.noise_schedule.alpha(t))))

  def loss(p, i):
    times, hidden = told[i][0], told[i][-1]
    seen = jnp.where(hidden, WORDS, x)
    with mock.patch.object(code.MD4, "forward_sample", return_value=seen):
      diffused = apply(p, times, x, method="diffusion_loss")
    return diffused.mean() / (LENGTH * jnp.log(2.0))  # bits a token, as `loss2bpt`

  numbers = dict(b1=0.9, b2=0.999, weight_decay=0.03)
  tx = optax.adamw(beside.RATE, **numbers)
  state, now, losses, slopes, after = tx.init(params), params, [], [], []
  for i in range(2):
    cost, slope = jax.jit(jax.value_and_grad(loss), static_argnums=1)(now, i)
    updates, state = tx.update(slope, state, now)
    now = optax.apply_updates(now, updates)
    losses.append(float(cost))
    slopes.append(slope)
    after.append(turned(now))
  costs, norms, moved = ours.steps(variables)
  trees = variables["params"], moved, after, turned(slopes[0])
  one, two, left = beside.moves(*trees, floor=beside.ROUNDING)
  total, at = settings.total_steps, (0, 1000, 2000, 500_000, 999_999)
  given = dict(base_learning_rate=settings.optimizer.learning_rate, num_steps=total)
  theirs = [rate_of(i, **given, warmup_steps=2000) for i in at]

  def real(c):
    change(c)
    c.total_steps, c.optimizer = total, settings.optimizer

  rate = beside.Method("md4", real, tiny.record(scale, "train"), batch).optimizer.rate
  flat = lambda slope: {str(i): g for i, g in enumerate(jax.tree.leaves(slope))}
  rest = recover.clipped_nats(jnp.ones((BATCH, LENGTH), bool), linear(1.0, 0.0), WORDS)
  large = model.clone(feature_dim=64, num_heads=12, n_layers=12, vocab_size=27, data_shape=(256,))
  shapes = jax.eval_shape(large.init, keys, jnp.zeros((1, 256), jnp.int32))
  full = sum(p.size for p in jax.tree.leaves(shapes))
  beside.row(
    "md4",
    "google-deepmind/md4@b9fbf29",
    [
      ("alpha", beside.far([t[1] for t in told], alphas), beside.LOSS),
      ("counts", beside.far([t[3] for t in told], counts), beside.EXACT),
      ("loss", beside.far(costs[0] / np.log(2), losses[0]), beside.LOSS),
      # Of parameters that rounding has moved apart, where Adam divides by it.
      ("second loss", beside.far(costs[1] / np.log(2), losses[1]), beside.STEP),
      ("gradient norm", abs(norms[0] / np.log(2) / beside.norm(flat(slopes[0])) - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", two, beside.SECOND),
      ("decay", beside.far(beside.of_decays(ours), jax.tree.map(np.ones_like, after[0])), 1e-9),
      ("rates", beside.far([rate(i) for i in at], theirs), 1e-5),
      ("end of the bound", beside.far(rest[0], apply(params, method="recon_loss")), ROOM),
      ("parameters", abs(full - lab.note("md4")["scale"]["parameters"]), beside.EXACT),
    ],
    left,
  )


if __name__ == "__main__":
  main(sys.argv[1])
