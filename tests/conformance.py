"""One row per op of the grammar: how to call it, and small inputs that are batched along axis 0."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from maskjax import hide, over, recover, schedule, score, select, units
from maskjax.hide.pairs import dense
from maskjax.record import Record

BATCH, GRID, PATCH = 8, (2, 3), (2, 2)
N, WIDTH, KEEP = 6, 4, 3


class Row(NamedTuple):
  """An op with everything but its arrays bound.

  Attributes:
    op: takes the arrays.
    inputs: `random generator -> arrays`, each `[BATCH, …]`.
    sums: whether the results are sums over the batch, to be added up over devices.
  """

  op: Callable[..., Any]
  inputs: Callable[[np.random.Generator], tuple[Any, ...]]
  sums: bool = False


def noise(rng, *shape):
  """Scores with ties, both zeros, infinities and NaN among them."""
  x = np.round(2 * smooth(rng, *shape)) / 2
  x[0, 0], x[1, 0], x[2, 1] = np.nan, np.inf, -0.0
  return x


def smooth(rng, *shape):
  """Values without exceptions."""
  return rng.standard_normal((BATCH, *shape), np.float32)


def whole(rng, low, high, *shape):
  """Integers from `low` to below `high`."""
  return rng.integers(low, high, (BATCH, *shape), np.int32)


def even(rng, *shape):
  """Shares of 1."""
  return rng.random((BATCH, *shape), np.float32)


def exact(rng):
  """Masks that hide N - KEEP positions of every example."""
  return (even(rng, N).argsort(axis=-1) >= KEEP,)


def ragged(rng):
  """Masks that hide anything from nothing to all."""
  return (even(rng, N) < np.linspace(0, 1, BATCH)[:, None],)


def one(*makers):
  """The inputs that several makers give, one after the other."""
  return lambda rng: sum((m(rng) for m in makers), ())


def drawn(name, seed=0):
  """The inputs of a row."""
  return jax.tree.map(jnp.asarray, ROWS[name].inputs(np.random.default_rng(seed)))


scores = lambda rng: (noise(rng, N),)
tokens = lambda rng: (smooth(rng, N, WIDTH),)
tables = lambda rng: (smooth(rng, 5, 3),)
ids = lambda rng: (whole(rng, 0, 9, N),)
pairs_of_ids = lambda rng: (whole(rng, 0, 2, N, 2),)
label = lambda rng: (whole(rng, 0, WIDTH),)
classes = lambda rng: (whole(rng, 0, WIDTH, N),)
gates = lambda rng: (np.maximum(smooth(rng, N), 0),)
documents = lambda rng: (np.cumsum(even(rng, N) < 0.4, axis=-1, dtype=np.int32),)
packed = lambda rng: (smooth(rng, KEEP, WIDTH),)
counts = lambda rng: (whole(rng, 0, N + 1),)
few = lambda rng: (whole(rng, 0, 4, 2),)
own = lambda rng: (jax.random.wrap_key_data(rng.integers(0, 2**32, (BATCH, 2), np.uint32)),)
uniforms = lambda rng: (even(rng, 10),)
unit = lambda rng: (whole(rng, -1, 3, N),)
signals = lambda rng: (smooth(rng, 3, 12),)
some = lambda rng: (ragged(rng)[0][:, :3],)
boxes = lambda rng: (whole(rng, -1, 4, 2, len(GRID)),)
share = lambda rng: (even(rng),)
progress = lambda rng: (even(rng, 3),)
steps = lambda rng: (whole(rng, 0, 120, 3),)
images = lambda rng: (smooth(rng, GRID[0] * PATCH[0], GRID[1] * PATCH[1], 3),)
patches = lambda rng: (smooth(rng, N, 12),)
histograms = lambda rng: (even(rng, N, 27),)


def at(factory, *args, **kwargs):
  """A row of a schedule, called with `u` or the step."""
  inputs = steps if factory.__name__.startswith("at_") else progress
  return Row(factory(*args, **kwargs), inputs)


def pairs(predicate):
  """A row of a mask of pairs, called with the segments of each example."""
  return Row(lambda segments: dense(predicate, N, segments), documents)


PATTERNS = jnp.arange(N)[:, None] == jnp.arange(4)
line = schedule.linear(0.75, 0.25)
RGB = Record("image", (4, 6, 3), {}, mean=(0.5,) * 3, std=(0.25,) * 3)
IMAGE_PATCHES = over.patches(record=RGB, patch=PATCH)
CLIP = over.patches(record=Record("video", (4, 3, 2, 3), {}), patch=(2, 1, 2))
ROWS = {
  "score.running_cell": Row(partial(score.running_cell, grid=(3, 4, 2)), own),
  "score.uniform": Row(partial(score.uniform, grid=GRID), own),
  "score.blocks": Row(partial(score.blocks, grid=GRID, size=(2, 2)), own),
  "score.blocks/offset": Row(partial(score.blocks, grid=GRID, size=(None, 2), offset=True), own),
  "score.color_noise": Row(partial(score.color_noise, grid=GRID, color="green"), own),
  "score.color_noise/sigma": Row(
    partial(score.color_noise, grid=(*GRID, 2), color="red", sigma=(0.8,), passes=1), own
  ),
  "score.filtered": Row(
    partial(score.filtered, grid=GRID, color="purple"), lambda rng: (smooth(rng, 5, 7),)
  ),
  "score.draw_kept": Row(score.draw_kept, one(own, lambda rng: (smooth(rng, N),))),
  "score.band": Row(partial(score.band, grid=GRID, radius=0.3), own),
  "score.box": Row(partial(score.box, grid=GRID), own),
  "score.fourier_noise": Row(partial(score.fourier_noise, grid=GRID), own),
  "score.fourier_noise/line": Row(partial(score.fourier_noise, grid=(N,), decay=1.0), own),
  "score.fourier_noise/space": Row(partial(score.fourier_noise, grid=(2, 1, 3)), own),
  "score.antithetic": Row(
    lambda i: score.antithetic(jax.random.key(0), i, BATCH), lambda rng: (whole(rng, 0, BATCH),)
  ),
  "score.bernoulli": Row(score.bernoulli, one(own, lambda rng: (even(rng, N),))),
  # Candidates lead, which is no axis of examples.
  "score.best_of": Row(
    lambda s, w: score.best_of(jnp.moveaxis(s, -2, 0), jnp.moveaxis(w, -1, 0)),
    lambda rng: (smooth(rng, 3, N), smooth(rng, 3)),
  ),
  "score.gumbel": Row(score.gumbel, one(own, scores)),
  "score.gumbel/each": Row(
    lambda k, s, t: score.gumbel(k, s, temperature=1 + t), one(own, scores, share)
  ),
  "score.hard_first": Row(
    lambda k, s: score.hard_first(k, s, select=partial(select.top, count=2)), one(own, scores)
  ),
  "score.inherit": Row(score.inherit, one(scores, unit)),
  "score.inherit/shared": Row(partial(score.inherit, unit=units.sections((1, 2, 1))), scores),
  "score.normal": Row(partial(score.normal, grid=GRID), own),
  "score.log_prob": Row(score.log_prob, one(lambda rng: (smooth(rng, N),), ragged)),
  "score.log_prob/where": Row(score.log_prob, one(lambda rng: (smooth(rng, N),), ragged, ragged)),
  "score.logistic": Row(partial(score.logistic, ratio=0.3), one(own, tables)),
  "score.logistic/inputs": Row(
    partial(score.logistic, ratio=0.3, inputs=0.4, hide_inputs=True), one(own, tables)
  ),
  "score.self_masked": Row(partial(score.self_masked, ratio=0.3), one(own, tables)),
  "score.spans": Row(partial(score.spans, grid=GRID), own),
  "score.spans/short": Row(partial(score.spans, grid=GRID, p=0.5, longest=2), own),
  "score.split": Row(partial(score.split, sizes=(2, 4), keep=KEEP), own),
  "score.split/subsets": Row(
    partial(score.split, sizes=(2, 1, 3), keep=KEEP, alpha=(0.5, 1.0, 2.0), subsets=True), own
  ),
  "score.accepted": Row(score.accepted, one(own, lambda rng: (even(rng, N),), unit)),
  "score.ngrams": Row(score.ngrams, one(own, unit)),
  "score.words": Row(score.words, one(own, unit)),
  "score.confidence": Row(
    partial(score.confidence, noise=0.5),
    one(tokens, classes, own),
  ),
  "score.entropy": Row(score.entropy, tokens),
  "score.margin": Row(score.margin, tokens),
  "score.noisy_confidence": Row(score.noisy_confidence, one(tokens, classes)),
  "select.top": Row(partial(select.top, count=2), scores),
  "select.top/ratio": Row(partial(select.top, ratio=0.5), scores),
  "select.top/counts": Row(
    lambda s, c, a: select.top(s, count=c, allowed=a), one(scores, counts, ragged)
  ),
  "select.top/ratios": Row(
    lambda s, r, a: select.top(s, ratio=r, allowed=a), one(scores, share, ragged)
  ),
  "select.top/share": Row(lambda s, a: select.top(s, ratio=0.5, allowed=a), one(scores, ragged)),
  "select.top/all": Row(
    jnp.vectorize(partial(select.top, count=2, axis=None), signature="(n)->(n)"), scores
  ),
  "select.top_up": Row(partial(select.top_up, ratio=0.5), scores),
  "select.top_up/allowed": Row(
    lambda s, c, a: select.top_up(s, count=c, allowed=a), one(scores, counts, ragged)
  ),
  "select.threshold": Row(partial(select.threshold, above=0.5), scores),
  "select.threshold/each": Row(
    lambda s, t, a: select.threshold(s, above=t, allowed=a), one(scores, share, ragged)
  ),
  "select.count_of": Row(partial(select.count_of, ratio=0.3), counts),
  "select.n_of_m": Row(partial(select.n_of_m, keep=1, of=3), scores),
  "select.n_of_m/axis": Row(partial(select.n_of_m, keep=2, of=3, axis=-2), tokens),
  "select.n_of_m/allowed": Row(
    lambda s, a: select.n_of_m(s, keep=1, of=3, allowed=a), one(scores, ragged)
  ),
  "select.per_block": Row(partial(select.per_block, grid=GRID, size=(2, 1), count=1), scores),
  "select.per_block/ratios": Row(
    lambda s, r, a: select.per_block(s, grid=GRID, size=(1, None), ratio=r, allowed=a),
    one(scores, share, ragged),
  ),
  "select.per_section": Row(partial(select.per_section, sizes=(2, 4), counts=(1, 3)), scores),
  "select.per_section/counts": Row(
    lambda s, c, a: select.per_section(s, sizes=(3, 3), counts=c, allowed=a),
    one(scores, few, ragged),
  ),
  "select.per_axis": Row(partial(select.per_axis, grid=GRID, counts=(1, 1)), scores),
  "select.per_axis/ratios": Row(
    lambda s, r, a: select.per_axis(s, grid=GRID, ratios=(r, 0.3), join="all", allowed=a),
    one(scores, share, ragged),
  ),
  "select.whole": Row(select.whole, one(ragged, unit)),
  "select.whole/up": Row(
    lambda h, u, a: select.whole(h, u, up=True, allowed=a), one(ragged, unit, ragged)
  ),
  "select.spread": Row(partial(select.spread, length=2), ragged),
  "select.spread/limit": Row(
    lambda s, x, n: select.spread(s, length=x, limit=n), one(ragged, ids, counts)
  ),
  "select.rectangles": Row(partial(select.rectangles, grid=GRID), one(boxes, boxes)),
  "select.block_size": Row(
    lambda u: select.block_size(u[..., :2], grid=(8, 6), scale=(0.1, 0.4), aspect=(0.5, 2.0)),
    uniforms,
  ),
  "select.multiblock": Row(
    lambda u: jnp.moveaxis(select.multiblock(u, grid=(4, 6), targets=2).asked, 0, -2), uniforms
  ),
  "select.multiblock/hidden": Row(
    lambda u: select.multiblock(u, grid=(4, 6), targets=1, least=9, tied=True).hidden, uniforms
  ),
  # Views lead; here they come after the batch, as everything else does.
  "select.nested": Row(lambda s: jnp.moveaxis(select.nested(s, counts=(2, 0, 3)), 0, -2), scores),
  "select.disjoint": Row(
    lambda s, c, a: jnp.moveaxis(select.disjoint(s, counts=(1, c), allowed=a), 0, -2),
    one(scores, counts, ragged),
  ),
  "select.complement": Row(select.complement, ragged),
  "select.union": Row(select.union, one(ragged, ragged)),
  "select.again": Row(
    lambda s, a: jnp.moveaxis(
      select.again(s, select=partial(select.top, ratio=0.4), times=2, allowed=a), 0, -2
    ),
    one(scores, ragged),
  ),
  "select.limited": Row(
    lambda s, h, r, a: select.limited(s, h, ratio=r, allowed=a), one(scores, ragged, share, ragged)
  ),
  "select.limited/all": Row(
    jnp.vectorize(partial(select.limited, ratio=0.5, axis=None), signature="(n),(n)->(n)"),
    one(scores, exact),
  ),
  "select.harden": Row(select.harden, scores),
  "select.deal": Row(partial(select.deal, count=2), scores),
  "select.deal/ratios": Row(lambda s, r: select.deal(s, ratio=r), one(scores, share)),
  "select.harden/counts": Row(
    lambda g, c, a: select.harden(g, count=c, allowed=a), one(scores, counts, ragged)
  ),
  "select.ideal_binary": Row(select.ideal_binary, signals),
  "select.ideal_ratio": Row(select.ideal_ratio, signals),
  "select.ideal_ratio/power": Row(partial(select.ideal_ratio, power=2.0), signals),
  "select.sigmoid": Row(partial(select.sigmoid, temperature=0.5, stretch=(-0.1, 1.1)), scores),
  "select.shares": Row(
    lambda s, u: select.shares(s, segment=u, segments=3, temperature=0.5), one(scores, unit)
  ),
  "select.shares/allowed": Row(
    lambda s, u, a: select.shares(s, segment=u, segments=2, allowed=a), one(scores, unit, ragged)
  ),
  "select.softmax": Row(partial(select.softmax, patterns=PATTERNS), scores),
  "select.straight_through": Row(select.straight_through, scores),
  "select.straight_through/hidden": Row(select.straight_through, one(scores, ragged)),
  "hide.corrupt": Row(
    partial(hide.corrupt, vocabulary=9, mask_id=0),
    one(ids, ragged, own),
  ),
  "hide.similar": Row(
    partial(hide.similar, nearest=jnp.array([3, 0, -1, 1, 5, 4, 8, -1, 6]), vocabulary=9),
    one(ids, ragged, own, unit),
  ),
  "hide.drop": Row(partial(hide.drop, keep=KEEP), one(tokens, exact)),
  "hide.drop/ragged": Row(partial(hide.drop, keep=KEEP), one(tokens, ragged)),
  "hide.drop/ids": Row(partial(hide.drop, keep=KEEP), one(ids, ragged)),
  "hide.drop_label": Row(hide.drop_label, one(lambda rng: (whole(rng, 0, 9),), own)),
  "hide.restore": Row(partial(hide.restore, fill=jnp.full(WIDTH, 7.0)), one(packed, exact)),
  "hide.restore/ragged": Row(partial(hide.restore, fill=jnp.zeros(WIDTH)), one(packed, ragged)),
  "hide.mean": Row(hide.mean, one(tokens, ragged)),
  "hide.blocks": pairs(hide.blocks()),
  "hide.blur": Row(partial(hide.blur, grid=GRID, sigma=0.8), one(tokens, ragged)),
  "hide.both": pairs(hide.both(hide.causal(), hide.blocks())),
  "hide.carry": Row(hide.carry, one(tokens, ragged)),
  "hide.causal": pairs(hide.causal()),
  "hide.either": pairs(hide.either(hide.causal(), hide.segments(), hide.window(2))),
  "hide.prefix": pairs(hide.prefix(2)),
  "hide.prefix/each": Row(lambda s, c: dense(hide.prefix(c), N, s), one(documents, counts)),
  "hide.segments": pairs(hide.segments()),
  "hide.window": pairs(hide.window(2)),
  "hide.within": pairs(hide.within(units.blocks(GRID, (2, 2), shift=(1, 0)))),
  "hide.fill": Row(partial(hide.fill, value=-1.0), one(tokens, ragged)),
  "hide.gate": Row(hide.gate, one(tokens, gates)),
  "hide.mix": Row(lambda x, y, h: hide.mix(x, h, y), one(tokens, tokens, ragged)),
  "hide.noise": Row(
    lambda x, h, k, a: hide.noise(x, h, k, alpha=a), one(tokens, ragged, own, share)
  ),
  "hide.neighbours": Row(partial(hide.neighbours, grid=GRID, steps=1), one(tokens, ragged)),
  "hide.neighbours/all": Row(partial(hide.neighbours, grid=(N,), steps=N + 4), one(tokens, ragged)),
  "hide.project": Row(hide.project, one(tokens, ragged, unit, ragged)),
  "hide.reject": Row(hide.reject, one(tokens, ragged, unit, ragged)),
  "hide.token": Row(partial(hide.token, mask_id=0), one(ids, ragged)),
  "recover.absolute_error": Row(recover.absolute_error, one(tokens, tokens, ragged), sums=True),
  "recover.squared_error": Row(recover.squared_error, one(tokens, tokens, ragged), sums=True),
  "recover.smooth_l1": Row(
    partial(recover.smooth_l1, beta=0.7), one(tokens, tokens, ragged), sums=True
  ),
  "recover.complex_distance": Row(recover.complex_distance, one(tokens, tokens, ragged), sums=True),
  "recover.hog": Row(partial(recover.hog, grid=GRID, scale=2.0), images),
  "recover.at_grid": Row(partial(recover.at_grid, grid=(8, 3)), images),
  "recover.hog_colors": Row(lambda x: recover.hog_colors(IMAGE_PATCHES, RGB, a=x)["a"], histograms),
  "recover.equal_rows": Row(recover.equal_rows, pairs_of_ids),
  "recover.cosine_distance": Row(recover.cosine_distance, one(tokens, tokens, ragged), sums=True),
  "recover.info_nce": Row(recover.info_nce, one(tokens, tokens), sums=True),
  "recover.info_nce/valid": Row(
    lambda a, b, v: recover.info_nce(a, b, valid=v), one(tokens, tokens, ragged), sums=True
  ),
  "recover.patch_cross_entropy": Row(
    lambda y, t, a: recover.patch_cross_entropy(y, t[..., None], a),
    one(tokens, classes, ragged),
    sums=True,
  ),
  "recover.per_example": Row(
    partial(recover.per_example, loss=recover.squared_error),
    one(tokens, tokens, ragged),
    sums=True,
  ),
  "recover.clipped_nats": Row(lambda a: recover.clipped_nats(a, line, 9), one(ragged)),
  "recover.cross_entropy": Row(recover.cross_entropy, one(tokens, classes, ragged), sums=True),
  "recover.cross_entropy/smooth": Row(
    partial(recover.cross_entropy, smoothing=0.1), one(tokens, classes, ragged), sums=True
  ),
  "recover.cross_entropy/shares": Row(
    lambda y, q, a: recover.cross_entropy(y, jax.nn.softmax(q), a),
    one(tokens, tokens, ragged),
    sums=True,
  ),
  "recover.cross_entropy/weight": Row(
    lambda y, t, a, w: recover.cross_entropy(y, t, a, weight=w),
    one(tokens, classes, ragged, gates),
    sums=True,
  ),
  "recover.elbo": Row(
    lambda y, t, h, w: recover.elbo(y, t, h, weight=w),
    one(tokens, classes, ragged, share),
    sums=True,
  ),
  "recover.kl_divergence": Row(recover.kl_divergence, one(tokens, tokens), sums=True),
  "recover.mixed_labels": Row(
    partial(recover.mixed_labels, classes=WIDTH), one(label, label, ragged)
  ),
  "recover.noise_level": Row(lambda t: recover.noise_level(t, line), share),
  "recover.nll": Row(recover.nll, one(tokens, classes, ragged)),
  "recover.policy_gradient": Row(
    partial(recover.policy_gradient, baseline=0.5), one(gates, gates, ragged), sums=True
  ),
  "recover.pairwise_ranking": Row(recover.pairwise_ranking, one(gates, gates, ragged), sums=True),
  "recover.si_snr": Row(recover.si_snr, one(signals, signals)),
  "recover.assignment": Row(recover.assignment, lambda rng: (smooth(rng, 3, 3),)),
  "recover.best_permutation": Row(recover.best_permutation, one(signals, signals)),
  "recover.best_permutation/asked": Row(recover.best_permutation, one(signals, signals, some)),
  "recover.not_silent": Row(recover.not_silent, one(signals)),
  "recover.negative_si_snr": Row(recover.negative_si_snr, one(signals, signals, some), sums=True),
  "recover.negative_si_snr/order": Row(
    partial(recover.negative_si_snr, permute=False), one(signals, signals, some), sums=True
  ),
  "recover.patchify": Row(partial(recover.patchify, patch=PATCH), images),
  "recover.unpatchify": Row(
    partial(recover.unpatchify, patch=PATCH, grid=GRID, channels=3), patches
  ),
  "recover.frame_pixels": Row(recover.frame_pixels(over=CLIP).encode, patches),
  "recover.latents": Row(recover.latents().encode, patches),
  "recover.latents/plain": Row(recover.latents(normalise=False).encode, patches),
  "recover.latents/decode": Row(recover.latents().decode, one(patches, patches)),
  "recover.pixels": Row(recover.pixels().encode, patches),
  "recover.pixels/plain": Row(recover.pixels(normalise=False).encode, patches),
  "recover.pixels/apart": Row(recover.pixels(apart=3).encode, patches),
  "recover.pixels/decode": Row(recover.pixels().decode, one(patches, patches)),
  "schedule.at_epoch": at(schedule.at_epoch, line, 10, 10),
  "schedule.at_step": at(schedule.at_step, line, 100),
  "schedule.beta": at(schedule.beta, 0.5, 0.5),
  "schedule.constant": at(schedule.constant, 0.5),
  "schedule.cosine": at(schedule.cosine, 0.75, 0.25),
  "schedule.cosine_tail": at(schedule.cosine_tail, 0.75, 0.25, 0.125),
  "schedule.during": at(schedule.during, line, 0.25, 0.75),
  "schedule.exponential": at(schedule.exponential, 0.75, 0.25),
  "schedule.linear": at(schedule.linear, 0.75, 0.25),
  "schedule.piecewise_linear": at(schedule.piecewise_linear, [0.75, 0.5, 0.25], [0.5]),
  "schedule.piecewise": at(schedule.piecewise, [line, schedule.constant(0.1)], [0.5]),
  "schedule.polynomial": at(schedule.polynomial, 0.75, 0.25),
  "schedule.power": at(schedule.power, 0.75, 0.25),
  "schedule.quarter_cosine": at(schedule.quarter_cosine, 0.75, 0.25),
  "schedule.quarter_sine": at(schedule.quarter_sine, 0.75, 0.25),
  "schedule.step": at(schedule.step, [0.75, 0.5], [0.5]),
  "schedule.truncated_normal": at(schedule.truncated_normal, 0.55, 0.25, 0.5, 1.0),
  "schedule.warmup": at(schedule.warmup, line, 0.25),
}
