"""Should You Mask 15 % beside its authors' code: masks, loss, gradient, two steps, decay, rates.

The code is github.com/princeton-nlp/DinkyTrain at 67c5b37, of fairseq: `MaskTokensDataset`, the
`Adam` of optim/adam.py and the numbers of run_efficient_mlm_recipe.sh, cut out of their files, as
fairseq does not run with today's PyTorch. Which tokens are drawn is ours; the share is a whole
number of tokens. The network is transformers' Llama reading both ways, tied, in the place of
RoBERTa: an oracle of ours. Epsilon is next to nothing on both sides: fairseq adds it before the
bias is corrected, see the config's deviations. Run: python tests/golden/beside_mask15.py CHECKOUT
"""

import contextlib
import functools
import math
import pathlib
import sys
import types

import beside
import numpy as np
import torch

BATCH, LENGTH, WORDS, STEPS, HIDDEN = 3, 15, 11, 40, 9
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)


def public(folder):
  """The authors' data set of masks, and their optimizer."""
  fairseq = pathlib.Path(folder) / "fairseq"
  seed = types.SimpleNamespace(numpy_seed=lambda *_: contextlib.nullcontext())
  given = dict(np=np, torch=torch, BaseWrapperDataset=object, data_utils=seed, Dictionary=object)
  given["lru_cache"] = functools.lru_cache
  (masks,) = beside.cut(
    fairseq / "data/mask_tokens_dataset.py", "MaskTokensDataset", **given, LRUCacheDataset=None
  )
  (adam,) = beside.cut(fairseq / "optim/adam.py", "Adam", torch=torch, math=math)
  return masks, adam


def main(folder):
  """Runs both."""
  dataset, adam = public(folder)
  from maskjax import lab
  from maskjax.data import tiny

  scale = dict(kind="text", shape=(LENGTH,), vocabulary=WORDS, examples=BATCH * STEPS)
  rng = np.random.default_rng(3)
  noise = rng.random((BATCH, LENGTH)).astype(np.float32)
  batch = {**tiny.batch(scale, BATCH), "valid": np.ones((BATCH, LENGTH), bool), "noise": noise}
  settings = lab.read("mask15")

  def change(c):
    c.batch_size, c.total_steps = BATCH, STEPS
    c.model.update(width=24, depth=2, heads=3, mlp=40, dtype="float32", scan=False, norm_eps=1e-5)
    c.select.select.ratio = HIDDEN / LENGTH
    c.score = "batch.noise"
    c.optimizer.update(beside.CONSTANT, eps=1e-10)

  ours = beside.Method("mask15", change, tiny.record(scale, "train"), batch)
  tokens = torch.tensor(batch["tokens"].astype(int))
  order = np.argsort(-noise, axis=1)
  rows = []
  for asked in (False, True):
    made = dataset(
      tokens, None, pad_idx=-1, mask_idx=WORDS, return_masked_tokens=asked,
      mask_prob=HIDDEN / LENGTH + 1e-6, leave_unmasked_prob=0.0, random_token_prob=0.0,
    )  # fmt: skip
    row = []
    for i in range(BATCH):
      draws = types.SimpleNamespace(
        rand=lambda *_: 0.0, choice=lambda n, k, replace, i=i: order[i, :k]
      )
      dataset.__getitem__.__globals__["np"] = types.SimpleNamespace(**{**vars(np), "random": draws})
      row.append(made[i])
    rows.append(torch.stack(row))
  read, target = rows
  torch.manual_seed(1)
  network, begin = beside.small_llama(WORDS + 1, **SIZES)
  every = torch.zeros(BATCH, 1, LENGTH, LENGTH)

  def loss():
    logits = network(read, attention_mask=every).logits[..., :WORDS]
    nats = torch.nn.functional.cross_entropy(
      logits.reshape(-1, WORDS), target.reshape(-1), reduction="sum", ignore_index=-1
    )
    return nats / (target != -1).sum()  # fairseq divides gradients by the sample size

  numbers = dict(lr=beside.RATE, betas=(0.9, 0.98), eps=1e-10, weight_decay=0.01)
  tx = adam(network.parameters(), **numbers)
  losses, slopes, after = beside.steps(network, tx, loss)
  at = (0, 690, 1380, 10_000, 22_999)
  line = lambda i: min(i / 1380, (23_000 - i) / (23_000 - 1380)) * 2e-3

  def real(c):
    change(c)
    c.total_steps, c.batch_size, c.optimizer = 23_000, 4096, settings.optimizer

  rate = beside.Method("mask15", real, tiny.record(scale, "train"), batch).optimizer.rate
  params = lambda tensors: ours.read(tensors, layout="llama")["params"]
  variables = {"params": params(begin)}
  costs, norms, moved = ours.steps(variables)
  hidden, values = ours.values(variables, "hidden", "seen")
  one, two, left = beside.moves(
    variables["params"], moved, [params(a) for a in after], params(slopes[0])
  )
  beside.row(
    "mask15",
    "princeton-nlp/DinkyTrain@67c5b37, network an oracle",
    [
      ("masks", beside.far(hidden.reshape(BATCH, LENGTH), (target != -1).numpy()), beside.EXACT),
      ("seen", beside.far(values.values.reshape(BATCH, LENGTH), read.numpy()), beside.EXACT),
      ("loss", beside.far(costs[0], losses[0]), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", two, beside.SECOND),
      ("decay", beside.far(beside.of_decays(ours), params(beside.decayed(tx, network))), 1e-9),
      ("rates", beside.far([rate(i) for i in at], [line(i) for i in at]), 1e-5),
    ],
    left,
  )


if __name__ == "__main__":
  main(sys.argv[1])
