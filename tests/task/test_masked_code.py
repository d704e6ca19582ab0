"""Masked codes: two cuts of one ranking, what reaches what, agreement with MAGE's public code."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

from maskjax import bind, recover, schedule, score, select
from maskjax.errors import BadInput
from maskjax.generate import decode
from maskjax.model import code_autoencoder, tokenizer
from maskjax.record import Record
from maskjax.task import masked_code, tokenize

HERE = pathlib.Path(__file__).parent
GOLDEN = load_file(HERE.parent / "golden" / "mage.safetensors")
RECORD = Record("image", (8, 8, 3), {"train": 9}, ("a", "b"), mean=(0.5,) * 3, std=(0.25,) * 3)
BOOK = functools.partial(tokenizer, codes=7, code_width=4, unit=True, patch=(2, 2), widths=(8,))
BOOK = functools.partial(BOOK, blocks=1)
SIZES = dict(size="mu", width=8, heads=2, decoder_depth=1, decoder_heads=2)
NET = functools.partial(code_autoencoder, **SIZES)
DRAWN = bind.Moving(schedule.truncated_normal(0.55, 0.25, 0.5, 1.0), each=True)


def task(**words):
  """A small MAGE; four by four codes, eight of which the encoder sees."""
  options = dict(
    record=RECORD,
    tokenizer=BOOK,
    model=NET,
    score=functools.partial(score.white),
    select=functools.partial(select.top, ratio=DRAWN),
    drop=functools.partial(select.top, ratio=0.5),
    generate=functools.partial(
      decode,
      score=functools.partial(score.confidence),
      select=functools.partial(select.top),
      schedule=functools.partial(schedule.quarter_cosine),
      steps=3,
      binomial=False,
    ),
  )
  return masked_code(**{**options, **words})


def batch(count=4, seed=0):
  """Noise, labelled in turn."""
  image = jax.random.normal(jax.random.key(seed), (count, *RECORD.shape))
  position = np.arange(count, dtype=np.int32)
  return {"image": image, "label": position % 2, "position": position}


@functools.cache
def golden_model():
  """The public code's tiny model, and its weights under our names."""
  get = lambda name: jnp.asarray(GOLDEN[name])
  dense = lambda name: {"kernel": get(f"{name}.weight").T, "bias": get(f"{name}.bias")}
  norm = lambda name: {"scale": get(f"{name}.weight"), "bias": get(f"{name}.bias")}

  def block(name):
    attention = {"qkv": dense(f"{name}.attn.qkv"), "out": dense(f"{name}.attn.proj")}
    mlp = {"up": dense(f"{name}.mlp.fc1"), "down": dense(f"{name}.mlp.fc2")}
    norms = {"norm1": norm(f"{name}.norm1"), "norm2": norm(f"{name}.norm2")}
    return {**norms, "attention": attention, "mlp": mlp}

  words = get("token_emb.word_embeddings.weight")
  params = {
    # Its 12 codes, the mask, and the label that stands for none.
    "embed": {"embedding": words[jnp.array([*range(12), 1012, 88])]},
    "encoder": {
      "position": get("token_emb.position_embeddings.weight"),
      "embed_norm": norm("token_emb.LayerNorm"),
      "block_00": block("blocks.0"),
      "block_01": block("blocks.1"),
      "norm": norm("norm"),
    },
    "widen": dense("decoder_embed"),
    "decoder": {
      "position": get("decoder_pos_embed_learned")[0],
      "block_00": block("decoder_blocks.0"),
      "norm": norm("decoder_norm"),
    },
    "head": dense("mlm_layer.fc"),
    "head_norm": norm("mlm_layer.ln"),
    "bias": get("mlm_layer.bias")[0, 0, :12],
  }
  sizes = dict(codes=12, grid=(16, 16), width=16, depth=2, heads=2)
  rest = dict(decoder_width=8, decoder_depth=1, decoder_heads=2)
  return code_autoencoder(**sizes, **rest), {"params": params}


