"""How far made images are from real ones, in the features of a classifier trained for this."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from maskjax.errors import BadInput, unknown
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.task.answers import answer, needs
from maskjax.train.checkpoints.load import load
from maskjax.train.evaluators.samples import make
from maskjax.train.workdirs.workdir import read_record


@needs("sample", kinds=("image",))
def frechet(
  context: Any,
  *,
  network: str,
  reference: str = "train",
  split: str = "test",
  examples: int = 2000,
  batch_size: int = 250,
) -> dict[str, float]:
  r"""The Fréchet distance of samples to real images, beside those of real test images and noise.

  $\lVert \mu_1 - \mu_2 \rVert^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})$
  of the means and covariances of features: those of the run `network`, a classifier trained on
  images of this kind, its last maps averaged. Comparable under the same network and `examples`
  alone, and with no figure of another network (FID, say, which is that of Inception-v3).

  Protocol: `examples` of `split`, evenly spaced, say what samples are conditioned on, one sample
  each, with the same keys at every step; pixels are cut to [0, 1]. Those real images themselves,
  and as many of uniform noise in every pixel, are measured alike. The reference is five times as
  many of `reference`, evenly spaced, or all. Few examples make every distance larger than it is.

  Args:
    context: what the training loop hands over.
    network: workdir of a classifier, or "stages/NAME" within this run's.
    reference: split of the real images.
    split: that says what samples are conditioned on.
    examples: how many are sampled.
    batch_size: examples at a time.

  Returns:
    "distance" of samples, "real" that of the images of `split`, and "noise".

  Raises:
    BadInput: a task that samples nothing, an unknown split, fewer than two examples, or a network
      of other images.
  """
  sample = answer(context.task, "sample", "frechet")
  for name in (split, reference):
    if name not in context.record.sizes:
      raise unknown("split", name, context.record.sizes)
  if examples < 2:
    raise BadInput(f"frechet.examples must be at least 2, got {examples}")
  context.mesh.check(batch_size, 1)
  place = context.place(network)
  theirs, loaded = read_record(place), load(place)
  if theirs.shape != context.record.shape:
    raise BadInput(
      f"frechet: {network} sees images {theirs.shape}, these are {context.record.shape}"
    )
  translate = _translate(context.record, theirs)

  def encode(image: Any) -> np.ndarray:
    features = loaded.apply(loaded.variables, {"image": translate(image)})["mean"]
    return np.asarray(context.mesh.get(features), np.float64)

  parts: dict[str, list[np.ndarray]] = {"distance": [], "real": [], "noise": []}
  for i, batch in enumerate(context.examples(split, batch_size, examples)):
    valid = batch.pop("valid")
    placed = context.mesh.put_whole({**batch, "position": np.arange(batch_size, dtype=np.int32)})
    key = stream(context.key, "batch", i)
    given = keys(key, batch_size)
    made = make(sample, context.variables, given, placed)["image"]
    noise = jax.random.uniform(stream(key, "noise"), batch["image"].shape)
    blank = (noise - np.array(context.record.mean)) / np.array(context.record.std)
    for name, image in (("distance", made), ("real", batch["image"]), ("noise", blank)):
      parts[name].append(encode(image)[valid])
  real = [
    encode(batch["image"])[batch["valid"]]
    for batch in context.examples(reference, batch_size, 5 * examples)
  ]
  against = np.concatenate(real)
  return {name: distance(np.concatenate(x), against) for name, x in parts.items()}


def distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
  r"""The Fréchet distance of two normal distributions with the moments of these features.

  $\mathrm{tr} (\Sigma_1 \Sigma_2)^{1/2}$ is the sum of the roots of the eigenvalues of the
  symmetric $\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2}$, which are those of the product.

  >>> x = np.array([[-1.0], [1.0]])
  >>> distance(x, x), distance(x, x + 3), round(distance(x, 2 * x), 4)
  (0.0, 9.0, 2.0)

  Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982.
  """
  means, covariances = zip(*((x.mean(0), np.atleast_2d(np.cov(x.T))) for x in (a, b)), strict=True)
  power, axes = np.linalg.eigh(covariances[0])
  root = (axes * np.sqrt(np.maximum(power, 0))) @ axes.T
  shared = np.linalg.eigvalsh(root @ covariances[1] @ root)
  gap = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1])
  return float(max(gap - 2 * np.sqrt(np.maximum(shared, 0)).sum(), 0.0))


def _translate(ours: Record, theirs: Record) -> Any:
  """Images as one record normalises them, cut to what pixels can be, as another does."""
  mean, std, to_mean, to_std = (
    np.array(x, np.float32) for x in (ours.mean, ours.std, theirs.mean, theirs.std)
  )
  return lambda image: (jnp.clip(jnp.asarray(image) * std + mean, 0, 1) - to_mean) / to_std
