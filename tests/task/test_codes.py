"""Codes of a tokenizer that are hidden and decoded, by presets of MAGE and its tokenizer."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built import Built

from maskjax import recover
from maskjax.errors import BadInput
from maskjax.hide import drop, token
from maskjax.model import code_autoencoder

HERE = pathlib.Path(__file__).parent
filled = runpy.run_path(str(HERE / "toy_weights.py"))["filled"]
close = runpy.run_path(str(HERE.parent / "closeness.py"))["close"]
KEY, N, CODES, B = jax.random.key(0), 64, 256, 8


def likeliest_at_once(c):
  """Samples are the likeliest codes, all of them at once, away from what is said without label."""
  c.let.generated.update(steps=1, temperature=0.0, guidance=1.0)


@functools.cache
def told():
  """What a network that is told labels says, shows and samples, in one program."""
  made = Built("mage", "labelled", likeliest_at_once)
  task, graph = made.task, made.task.loss.__self__
  variables = {**made.variables, "params": filled(made.shapes["params"])}

  @jax.jit
  def run(variables, batch):
    labels = {"label": jnp.arange(800) % 10, "position": jnp.arange(800)}
    label = [graph.run(variables, labels, KEY, step)[0].take("label") for step in (0, 1)]
    values = graph.run(variables, batch, KEY, 0)[0]
    codes, masked, dropped, one = values.take("values", "masked", "dropped", "label")
    grid = lambda x: {"image": x.reshape(B, 8, 8)}
    others = jnp.where(masked, CODES - 1 - codes, codes)
    whole = graph.run(variables, batch, KEY, 0, keep=N)[0]
    none, every = jnp.zeros_like(masked), jnp.ones_like(masked)
    own = jnp.arange(N) < jnp.arange(B)[:, None] * 8
    is_label = lambda i: jnp.full(B, i, one.dtype)
    rows = lambda *x: jax.tree.map(lambda *y: jnp.stack(y), *x)

    def cost(params):
      again = graph.run({**variables, "params": params}, batch, KEY, 0)[0]
      return again.ask("losses.masked", masked=every, label=is_label(0)).sum

    half = lambda x: values.ask("logits", source=grid(x[0]), label=x[1])
    some = (codes, one), (others, one), (codes, is_label(0)), (codes, is_label(1))
    said = lambda x: whole.ask("logits", masked=x[0], dropped=x[1], label=x[2])
    ways = (masked, dropped, one), (masked, none, one), (own, none, is_label(-1))
    blind = [(every, none, is_label(i)) for i in (-1, 0, 1)]
    whole_logits = jax.lax.map(said, rows(*ways, *blind))
    shown = jnp.where(own, jnp.argmax(whole_logits[2], axis=-1).astype(codes.dtype), codes)

    sampled = lambda label: task.answers["sample"](
      variables, jax.random.split(KEY, B), {**batch, "label": label}
    )
    samples = jax.lax.map(sampled, rows(is_label(0), is_label(1)))
    painted = lambda x: whole.ask("coded", source=grid(x))
    return {
      "label": jnp.stack(label),
      "masks": (masked, dropped, values.ask("masked", chosen=none)),
      "half": jax.lax.map(half, rows(*some)),
      "whole": whole_logits,
      "slope": jax.grad(cost)(variables["params"])["embed"]["embedding"],
      "samples": samples,
      "painted": jax.lax.map(painted, rows(samples["tokens"][0], shown)),
      "views": task.answers["views"](variables, batch, KEY),
      "own": (task.answers["views"](variables, batch, KEY, hidden=own), own),
      "shown": (codes, shown),
    }

  return jax.tree.map(np.asarray, run(variables, made.batch))


def test_a_share_of_the_examples_is_told_no_label():
  label = told()["label"]
  assert (label[label >= 0] == np.stack([np.arange(800) % 10] * 2)[label >= 0]).all()
  assert 0.06 < (label == -1).mean() < 0.14
  assert (label[0] != label[1]).any()


def test_what_is_dropped_is_hidden_though_less_was_chosen():
  masked, dropped, none_chosen = told()["masks"]
  np.testing.assert_array_equal(none_chosen, dropped)
  assert (masked.sum(-1) > 32).any()


def test_what_is_hidden_changes_nothing():
  half, other, zero, one = told()["half"]
  more, seen_as_masks, *_ = told()["whole"]
  np.testing.assert_array_equal(half, other)
  # Padding of a larger bucket is not seen.
  close(half, more, depth=13, terms=32, axis=None)
  # A mask that is seen is not the same as one that is dropped; a label is not as another.
  assert (np.abs(half - seen_as_masks).max(axis=(1, 2)) > 1e-3).all()
  assert (np.abs(zero - one).max(axis=(1, 2)) > 1e-3).all()


def test_a_codes_embedding_learns_nothing_from_being_predicted():
  slope = np.abs(told()["slope"]).max(-1)
  assert slope[:CODES].max() == 0
  # But the mask's does, and that of the label which was told.
  assert (slope[[CODES, CODES + 2]] > 0).all()
  assert slope[CODES + 1] == slope[CODES + 3 :].max() == 0


def test_samples_are_of_the_labels_that_are_told():
  sample, (none, *labels) = told()["samples"], told()["whole"][3:]
  for tokens, logits in zip(sample["tokens"], labels, strict=True):
    guided = 2 * logits - none
    chosen = np.take_along_axis(guided, tokens[..., None], -1)[..., 0]
    np.testing.assert_allclose(chosen, guided.max(-1), rtol=1e-5, atol=1e-5)
    assert (tokens != logits.argmax(-1)).any()
  assert (sample["tokens"][0] != sample["tokens"][1]).any()
  np.testing.assert_allclose(sample["image"][0], told()["painted"][0], rtol=1e-5, atol=1e-5)
  assert (sample["step"] == 1).all()


def test_views_show_what_is_hidden_and_the_likeliest_codes_there():
  (own, hidden), (codes, shown) = told()["own"], told()["shown"]
  cells = lambda mask: mask.reshape(B, 8, 8).repeat(4, 1).repeat(4, 2)
  gone = np.isnan(own["seen"]).all(-1)
  np.testing.assert_array_equal(gone, cells(hidden))
  np.testing.assert_array_equal(own["seen"][~gone], own["input"][~gone])
  # The first image is shown whole.
  np.testing.assert_array_equal(own["prediction"][0], own["coded"][0])
  np.testing.assert_allclose(own["prediction"], told()["painted"][1], rtol=1e-5, atol=1e-5)
  assert (shown != codes).any()
  # Without a mask of the caller's it is that of the loss.
  views, masked = told()["views"], told()["masks"][0]
  np.testing.assert_array_equal(np.isnan(views["seen"]).all(-1), cells(masked))
  assert (views["prediction"] != views["coded"]).any()


@functools.cache
def contrasted():
  """Masks of both looks at many images, and what is contrasted of some."""
  made = Built("mage", "contrasted")
  task, graph = made.task, made.task.loss.__self__
  assert task.coupled
  assert task.weights == {"masked": 1.0, "contrast": 0.1}

  @jax.jit
  def run(variables, batch):
    names = "masked", "dropped", "other.masked", "other.dropped"
    order = jnp.stack([jnp.arange(64), jnp.arange(63, -1, -1)])
    image = jnp.zeros((64, 32, 32, 3))
    given = lambda position: {"image": image, "position": position}
    masks = lambda position: graph.run(variables, given(position), KEY, 3)[0].all(names)
    values = graph.run(variables, batch, KEY, 3)[0]
    one, two, term = values.take("vector", "other.vector", "losses.contrast")
    masked, dropped = values.take("other.masked", "other.dropped")
    again = values.ask("vector", masked=masked, dropped=dropped)
    masked, at = values.take("masked", "positions")
    next_code = (at.values + 1) % made.config["model"]["network"]["codes"]
    changed = lambda where: at._replace(values=jnp.where(where, next_code, at.values))
    hidden, seen = (values.ask("vector", positions=changed(w)) for w in (masked, ~masked))
    return jax.lax.map(masks, order), one, two, term, again, (masked, hidden, seen)

  return jax.tree.map(np.asarray, run(made.initial, made.batch))


def test_both_looks_are_at_the_same_image_behind_masks_that_are_independent():
  masks, one, two, term, again, _ = contrasted()
  # They follow an example's position, not its place.
  jax.tree.map(lambda x: np.testing.assert_array_equal(x[0], x[1, ::-1]), masks)
  masked, dropped, masked2, dropped2 = (x[0] for x in masks)
  for hides, drops in ((masked, dropped), (masked2, dropped2)):
    assert (drops.sum(-1) == 32).all()
    assert not (drops & ~hides).any()
    assert len(np.unique(hides.sum(-1))) > 10
  # Of 32 places that one look drops, another of its own drops 16, give or take 2.02.
  both = (dropped & dropped2).sum(-1)
  assert abs(both.mean() - 16) < 4 * 2.02 / 8
  # Nor is the share of the one that of the other.
  assert abs(np.corrcoef(masked.sum(-1), masked2.sum(-1))[0, 1]) < 0.5
  np.testing.assert_allclose(two, again, rtol=1e-5, atol=1e-6)
  expected = recover.info_nce(jnp.asarray(one), jnp.asarray(two), temperature=0.2)
  np.testing.assert_allclose(term.sum, expected.sum, rtol=1e-5)
  assert np.abs(one - two).max() > 1e-3


def test_what_is_contrasted_are_the_codes_that_are_seen():
  _, one, *_, (masked, hidden, seen) = contrasted()
  np.testing.assert_allclose(hidden, one, rtol=1e-5, atol=1e-6)
  some = ~masked.all(-1)
  assert some.sum() > 2
  assert (np.abs(seen - one).max(-1)[some] > 1e-3).all()
  # Images are told apart.
  assert (np.abs(one[1:] - one[:-1]).max(-1)[some[1:] & some[:-1]] > 1e-3).all()


def test_what_is_compared_are_two_layers_on_the_mean_of_the_codes_that_are_seen():
  sizes = dict(size="mu", width=8, heads=2, decoder_depth=1, decoder_heads=2)
  network = code_autoencoder(codes=7, grid=(4, 4), project=6, **sizes)
  tokens = jax.device_put(np.random.default_rng(0).integers(0, 7, (4, 16), np.int32))
  hidden, dropped = (jnp.tile(jnp.arange(16) % 4 < k, (4, 1)) for k in (3, 2))
  ids = token(tokens, hidden, 7)
  seen = lambda keep: drop(ids, dropped, keep=keep, exact=keep == 8)
  every = lambda module: module.contrasted(module.look(seen(8)), dropped)
  variables = filled(jax.eval_shape(functools.partial(network.init, method=every), KEY))

  @jax.jit
  def run(variables):
    def of(variables, keep):
      encoded = network.apply(variables, seen(keep), method="look")
      return network.apply(variables, encoded, dropped, method="contrasted"), encoded

    on = lambda path, x: jnp.full(x.shape, path[1].key == "encoder", x.dtype)
    moved = jax.tree_util.tree_map_with_path(on, variables)
    (found, encoded), (change, _) = jax.jvp(lambda v: of(v, 8), (variables,), (moved,))
    return found, encoded, change, of(variables, 12)[0]

  vector, encoded, change, padded = jax.tree.map(np.asarray, run(variables))
  assert encoded.shape == (4, 9, 8)
  weights = jax.tree.map(np.asarray, variables["params"])
  dense = lambda x, name: x @ weights[name]["kernel"] + weights[name]["bias"]
  mean = encoded[:, 1:].mean(axis=1)  # without the label's token
  expected = dense(np.maximum(dense(mean, "project_in"), 0), "project_out")
  np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)
  # Padding of a larger bucket is not compared, and the encoder learns from what is.
  np.testing.assert_allclose(padded, expected, rtol=1e-4, atol=1e-5)
  assert (np.abs(change).max(axis=1) > 1e-4).all()


def test_what_cannot_work_is_refused():
  bare = Built("mage", "contrasted", lambda c: c.model.network.update(project=0))
  with pytest.raises(BadInput, match="set project"):
    _ = bare.shapes
  with pytest.raises(BadInput, match="labels"):
    code_autoencoder(codes=7, grid=(4, 4), conditional=True)

  def drop_a_share_that_moves(c):
    c.let.dropped.ratio = dict(fn="schedule.linear", start=0.0, end=0.5)

  with pytest.raises(BadInput, match="hides no fixed number"):
    Built("mage", "laptop", drop_a_share_that_moves)


def test_a_tokenizer_brings_images_back():
  """Its loss is that of the paper, and its gradient passes the codebook straight through."""
  made = Built("mage/tokenizer", "laptop")
  task, graph = made.task, made.task.loss.__self__
  variables = {"params": filled(made.shapes["params"], 1.0)}

  @jax.jit
  def run(variables, batch):
    sums = lambda v: {k: t.sum for k, t in task.loss(v, batch, KEY, 0)[0].items()}
    terms, pull = jax.vjp(sums, variables)
    slope = lambda name: pull({k: jnp.float32(k == name) for k in terms})[0]["params"]["tokenizer"]
    quantised, network = graph.run(variables, batch, KEY, 0)[0].take("quantised", "tokenizer")
    views = task.answers["views"](variables, batch, KEY)
    sample = task.answers["sample"](variables, jax.random.split(KEY, B), batch)
    painted = network(quantised.tokens, method="decode")
    return quantised, views, sample, painted, terms, {name: slope(name) for name in terms}

  batch = made.batch
  made, views, sample, painted, terms, slopes = jax.tree.map(np.asarray, run(variables, batch))
  assert len(np.unique(made.tokens)) > 3
  for image in (painted, views["prediction"], sample["image"]):
    np.testing.assert_allclose(image, made.image, rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(sample["tokens"], made.tokens)
  np.testing.assert_array_equal(views["input"], batch["image"])
  book = np.asarray(variables["params"]["tokenizer"]["codebook"])
  book = book / np.linalg.norm(book, axis=-1, keepdims=True)
  near = np.linalg.norm(made.latents[:, :, None] - book, axis=-1).argmin(-1)
  np.testing.assert_array_equal(made.tokens, near)
  gap = np.square(made.latents - made.codes).mean(-1).sum()
  error = np.square(made.image - batch["image"]).mean(-1).sum()
  for name, expected in (("codes", gap), ("latents", gap), ("recover", error)):
    np.testing.assert_allclose(terms[name], expected, rtol=1e-4)
  assert task.weights == {"recover": 1.0, "codes": 1.0, "latents": 0.25}
  part = lambda tree, name: tree["encoder"]["embed"]["kernel"] if name == "encoder" else tree[name]
  reached = lambda name: [
    bool(np.abs(part(slopes[name], one)).max()) for one in ("encoder", "codebook")
  ]
  assert reached("recover") == reached("latents") == [True, False]
  assert reached("codes") == [False, True]
