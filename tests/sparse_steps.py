"""Blocks that code sparsely, written out in numpy: what tests hold the networks against."""

import numpy as np


def normed(own, x, eps=1e-5):
  """Layer normalisation."""
  centred = x - x.mean(-1, keepdims=True)
  return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * own["scale"] + own["bias"]


def attended(own, x, seen, heads):
  """Each head by itself: tokens as the softmax of their products with each other says."""
  said = []
  for projection in np.split(own["projection"]["kernel"], heads, axis=1):
    u = x @ projection
    logits = np.where(seen[:, None], u @ u.swapaxes(1, 2) / np.sqrt(u.shape[-1]), -np.inf)
    logits = np.exp(logits - logits.max(-1, keepdims=True))
    said.append(logits / logits.sum(-1, keepdims=True) @ u)
  return np.concatenate(said, -1) @ own["out"]["kernel"] + own["out"]["bias"]


def coded(own, x, seen, heads, step, penalty):
  """A block of an encoder: attention is added, codes take one step from tokens down their price."""
  x = x + attended(own["attention"], normed(own["norm1"], x), seen, heads)
  x, d = normed(own["norm2"], x), own["dictionary"]
  slope = [[d.T @ (d @ token - token) + penalty for token in tokens] for tokens in x]
  return np.maximum(x - step * np.array(slope), 0)


def uncoded(own, x, seen, heads):
  """A block of a decoder: the dictionary, and attention is taken away."""
  x = normed(own["norm1"], x) @ own["dictionary"].T
  return x - attended(own["attention"], normed(own["norm2"], x), seen, heads)