def test_the_network_and_its_loss_agree_with_the_public_code():
  network, variables = golden_model()
  tokens = jnp.asarray(GOLDEN["golden.tokens"], jnp.int32)
  hidden, dropped = (jnp.asarray(GOLDEN[f"golden.{name}"]) for name in ("hidden", "dropped"))
  apply = jax.jit(functools.partial(network.apply, variables, keep=128, exact=True))
  logits = apply(tokens, hidden, dropped)
  np.testing.assert_allclose(logits, GOLDEN["golden.logits"], atol=2e-5)
  term = recover.cross_entropy(logits, tokens, hidden, smoothing=0.1)
  np.testing.assert_allclose(term.sum / term.count, GOLDEN["golden.loss"], rtol=1e-5)


def test_decoding_with_it_agrees_with_the_public_code(monkeypatch):
  network, variables = golden_model()
  draws = np.random.RandomState(0)
  drawing = draws.gumbel(size=(12, 2, 256, 12)).astype(np.float32)
  policies = runpy.run_path(str(HERE.parent / "generate" / "test_policies.py"))
  choosing = draws.gumbel(size=(12, 2, 256)).astype(np.float32)
  keys = policies["given_draws"](monkeypatch, drawing, choosing)
  predict = lambda tokens, hidden: network.apply(
    variables, tokens, hidden, hidden & False, keep=256, exact=True
  )
  run = jax.jit(functools.partial(decode, predict, **policies["maskgit"](12, 4.5)))
  got = run(keys, jnp.zeros((2, 256), jnp.int32), jnp.ones((2, 256), bool))
  np.testing.assert_array_equal(got["step"], GOLDEN["golden.step"])
  np.testing.assert_array_equal(got["tokens"], GOLDEN["golden.made"])


@pytest.fixture(scope="module")
def made():
  """A task and its variables."""
  one = task()
  return one, jax.jit(one.init)(jax.random.key(0), batch())


def test_hidden_and_dropped_are_two_cuts_of_one_ranking():
  """As in the public code, given its noise: the lowest there are the highest here."""
  scores = -jnp.asarray(GOLDEN["golden.noise"])
  hidden = select.top(scores, count=int(np.ceil(256 * 0.7)))
  dropped = select.top(scores, ratio=0.5)
  np.testing.assert_array_equal(hidden, GOLDEN["golden.hidden"])
  np.testing.assert_array_equal(dropped, GOLDEN["golden.dropped"])
  assert not (dropped & ~hidden).any()


def test_ratios_are_those_of_the_truncated_normal():
  keys = jax.random.split(jax.random.key(0), 4000)
  ratio = bind.now(DRAWN, 0, keys, "ratio")
  cut = stats.truncnorm(-0.2, 1.8, loc=0.55, scale=0.25)
  assert stats.kstest(np.asarray(ratio), cut.cdf).pvalue > 0.01
  assert stats.kstest(np.asarray(ratio), stats.uniform(0.5, 0.5).cdf).pvalue < 1e-6


def test_what_is_hidden_changes_nothing_but_the_loss_of_itself(made):
  one, variables = made
  net, params = one.network, {"params": variables["params"]}
  tokens = jax.random.randint(jax.random.key(1), (2, 16), 0, 7)
  hidden = jnp.arange(16) < jnp.array([[12], [9]])
  dropped = jnp.broadcast_to(jnp.arange(16) < 8, hidden.shape)
  see = lambda tokens, dropped, keep: jax.jit(functools.partial(net.apply, keep=keep))(
    params, tokens, hidden, dropped
  )
  plain = see(tokens, dropped, 8)
  np.testing.assert_array_equal(plain, see(jnp.where(hidden, 6 - tokens, tokens), dropped, 8))
  # Padding of a larger bucket is not seen.
  np.testing.assert_allclose(plain, see(tokens, dropped, 12), atol=1e-5)
  # A mask that is seen is not the same as one that is dropped.
  assert np.abs(plain - see(tokens, dropped & False, 16)).max() > 1e-4


def test_the_encoder_sees_half_whatever_the_ratio(made):
  one, variables = made
  shapes = jax.make_jaxpr(lambda v: one.loss(v, batch(), jax.random.key(0), 0)[0])(variables)
  assert "f32[4,9,8]" in str(shapes)  # the label's token and eight of sixteen


