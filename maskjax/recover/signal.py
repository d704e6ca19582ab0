"""What separated signals cost: signal-to-noise ratios, and which estimate serves which source."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from maskjax import masks, reduce
from maskjax.errors import BadInput

EPS = 1e-8
MOST = 8  # sources: 40,320 ways to serve them


def si_snr(estimate: Float[Array, "*b n"], source: Float[Array, "*b n"]) -> Float[Array, "*b"]:
  r"""Scale-invariant signal-to-noise ratio in dB, in float32.

  $10 \log_{10} (\lVert t \rVert^2 / \lVert \hat s - t \rVert^2)$ with the part of the estimate that
  the source explains, $t = \langle \hat s, s \rangle s / \lVert s \rVert^2$; both less their means.
  Of a silent source, or a silent estimate, it is -80.

  >>> source = jnp.array([1., -1., 1., -1.])
  >>> round(si_snr(3 * source + jnp.array([1., 1., -1., -1.]), source).item(), 3)
  9.542

  Source: Le Roux et al., "SDR - Half-Baked or Well Done?", 2019; Luo and Mesgarani 2019, section
  II.E.
  """
  estimate, source = (x.astype(jnp.float32) for x in (estimate, source))
  estimate, source = (x - x.mean(axis=-1, keepdims=True) for x in (estimate, source))
  power = lambda x: jnp.sum(x * x, axis=-1, keepdims=True)
  explained = jnp.sum(estimate * source, axis=-1, keepdims=True) / (power(source) + EPS) * source
  ratio = power(explained) / (power(estimate - explained) + EPS)
  return 10 * jnp.log10(ratio[..., 0] + EPS)


def assignment(gain: Float[Array, "*b k k"]) -> Int[Array, "*b k"]:
  """Which estimate serves each source, so that the sum of the gains is as large as it can be.

  `gain[i, j]` is that of source i served by estimate j; all k! ways are tried, and the first of
  equals is taken. A gain that is NaN is the worst.

  Raises:
    BadInput: more than 8 sources.

  >>> assignment(jnp.array([[1., 5., 0.], [4., 4., 0.], [3., 0., 2.]])).tolist()
  [1, 0, 2]

  Source: Kolbæk et al., "Multitalker Speech Separation with Utterance-Level Permutation Invariant
  Training of Deep Recurrent Neural Networks", 2017.
  """
  k = gain.shape[-1]
  if k > MOST:
    raise BadInput(f"{k} sources can be served in {math.factorial(k)} ways; at most {MOST} sources")
  ways = np.array(list(itertools.permutations(range(k))))
  gain = jnp.where(jnp.isnan(gain), -jnp.inf, gain)
  totals = sum(gain[..., i, ways[:, i]] for i in range(k))
  return jnp.asarray(ways, jnp.int32)[jnp.argmax(totals, axis=-1)]


def best_permutation(
  estimates: Float[Array, "*b k n"],
  sources: Float[Array, "*b k n"],
  asked: Bool[Array, "*b k"] | None = None,
) -> Int[Array, "*b k"]:
  """The permutation of estimates whose `si_snr`, summed over the asked sources, is the highest.

  Sources that are not asked take what is left. No gradient flows through the choice.

  Args:
    estimates: k signals of n samples.
    sources: the true ones, in any order.
    asked: sources that count; None: all.

  Returns:
    The index of the estimate of each source.

  Raises:
    TypeError: `asked` is not bool.

  >>> sources = jnp.array([[1., -1., 0.], [1., 1., -2.]])
  >>> best_permutation(sources[::-1], sources).tolist()
  [1, 0]
  """
  estimates, sources = jax.lax.stop_gradient((estimates, sources))
  gain = si_snr(*jnp.broadcast_arrays(estimates[..., None, :, :], sources[..., None, :]))
  if asked is not None:
    masks.check(asked=asked)
    gain = jnp.where(asked[..., None], gain, 0)
  return assignment(gain)


def not_silent(sources: Float[Array, "*b k n"]) -> Bool[Array, "*b k"]:
  """Which sources are to be heard: not zero throughout.

  >>> not_silent(jnp.array([[0.0, 0.5], [0.0, 0.0]])).tolist()
  [True, False]
  """
  return jnp.any(sources != 0, axis=-1)


def negative_si_snr(
  estimates: Float[Array, "*b k n"],
  sources: Float[Array, "*b k n"],
  asked: Bool[Array, "*b k"],
  *,
  permute: bool = True,
) -> reduce.Term:
  """Minus the `si_snr` of every asked source: permutation-invariant training.

  Each source is compared with the estimate that `best_permutation` gives it.

  Without `permute`, estimate i is of source i.

  Args:
    estimates: k signals of n samples.
    sources: the true ones.
    asked: sources that count.
    permute: whether estimates may be in another order.

  Returns:
    Decibels, the lower the better, and the number of asked sources.

  >>> sources = jnp.array([[1., -1., 0.], [1., 1., -2.]])
  >>> t = negative_si_snr(sources[::-1], sources, jnp.array([True, True]))
  >>> bool(t.sum < -100), int(t.count)
  (True, 2)

  Source: Luo and Mesgarani 2019 (Conv-TasNet), section II.E.
  """
  masks.check(asked=asked)
  # Cut here, not only in the sum: 0 · NaN is NaN.
  sources = jnp.where(asked[..., None], sources, 0)
  if permute:
    served = best_permutation(estimates, sources, asked)
    estimates = jnp.take_along_axis(estimates, served[..., None], axis=-2)
  estimates = jnp.where(asked[..., None], estimates, 0)
  return reduce.term(-si_snr(estimates, sources), asked)
