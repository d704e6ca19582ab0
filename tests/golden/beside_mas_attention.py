"""MAS beside its authors' code: pairs, loss, gradient, two steps, who learns, parameters.

The code is github.com/shacharKZ/MAS-Segment-Based-Attention-Masking at d9e603a: of
mas_llama_impl/modeling_mas_llama.py the mask of the Alpaca template, as in make_mas_attention.py,
on transformers' Llama, which the file is a copy of. It holds no training: the loss of the answers,
and AdamW of queries, keys and values alone, as the config has it, are an oracle of ours.
Run: python tests/golden/beside_mas_attention.py CHECKOUT
"""

import pathlib
import sys

import beside
import numpy as np
import torch
from make_mas_attention import FILE, FROM, TO

WORDS, CLIP = 12, 0.3
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40)
SIZES |= dict(num_key_value_heads=2, rope_parameters=dict(rope_type="default", rope_theta=5e5))
PARTS = [(2, 6, 6), (5, 2, 7), (3, 8, 3)]  # begin and system, instruction, answer


def main(folder):
  """Runs both."""
  source = (pathlib.Path(folder) / FILE).read_text()
  code = {"np": np, "torch": torch}
  exec(source[source.index(FROM) : source.index(TO)], code)
  sign, follow = code["ALPACA_START_HEADER_ID"], code["ALPACA_INSTRUCTION_ID"]
  answer, rng = code["ALPACA_ASSISTANT_ID"], np.random.default_rng(5)
  batch, length = len(PARTS), sum(PARTS[0])
  ids = rng.integers(20, 30, (batch, length))
  for row, (first, second, _) in zip(ids, PARTS, strict=True):
    row[0], row[first : first + 2] = 128_000, (sign, follow)
    row[first + second : first + second + 2] = (sign, answer)
  take = code["calculate_attention_mask_for_alpaca"]
  added = take(torch.tensor(ids), torch.ones(batch, length, dtype=torch.long)).float()
  # Its numbers are too large for a small network: the same pairs, other tokens.
  read = np.concatenate(
    [np.full((batch, 1), WORDS), rng.integers(0, WORDS, (batch, length - 1))], 1
  )
  last = rng.integers(0, WORDS, (batch, 1))
  tokens = np.concatenate([read[:, 1:], last], 1)
  parts = np.stack([np.repeat([0, 1, 2], p) for p in PARTS])
  follows = np.concatenate([parts[:, 1:], parts[:, -1:]], 1)  # of the tokens, not of what is read
  torch.manual_seed(2)
  network, begin = beside.small_llama(WORDS + 1, **SIZES)
  for name, p in network.named_parameters():
    p.requires_grad_(any(part in name for part in ("q_proj", "k_proj", "v_proj")))
  target = torch.tensor(np.where(follows == 2, tokens, -1))

  def loss():
    logits = network(torch.tensor(read), attention_mask=added).logits[..., :WORDS]
    return torch.nn.functional.cross_entropy(
      logits.reshape(-1, WORDS), target.reshape(-1), ignore_index=-1
    )

  learned = [p for p in network.parameters() if p.requires_grad]
  tx = torch.optim.AdamW(learned, lr=beside.RATE, betas=(0.9, 0.95), weight_decay=0.0)
  clip = lambda: torch.nn.utils.clip_grad_norm_(learned, CLIP)
  losses, slopes, after = beside.steps(network, tx, loss, before=clip)
  large = dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32)
  large |= dict(num_key_value_heads=8, intermediate_size=8192)
  with torch.device("meta"):
    full = sum(p.numel() for p in beside.llama(128_256, tied=True, **large).parameters())

  from maskjax import lab, units
  from maskjax.data import tiny
  from maskjax.hide.pairs import blocks, dense

  scale = dict(kind="text", shape=(length,), vocabulary=WORDS, examples=60)
  given = dict(tokens=tokens.astype(np.int32), valid=np.ones(tokens.shape, bool))
  given |= dict(asked=follows == 2, blocks=follows.astype(np.int32), position=np.arange(batch))

  def change(c):
    c.batch_size, c.stages, c.init_from = batch, {}, ""
    c.model.update(width=32, depth=2, heads=4, kv_heads=2, mlp=40, dtype="float32")
    c.model.update(remat=False, scan=False)
    c.optimizer.update(beside.CONSTANT, clip=CLIP)

  ours = beside.Method("mas_attention", change, tiny.record(scale, "train"), given)
  params = lambda tensors: ours.read(tensors, layout="llama")["params"]
  variables = {"params": params(begin)}
  costs, norms, moved = ours.steps(variables)
  seen = ~np.asarray(dense(blocks(), length, units.one_by_one(parts, parts == 2)))
  one, two, left = beside.moves(
    variables["params"], moved, [params(a) for a in after], params(slopes[0])
  )
  import jax

  fill = lambda x, r: np.full(x.shape, float(r > 0), np.float32)
  trained = jax.tree.map(fill, ours.shapes["params"], ours.optimizer.rates)
  theirs = {n: torch.ones_like(p) * p.requires_grad for n, p in network.named_parameters()}
  still = [beside.far(moved[-1][k], variables["params"][k]) for k in ("embed", "norm")]
  beside.row(
    "mas_attention",
    "shacharKZ/MAS-Segment-Based-Attention-Masking@d9e603a, step an oracle",
    [
      ("pairs", beside.far(seen, (added[:, 0] == 0).numpy()), beside.EXACT),
      ("loss", beside.far(costs[0], losses[0]), beside.LOSS),
      ("gradient norm", abs(_norm(ours, variables) / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", two, beside.SECOND),
      ("who learns", beside.far(trained, params(theirs)), 1e-9),
      ("the others", max(still), 1e-9),
      ("parameters", abs(full - lab.note("mas_attention")["scale"]["parameters"]), beside.EXACT),
    ],
    f"{left}; norm {norms[0]:.2g} of all, clipped at {CLIP}",
  )


def _norm(ours, variables):
  """The norm of the gradient of what learns."""
  import jax
  import jax.numpy as jnp

  def cost(params):
    terms, _ = ours.task.loss({"params": params}, ours.batch, jax.random.key(0), 0)
    return terms["next"].sum / terms["next"].count

  slopes = jax.jit(jax.grad(cost))(variables["params"])
  learn = jax.tree.map(lambda g, r: g * (r > 0), slopes, ours.optimizer.rates)
  return float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(learn))))


if __name__ == "__main__":
  main(sys.argv[1])
