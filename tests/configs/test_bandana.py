"""Bandana (Zhao et al. 2024), section 4.1: edges to a node share out its bandwidth by a softmax."""

import numpy as np


def test_the_edges_to_each_node_get_shares_of_it_in_a_softmax_of_noise(built):
  made = built("bandana")
  gates, scores = made.masks["hidden"][:, 0], made.said["score"][:, 0]
  assert gates.dtype == np.float32
  to = np.asarray(made.batch["edges"])[0, :, 1]
  there = to < 2708
  assert 0 < gates[..., there].min() < gates[..., there].max() <= 1
  for gate, score in zip(gates.reshape(-1, len(to)), scores.reshape(-1, len(to)), strict=True):
    total = np.bincount(to[there], gate[there], 2708)
    assert np.allclose(total[np.unique(to[there])], 1, atol=1e-5)
    weight = np.where(there, np.exp(-score / 0.9), 0)
    expected = weight / np.bincount(to, weight, 2709)[to].clip(1e-9)
    assert np.allclose(gate, expected, atol=1e-5)


def test_the_noise_is_normal_and_of_each_layer_and_direction_its_own(built):
  made = built("bandana")
  scores = made.said["score"][:, 0]
  assert np.abs(scores.mean()) < 0.05
  assert np.abs(scores.std() - 1) < 0.05
  assert np.abs((np.abs(scores) < 1).mean() - 0.6827) < 0.02
  assert len(np.unique(scores)) > 0.95 * scores.size
