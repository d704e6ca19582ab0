"""MaskLLM beside its authors' code: prior, soft masks, loss, gradient, two steps, decay, logits.

The code is github.com/NVlabs/MaskLLM at 50e50de: `DifferentiableMask`, `init_diff_mask_from_prior`
and `MagnitudePruner`, loaded as make_maskllm.py does; the network is transformers' Llama, each of
whose frozen matrices is multiplied by a mask of theirs (queries, keys and values by one), the loss
and its reward are those of pretrain_maskllm.py, AdamW has the numbers of its script for Llama-2 7B.
Gumbel noise is ours. A begin token, the last row of the embeddings, comes before the text.
Run: python tests/golden/beside_maskllm.py CHECKOUT
"""

import argparse
import sys
import types
from unittest import mock

import beside
import make_maskllm
import numpy as np
import torch

BATCH, LENGTH, WORDS, STEPS, AT, CLIP = 3, 10, 13, 40, 13, 0.05
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)


def public(folder):
  """The authors' two modules, and what they take the step from."""
  args = argparse.Namespace(iteration=AT, train_iters=STEPS, update_weight=False)
  make_maskllm.megatron(torch, args)
  masks = make_maskllm.load(folder, "learnable_sparsity/differentiable_mask.py")
  pruner = make_maskllm.load(folder, "tasks/pruning/sparsity/core.py").MagnitudePruner
  for name in [n for n in sys.modules if n.split(".")[0] == "megatron"]:
    del sys.modules[name]
  return args, masks, pruner


