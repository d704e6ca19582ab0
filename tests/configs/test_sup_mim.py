"""Chen et al. 2023: the class of the whole image, codes from what a mask leaves, one encoder."""

import jax
import numpy as np
from scipy.special import log_softmax

from maskjax.model import ViTClassifier


def test_masks_are_maes_the_class_sees_none_and_has_no_part_in_the_decoder(built, ignores_the_grid):
  assert ignores_the_grid(built("sup_mim").masks["hidden"], (16, 16)) == [192]
  made = built("sup_mim", "laptop")
  graph, image, label = made.task.loss.__self__, made.batch["image"], made.batch["label"]

  def terms(params, label, seed):
    given = {**made.variables, "params": params}, {**made.batch, "label": label}
    run, networks = graph.run(*given, jax.random.key(seed), 0, train=True)
    both = [t.sum / t.count for t in run.take("losses.classify", "losses.recover")]
    codes = networks["tokenizer"](image, method="encode")
    return both, (*both, *run.take("prediction", "hidden"), codes)

  @jax.jit
  def run(params, labels, seeds):
    encoder, head = ({"encoder": made.variables["buffers"]["encoder"]}, params["head"])
    own = lambda h: {"params": {"encoder": params["encoder"], "head": h}, "buffers": encoder}
    logits = made.task.answers["predict"](own(head), made.batch)
    apart = logits - ViTClassifier(made.task.network, 10).apply(own(head["predict"]), image)
    slopes = lambda one: jax.jacrev(terms, has_aux=True)(params, *one)
    return *jax.lax.map(slopes, (labels, seeds)), apart

  labels = np.stack([label, label, (label + 1) % 10])  # and the second time another mask
  slopes, told, apart = jax.device_get(run(made.variables["params"], labels, np.arange(3) % 2))
  (a, b, c), (d, e, f), logits, hidden, codes = told
  assert (a == b, a == c, d == e, d == f) == (True, False, False, True)
  part = lambda i, name: any(x.any() for x in jax.tree.leaves(slopes[i][name]))
  trained = [[n for n in ("encoder", "head", "decoder") if part(i, n)] for i in (0, 1)]
  assert trained == [["encoder", "head"], ["encoder", "decoder"]]
  nats = -np.take_along_axis(log_softmax(logits, -1), codes[..., None], -1)[..., 0]
  np.testing.assert_allclose((d, e, f), nats.mean((1, 2), where=hidden), rtol=1e-5)
  assert np.abs(apart).max() < 1e-5