def test_microbatches_draw_the_same_and_gradients_spare_the_tokenizer(made):
  one, variables = made
  data, key = batch(), jax.random.key(3)
  loss = jax.jit(one.loss)
  whole = loss(variables, data, key, 5)[0]["masked"]
  cut = lambda i: jax.tree.map(lambda x: x[i : i + 2], data)
  parts = [loss(variables, cut(i), key, 5)[0]["masked"] for i in (0, 2)]
  np.testing.assert_allclose(whole.sum, sum(p.sum for p in parts), rtol=1e-5)
  assert int(whole.count) == sum(int(p.count) for p in parts) >= 4 * 8
  assert set(variables) == {"params", "frozen"}
  assert "tokenizer" not in variables["params"]


def test_a_codes_embedding_learns_nothing_from_being_predicted(made):
  one, variables = made
  hidden = jnp.ones((2, 16), bool)

  def loss(params):
    tokens = jnp.zeros((2, 16), jnp.int32)
    logits = one.network.apply({"params": params}, tokens, hidden, hidden & False, keep=16)
    return recover.cross_entropy(logits, tokens, hidden).sum

  grad = jax.jit(jax.grad(loss))(variables["params"])["embed"]["embedding"]
  assert np.abs(grad[:7]).max() == 0
  assert np.abs(grad[7]).max() > 0


def test_labels_are_told_to_a_model_that_takes_them():
  told = task(model=functools.partial(NET, conditional=True), unlabelled=0.0)
  variables = jax.jit(told.init)(jax.random.key(0), batch())
  keys = jax.random.split(jax.random.key(0), 4)
  params = jax.tree.map(lambda x: x * 3, variables["params"])
  run = jax.jit(told.sample)
  one = run({**variables, "params": params}, keys, batch())
  other = run({**variables, "params": params}, keys, {**batch(), "label": 1 - batch()["label"]})
  assert one["image"].shape == (4, *RECORD.shape)
  assert (np.asarray(one["tokens"]) != np.asarray(other["tokens"])).any()
  with pytest.raises(BadInput, match="labels"):
    task(record=Record("image", (8, 8, 3), {"train": 9}), model=told_model())


def told_model():
  """A model of labels."""
  return functools.partial(NET, conditional=True)


def test_two_masks_of_an_image_find_each_other():
  words = dict(contrast=functools.partial(recover.info_nce, temperature=0.2))
  one = task(model=functools.partial(NET, project=6), **words)
  assert one.coupled
  variables = jax.eval_shape(one.init, jax.random.key(0), batch())
  terms, _ = jax.eval_shape(one.loss, variables, batch(), jax.random.key(0), 0)
  assert set(terms) == {"masked", "contrast"}
  with pytest.raises(BadInput, match="project"):
    task(**words)


def test_moving_drops_want_buckets():
  with pytest.raises(BadInput, match=r"task\.keep"):
    task(drop=functools.partial(select.top, ratio=DRAWN))
  one = task(drop=functools.partial(select.top, ratio=DRAWN), keep=(4, 8))
  variables = jax.eval_shape(one.init, jax.random.key(0), batch())
  assert "cond" in str(jax.make_jaxpr(one.loss)(variables, batch(), jax.random.key(0), 0))


def test_a_tokenizer_brings_images_back():
  """Its loss is that of the paper, and its gradient passes the codebook straight through."""
  one = tokenize(record=RECORD, model=BOOK)
  variables = jax.jit(one.init)(jax.random.key(0), batch())
  network, params = one.network, {"params": variables["params"]["tokenizer"]}
  made = jax.jit(network.apply)(params, batch()["image"])
  np.testing.assert_array_equal(
    made.tokens, network.apply(params, batch()["image"], method="encode")
  )
  painted = network.apply(params, made.tokens, method="decode")
  np.testing.assert_allclose(painted, made.image, atol=1e-5)
  near = np.linalg.norm(made.latents[:, :, None] - book(params), axis=-1).argmin(-1)
  np.testing.assert_array_equal(made.tokens, near)
  first = lambda v: one.loss(v, batch(), jax.random.key(0), 0)[0]["recover"].sum
  grads = jax.jit(jax.grad(first))(variables)["params"]["tokenizer"]
  assert np.abs(grads["encoder"]["embed"]["kernel"]).max() > 0
  assert np.abs(grads["codebook"]).max() == 0


def book(params):
  """Its codes, of length 1."""
  codes = params["params"]["codebook"]
  return codes / jnp.linalg.norm(codes, axis=-1, keepdims=True)