def main(folder):
  """Runs both."""
  args, code, pruner = public(folder)
  from maskjax import lab, score
  from maskjax.data import tiny
  from maskjax.keys import stream
  from maskjax.model.published_text import stands

  scale = dict(kind="text", shape=(LENGTH,), vocabulary=WORDS, examples=BATCH * STEPS)

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps, c.stages, c.init_from = BATCH, 0.0, STEPS, {}, ""
    c.model.update(width=16, depth=2, heads=2, mlp=24, dtype="float32", remat=False)
    c.optimizer.update(beside.CONSTANT, clip=CLIP)
    c.reparametrize.reward.start = REWARD

  batch = {**tiny.batch(scale, BATCH), "valid": np.ones((BATCH, LENGTH), bool)}
  ours = beside.Method("maskllm", change, tiny.record(scale, "train"), batch)
  torch.manual_seed(8)
  network = beside.llama(WORDS + 1, **SIZES).eval()
  begun = {n: p.detach() + 0.2 * torch.randn_like(p) for n, p in network.named_parameters()}
  import jax

  flat = lambda tree: {jax.tree_util.keystr(p, simple=True, separator="/"): x
                       for p, x in jax.tree_util.tree_leaves_with_path(tree)}  # fmt: skip
  leaves = flat(ours.shapes["params"]["masks"])
  rows = {leaf: stands(f"params/{leaf}", "llama")[0] for leaf in leaves}
  key = stream(stream(jax.random.key(0), "loss"), "masks", AT)
  second = stream(stream(jax.random.key(0), "loss"), "masks", AT + 1)
  noise, layers, started = {}, torch.nn.ModuleDict(), {}
  for leaf, names in rows.items():
    whole = torch.cat([begun[n] for n in names])
    layer = types.SimpleNamespace(weight=torch.nn.Parameter(whole))
    pruner(args, "", layer).prune()
    layer.mask = layer.mask.float()
    mask = code.DifferentiableMask(whole, temperature=[4, 0.05], scale_multiplier=[1e2, 5e2])
    layer.diff_mask, started[leaf] = mask, mask.gate.detach().clone()
    code.ColumnParallelLinearSparse.init_diff_mask_from_prior(layer, 3.0)
    layers[leaf.replace("/", "-")] = mask
    zeros = np.zeros(leaves[leaf].size, np.float32)
    for at, of in ((AT, key), (AT + 1, second)):
      drawn = np.array(score.gumbel(stream(of, leaf), zeros)).reshape(leaves[leaf].shape)
      noise[at, leaf] = torch.tensor(drawn).transpose(0, 1).reshape(-1, 6)
  tokens = torch.tensor(ours.batch["tokens"].tolist())
  read = torch.cat([torch.full((BATCH, 1), WORDS), tokens[:, :-1]], 1)
  soft = {}

  def loss():
    weights, reward = dict(begun), 0.0
    for leaf, names in rows.items():
      drawn = noise[args.iteration, leaf]
      code.gumbel_softmax = lambda x, tau, hard, g=drawn: ((x + g) / tau).softmax(-1)
      mask = soft[leaf] = layers[leaf.replace("/", "-")]()
      seen = torch.cat([begun[n] for n in names]) * mask
      reward = reward + seen.pow(2).sum()
      weights |= dict(zip(names, seen.split([len(begun[n]) for n in names]), strict=True))
    logits = torch.func.functional_call(network, weights, (read,)).logits[..., :WORDS]
    nats = torch.nn.functional.cross_entropy(logits.reshape(-1, WORDS), tokens.reshape(-1))
    worth = REWARD * (1 - args.iteration / args.train_iters)
    args.iteration += 1
    return nats - worth * reward

  numbers = dict(lr=beside.RATE, betas=(0.9, 0.95), eps=1e-5, weight_decay=0.1)
  begin = {n: p.detach().clone() for n, p in layers.named_parameters()}
  tx = torch.optim.AdamW(layers.parameters(), **numbers)
  clip = lambda: torch.nn.utils.clip_grad_norm_(layers.parameters(), CLIP)
  first = {}
  once = lambda: first.update({} if first else {k: v.detach() for k, v in soft.items()})
  losses, slopes, after = beside.steps(layers, tx, loss, before=lambda: (clip(), once()))
  whole = dict(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32)
  with torch.device("meta"):
    torch.cuda.current_device = lambda: "meta"
    big = beside.llama(32_000, **whole, intermediate_size=11_008)
    some = [code.DifferentiableMask(p, temperature=[4, 0.05]) for n, p in big.named_parameters()
            if "proj" in n]  # fmt: skip
  full = sum(p.numel() for p in big.parameters()) + sum(m.gate.numel() for m in some) + 4096

  def masks(tensors):
    def of(path, leaf):
      name = jax.tree_util.keystr(path, simple=True, separator="-")
      x = beside.arrayed(tensors[f"{name}.gate"])
      return np.swapaxes(x.reshape(leaf.shape[1], leaf.shape[0], 6), 0, 1)

    return jax.tree_util.tree_map_with_path(of, ours.shapes["params"]["masks"])

  plain = {n: x[:WORDS] if n == "lm_head.weight" else x for n, x in begun.items()}
  variables = ours.read(plain, layout="llama")
  fresh = masks({f"{k.replace('/', '-')}.gate": v for k, v in started.items()})
  variables["params"] = {**variables["params"], "masks": fresh}
  variables = ours.task.prepare(variables, iter(()))
  learned = variables["params"]["masks"]
  costs, norms, moved = ours.steps(variables, first=AT)
  gates = flat(_gates(ours, variables, AT, key))
  pairs = [(gates[leaf].T, beside.arrayed(first[leaf])) for leaf in rows]
  one, two, left = beside.moves(
    learned, [m["masks"] for m in moved], [masks(a) for a in after], masks(slopes[0])
  )
  still = lambda params: {k: v for k, v in params.items() if k != "masks"}
  count = lab.note("maskllm")["scale"]["parameters"]
  decays = beside.of_decays(ours)["masks"]
  beside.row(
    "maskllm",
    "NVlabs/MaskLLM@50e50de",
    [
      ("prior", beside.far(learned, masks(begin)), beside.LOSS),
      ("soft masks", beside.far(*map(list, zip(*pairs, strict=True))), beside.STEP),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", two, beside.SECOND),
      ("weights", beside.far(still(moved[-1]), still(variables["params"])), 1e-9),
      ("decay", beside.far(decays, masks(beside.decayed(tx, layers))), 1e-9),
      ("parameters", abs(full - count), beside.EXACT),
    ],
    f"{left}; norm {norms[0]:.2g}, clipped at {CLIP}",
  )


def _gates(ours, variables, step, key):
  """The soft masks of a step, by the names of their leaves."""
  import jax

  from maskjax.sections import Lengths
  from maskjax.train.setup.build import reparametrized

  found = []
  with mock.patch("maskjax.weights.reparametrized", lambda task, view: found.append(view)):
    reparametrized(ours.task, ours.config["reparametrize"], Lengths(STEPS, STEPS))
  params = {k: v for k, v in variables["params"].items() if k != "masks"}
  ones = jax.tree.map(np.ones_like, params)
  seen, _ = jax.jit(found[0].soft, static_argnums=3)(ones, variables["params"]["masks"], key, step)
  return jax.device_get(seen)


REWARD = 1e-3

if __name__ == "__main__":
  main(sys.argv[1])
