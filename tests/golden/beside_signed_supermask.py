"""Signed supermasks beside their authors' code: gates, loss, gradient, two steps, threshold, count.

The code is github.com/kosnil/signed_supermasks at 57fcb0c: `Conv2_Mask` of conv_networks.py with a
sixteenth of its width, `update_tanh_th`, and `initializer` of weight_initializer.py, unchanged but
for the call of the base class in `Conv2D.build`, run by TensorFlow 2.21 with Keras 2 (tf_keras).
The optimiser, SGDW of TensorFlow Addons, which no longer runs, is its rule written out: numbers
shrink by the decay, then Nesterov's momentum.
Run: TF_USE_LEGACY_KERAS=1 python tests/golden/beside_signed_supermask.py CHECKOUT
"""

import sys
import types

import beside
import numpy as np
import tensorflow as tf

BATCH, SHAPE, WIDTH, COUNT = 4, (12, 9), 4, 2
RATE, DECAY, MOMENTUM = 0.04, 5e-4, 0.9
LAYERS = ("conv_in", "conv_second", "linear_first", "linear_second", "linear_out")
OURS = ("conv_00", "conv_01", "dense_00", "dense_01", "head")


def public(folder, images):
  """The authors' network as they initialise it, its layers, and the count of Conv-2's weights."""
  sys.path.insert(0, folder)
  tf.config.run_functions_eagerly(True)
  # Gone from TensorFlow; there it is only asked for.
  tf.estimator = types.SimpleNamespace(Estimator=type(None))
  import conv_networks
  from weight_initializer import initializer

  model = conv_networks.Conv2_Mask(input_shape=images.shape, width_multiplier=1 / 16)
  model(images)
  layers = {ours: getattr(model, theirs) for ours, theirs in zip(OURS, LAYERS, strict=True)}
  first = initializer()
  for layer in layers.values():
    shape = tuple(layer.w.shape)
    signs = first.initialize_weights("signed_constant", shape, "he", factor=np.sqrt(3))
    layer.w.assign(signs)
    layer.mask.assign(first.initialize_weights("uniform", shape, "xavier"))
    layer.update_tanh_th(percentage=0.4)
  whole = conv_networks.Conv2_Mask(input_shape=(1, 32, 32, 3))
  count = sum(int(tf.size(v)) for v in whole.trainable_variables)
  return model, layers, count


def main(folder):
  """Runs both."""
  rng = np.random.default_rng(4)
  # Small: their loss clips probabilities at 1e-7.
  images = rng.normal(size=(BATCH, *SHAPE, 3), scale=0.2).astype(np.float32)
  labels = np.arange(BATCH) % 10
  model, layers, count = public(folder, images)
  now = lambda kind: {k: {"kernel": np.array(getattr(x, kind))} for k, x in layers.items()}
  weights, begun = now("w"), now("mask")
  limits = {k: {"kernel": np.float32(x.tanh_th)} for k, x in layers.items()}
  tx = tf.keras.optimizers.legacy.SGD(RATE, momentum=MOMENTUM, nesterov=True)
  variables = [x.mask for x in layers.values()]
  losses, slopes, after, gates = [], None, [], []
  for _ in range(COUNT):
    with tf.GradientTape() as tape:
      # The network ends in a softmax, and the loss is of its probabilities.
      cost = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, model(images)))
    found = tape.gradient(cost, variables)
    losses.append(float(cost))
    gates.append(now("bernoulli_mask"))
    slopes = slopes or {k: {"kernel": np.array(g)} for k, g in zip(OURS, found, strict=True)}
    for mask in variables:
      mask.assign(mask * (1 - DECAY))
    tx.apply_gradients(zip(found, variables, strict=True))
    after.append(now("mask"))

  import jax

  from maskjax import lab
  from maskjax.record import Record

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps = BATCH, 0.0, COUNT
    c.model.update(widths=(WIDTH,), dense=(16, 16))
    c.optimizer.update(beside.CONSTANT, learning_rate=RATE)

  batch = {"image": images, "label": labels.astype(np.int32), "position": np.arange(BATCH)}
  record = Record("image", (*SHAPE, 3), {"train": BATCH}, tuple("abcdefghij"))
  ours = beside.Method("signed_supermask", change, record, batch)
  state = {"threshold": limits, "first": jax.tree.map(np.int8, gates[0])}
  made = {"params": {**weights, "masks": begun}, "mask_state": state}
  made = {**jax.tree.map(np.zeros_like, dict(made)), **made}
  read = jax.jit(lambda v: ours.task.prepare(v, ()))(made)["mask_state"]
  costs, norms, moved = ours.steps(made, COUNT)
  masks = [m["masks"] for m in moved]
  one, more, left = beside.moves(begun, masks, after, slopes)
  seen = jax.device_get(ours.task.final(made)["params"])
  wanted = jax.tree.map(np.multiply, weights, gates[0])
  decays = jax.tree.map(np.ones_like, begun)
  still = {k: v for k, v in moved[-1].items() if k != "masks"}
  norm = beside.norm({name: x["kernel"] for name, x in slopes.items()})
  beside.row(
    "signed_supermask",
    "kosnil/signed_supermasks@57fcb0c",
    [
      ("thresholds", beside.far(read["threshold"], limits), 1e-7),
      ("what is seen", beside.far(seen, wanted), beside.EXACT),
      ("first gates", beside.far(read["first"], gates[0]), beside.EXACT),
      ("losses", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / norm - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", more, beside.STEP),
      ("weights", beside.far(still, weights), beside.EXACT),
      ("decay", beside.far(beside.of_decays(ours)["masks"], decays), 1e-9),
      ("parameters", abs(2 * count - lab.note("signed_supermask")["scale"]["parameters"]),
       beside.EXACT),
    ],
    left,
  )  # fmt: skip


if __name__ == "__main__":
  main(sys.argv[1])
