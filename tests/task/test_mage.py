"""MAGE's public code on a tiny model: what it hides, predicts and decodes."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file
from scipy import stats

from maskjax import bind, keys, recover, schedule, select
from maskjax.generate import decode
from maskjax.hide import Seen, drop, token
from maskjax.model import code_autoencoder

HERE = pathlib.Path(__file__).parent
GOLDEN = load_file(HERE.parent / "golden" / "mage.safetensors")


@functools.cache
def golden_model():
  """The public code's tiny model, and its weights under our names."""
  get = lambda name: GOLDEN[name]
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
    "embed": {"embedding": words[np.array([*range(12), 1012, 88])]},
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
  return code_autoencoder(**sizes, **rest), {"params": jax.device_put(params)}


def said(network, variables, seen, hidden, dropped):
  """Logits of every code."""
  encoded = network.apply(variables, seen, method="look")
  return network.apply(variables, encoded, hidden, dropped, method="recover")


def test_the_network_and_its_loss_agree_with_the_public_code():
  network, variables = golden_model()
  tokens = jax.device_put(GOLDEN["golden.tokens"].astype(np.int32))
  hidden, dropped = (jax.device_put(GOLDEN[f"golden.{name}"]) for name in ("hidden", "dropped"))

  @jax.jit
  def run(variables):
    seen = drop(token(tokens, hidden, network.codes), dropped, keep=128, exact=True)
    logits = said(network, variables, seen, hidden, dropped)
    return logits, recover.cross_entropy(logits, tokens, hidden, smoothing=0.1)

  logits, term = run(variables)
  np.testing.assert_allclose(logits, GOLDEN["golden.logits"], atol=2e-5)
  np.testing.assert_allclose(term.sum / term.count, GOLDEN["golden.loss"], rtol=1e-5)


def test_decoding_with_it_agrees_with_the_public_code(monkeypatch):
  network, variables = golden_model()
  draws = np.random.RandomState(0)
  drawing = draws.gumbel(size=(12, 2, 256, 12)).astype(np.float32)
  policies = runpy.run_path(str(HERE.parent / "generate" / "test_policies.py"))
  choosing = draws.gumbel(size=(12, 2, 256)).astype(np.float32)
  rows = policies["given_draws"](monkeypatch, drawing, choosing)

  @jax.jit
  def run(variables, keys):
    def predict(tokens, hidden):
      ids = token(tokens, hidden, network.codes)
      return said(network, variables, Seen(ids, None, None, hidden), hidden, hidden & False)

    blank, whole = jnp.zeros((2, 256), jnp.int32), jnp.ones((2, 256), bool)
    return decode(predict, keys, blank, whole, **policies["maskgit"](12, 4.5))

  got = run(variables, rows)
  np.testing.assert_array_equal(got["step"], GOLDEN["golden.step"])
  np.testing.assert_array_equal(got["tokens"], GOLDEN["golden.made"])


def test_what_is_hidden_are_two_cuts_of_one_ranking_and_a_share_drawn_from_a_normal():
  """As in the public code, given its noise: the lowest there are the highest here."""
  drawn = bind.Moving(schedule.truncated_normal(0.55, 0.25, 0.5, 1.0), each=True)

  @jax.jit
  def cuts(scores):
    hidden = select.top(scores, count=int(np.ceil(256 * 0.7)))
    ratio = bind.now(drawn, 0, keys(jax.random.key(0), 4000), "ratio")
    return hidden, select.top(scores, ratio=0.5), ratio

  hidden, dropped, ratio = map(np.asarray, cuts(-GOLDEN["golden.noise"]))
  np.testing.assert_array_equal(hidden, GOLDEN["golden.hidden"])
  np.testing.assert_array_equal(dropped, GOLDEN["golden.dropped"])
  assert not (dropped & ~hidden).any()
  cut = stats.truncnorm(-0.2, 1.8, loc=0.55, scale=0.25)
  assert stats.kstest(ratio, cut.cdf).pvalue > 0.01
  assert stats.kstest(ratio, stats.uniform(0.5, 0.5).cdf).pvalue < 1e-6
