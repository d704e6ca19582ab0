"""The text transformer: what its tokens see of each other, and decoding with a cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.errors import BadInput
from maskjax.model import text_transformer

N, V = 9, 11
IDS = jax.random.randint(jax.random.key(1), (2, N), 0, V)
SEGMENTS = jnp.array([[0, 0, 0, 1, 1, 1, 1, 2, 2], [0] * 6 + [1] * 3])
TINY = dict(record_shape=(N,), vocabulary=V, width=16, depth=2, heads=2, mlp=24)


@functools.cache
def build(**options):
  """A tiny network and its variables, with logits that differ a lot."""
  network = text_transformer(**TINY, **options)
  variables = jax.jit(network.init)(jax.random.key(0), IDS)
  return network, jax.tree.map(lambda x: 3 * x, variables)


def run(network, variables, ids=IDS, valid=None, segments=None, **options):
  apply = functools.partial(network.apply, **options)
  return np.asarray(jax.jit(apply)(variables, ids, valid, segments))


def test_reading_from_left_to_right_changes_no_parameter():
  (one, variables), (other, same) = build(), build(causal=True)
  for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(same), strict=True):
    np.testing.assert_array_equal(a, b)
  assert jax.tree.structure(variables) == jax.tree.structure(same)
  assert sorted(variables["params"]) == ["block_00", "block_01", "embed", "norm", "predict"]
  assert (run(one, variables) != run(other, same))[:, :-1].any()


@pytest.mark.parametrize("at", [0, 4, N - 1])
def test_a_causal_network_sees_nothing_that_comes_later(at):
  network, variables = build(causal=True)
  changed = IDS.at[:, at].set((IDS[:, at] + 1) % V)
  before, after = run(network, variables), run(network, variables, changed)
  np.testing.assert_array_equal(before[:, :at], after[:, :at])
  assert (before[:, at:] != after[:, at:]).any(-1).all()
  both_ways, variables = build()
  assert (run(both_ways, variables) != run(both_ways, variables, changed)).any(-1).all()


@pytest.mark.parametrize("causal", [False, True])
def test_packed_documents_are_read_as_if_alone(causal):
  network, variables = build(causal=causal)
  packed = run(network, variables, segments=SEGMENTS)
  for row, document in ((0, slice(0, 3)), (0, slice(3, 7)), (0, slice(7, 9)), (1, slice(6, 9))):
    alone = run(network, variables, IDS[row : row + 1, document])
    np.testing.assert_allclose(packed[row : row + 1, document], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_seen_by_none(causal):
  network, variables = build(causal=causal)
  valid = jnp.arange(N) < jnp.array([[5], [N]])
  short = run(network, variables, IDS[:1, :5])
  padded = run(network, variables, valid=valid)
  np.testing.assert_allclose(padded[:1, :5], short, atol=1e-5)
  np.testing.assert_allclose(padded[1:], run(network, variables, IDS[1:]), atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"remat": True}, {"scan": True}], ids=str)
@pytest.mark.parametrize("segments", [None, SEGMENTS], ids=["window", "documents"])
def test_token_by_token_equals_the_whole_pass_with_one_compile(changes, segments):
  network, variables = build(causal=True, **changes)
  whole = run(network, variables, segments=segments)
  traces = []

  def decode(cache, ids, start):
    traces.append(ids.shape)
    return network.apply(
      {**variables, **cache}, ids, None, segments, start=start, mutable=["cache"]
    )

  decode = jax.jit(decode)
  prompt = jnp.where(jnp.arange(N) < 4, IDS, 0)
  logits, cache = decode({}, prompt, 0)
  parts = [logits[:, :4]]
  shapes = jax.tree.map(jnp.shape, cache)
  for i in range(4, N):
    logits, cache = decode(cache, IDS[:, i : i + 1], i)
    parts.append(logits)
  largest = np.abs(whole).max()
  np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5 * largest)
  assert jax.tree.map(jnp.shape, cache) == shapes
  assert cache["cache"]["block_01"]["attention"]["key"].shape == (2, 2, N, 8)
  assert traces == [(2, N), (2, 1)]


def test_features_are_the_tokens_that_the_logits_are_made_from():
  network, variables = build(causal=True)
  tokens = run(network, variables, features=True)
  assert tokens.shape == (2, N, 16)
  kernel = np.asarray(variables["params"]["predict"]["kernel"])
  np.testing.assert_allclose(tokens @ kernel, run(network, variables), rtol=1e-4, atol=1e-4)


def test_heads_that_share_keys_and_values_equal_heads_with_copies_of_them():
  (few, variables), (every, _) = build(causal=True, kv_heads=1), build(causal=True)
  spread = jax.tree.map(lambda x: x, variables)
  for name in ("block_00", "block_01"):
    q, k, v = jnp.split(variables["params"][name]["attention"]["qkv"]["kernel"], (16, 24), axis=1)
    kernel = jnp.concatenate([q, k, k, v, v], axis=1)
    spread["params"][name]["attention"]["qkv"] = {"kernel": kernel}
  np.testing.assert_allclose(run(few, variables), run(every, spread), rtol=1e-4, atol=1e-4)
  _, state = few.apply(variables, IDS, start=0, mutable=["cache"])
  assert state["cache"]["block_00"]["attention"]["key"].shape == (2, 1, N, 8)


def test_tied_networks_predict_with_their_embeddings():
  network, variables = build(causal=True, tied=True)
  assert "predict" not in variables["params"]
  tokens, table = run(network, variables, features=True), variables["params"]["embed"]["embedding"]
  assert table.shape == (V + 1, 16)
  logits = run(network, variables)
  np.testing.assert_allclose(logits, tokens @ np.asarray(table[:V]).T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"scan": True}, {"remat": True}], ids=str)
def test_weights_of_attention_are_told_where_they_are_asked_for(changes):
  network, variables = build(causal=True, **changes)
  logits, state = network.apply(variables, IDS, mutable=["attention"])
  np.testing.assert_allclose(logits, run(network, variables), rtol=1e-4, atol=1e-4)
  (weights,) = state["attention"]["block_01"]["attention"]["weights"]
  assert weights.shape == (2, 2, N, N)
  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  assert not np.triu(weights, 1).any()


@pytest.mark.parametrize("changes", [{"remat": True}, {"scan": True}])
@pytest.mark.parametrize("causal", [False, True])
def test_remat_and_scan_change_no_value_and_no_gradient(causal, changes):
  def value_and_slope(changes):
    network, variables = build(causal=causal, **changes)
    loss = lambda v: jnp.sum(jnp.sin(network.apply(v, IDS, None, SEGMENTS)))
    return jax.jit(jax.value_and_grad(loss))(variables)

  for a, b in zip(*map(jax.tree.leaves, map(value_and_slope, ({}, changes))), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_logits_are_float32_under_bfloat16():
  network, variables = build(causal=True, dtype="bfloat16")
  logits = run(network, variables)
  assert logits.dtype == np.float32
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
  np.testing.assert_allclose(logits, run(*build(causal=True)), atol=0.3 * np.abs(logits).max())


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"record_shape": (8, 8, 3)}, r"takes windows of tokens, got shape \(8, 8, 3\)"),
    ({"vocabulary": 0}, "takes windows of tokens"),
    ({"heads": 3}, "width 16 is not divisible by 3 heads"),
    ({"heads": 16}, "width 16 is not divisible by 16 heads of even width"),
    ({"heads": 4, "kv_heads": 3}, "4 heads are not divisible by 3 of keys and values"),
    ({"extra": -1}, "extra ids must not be negative in number, got -1"),
  ],
)
def test_what_cannot_be_built_is_refused(options, says):
  with pytest.raises(BadInput, match=says):
    text_transformer(**{**TINY, **options})


def test_a_network_that_reads_both_ways_does_not_decode():
  network, variables = build()
  with pytest.raises(BadInput, match="set causal=True"):
    network.apply(variables, IDS, start=0, mutable=["cache"])


def test_tied_tokens_are_predicted_by_the_embeddings_they_are_read_with():
  network, variables = build(tied=True)
  assert sorted(variables["params"]) == ["block_00", "block_01", "embed", "norm"]
  table = variables["params"]["embed"]["embedding"]
  assert table.shape == (V + 1, 16)
  features = run(network, variables, features=True)
  np.testing.assert_allclose(run(network, variables), features @ np.asarray(table)[:V].T, atol=1e-5)
