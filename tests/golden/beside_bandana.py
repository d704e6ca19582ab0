"""Bandana beside its authors' code: bandwidths, losses, gradient, two clipped steps, parameters.

The code is github.com/Newiz430/Bandana at 6cd81cf; what it imports of torch_geometric and
torch_sparse is restated in make_bandana.py, whose first part is run. Of one graph, as there.
Run: python tests/golden/beside_bandana.py CHECKOUT
"""

import pathlib
import sys

import beside
import numpy as np

NODES, FEATURES, WIDTH, DECODER, LAYERS, TEMPERATURE = 17, 7, 5, 9, 4, 0.45


def public():
  """The stand-ins and the authors' classes."""
  source = pathlib.Path(__file__).with_name("make_bandana.py").read_text()
  names = {}
  exec(source.partition("NODES, FEATURES")[0], names)
  return names


def main():
  """Runs both."""
  code = public()
  torch = code["torch"]
  for name in [n for n in sys.modules if n.startswith("torch_")]:
    del sys.modules[name]  # torch looks some up
  torch.manual_seed(9)
  upper = torch.triu(torch.rand(NODES, NODES) < 0.25, 1)
  upper[:, 3] = upper[3] = False  # a node without edges
  edges = code["to_undirected"](upper.nonzero().T)
  apart, x = torch.randint(0, NODES, edges.shape), torch.rand(NODES, FEATURES)
  noise = torch.randn(LAYERS, edges.shape[1])
  encoder = code["Encoder"](FEATURES, WIDTH, num_layers=LAYERS, dropout=0.0, bn=True)
  decoder = code["Decoder"](WIDTH, DECODER, out_channels=2, num_layers=2, dropout=0.0)
  model = code["Bandana"](encoder, decoder, mask=code["BandwidthMask"](num_nodes=NODES)).train()
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      parameter.copy_(0.6 * torch.randn_like(parameter) + ("bns" in name and "weight" in name))
  bandwidths, plain = [], model.mask.forward

  def remembered(*args, **kwargs):
    bandwidths.append(plain(*args, **kwargs))
    return bandwidths[-1]

  model.mask.forward = remembered

  def loss():
    drawn = iter(noise)
    torch.randn_like = lambda ids, dtype: next(drawn).clone()
    every = dict(exclude_layers=[False] * LAYERS, sparse=True, perm=torch.arange(edges.shape[1]))
    every |= dict(recon_loss=model.loss_fn, decoder=decoder, neg_edges=apart)
    return encoder(x, edges, mask=model.mask, temp=(TEMPERATURE,), **every)[1].mean()

  begin = {n: p.detach().clone() for n, p in model.named_parameters()}
  tx = torch.optim.Adam(model.parameters(), lr=beside.RATE, weight_decay=DECAY)
  clip = lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
  losses, slopes, after = beside.steps(model, tx, loss, before=clip)
  count = lambda *parts: sum(p.numel() for part in parts for p in part.parameters())
  sizes = dict(num_layers=3, dropout=0.8, bn=True), dict(out_channels=2, num_layers=2, dropout=0.0)
  full = count(code["Encoder"](1433, 256, **sizes[0]), code["Decoder"](256, 256, **sizes[1]))

  from maskjax import lab
  from maskjax.record import Record
  from maskjax.task.edge_values import Negatives

  def change(c):
    c.model.update(width=WIDTH, depth=LAYERS, dropout=0.0, decoder_width=DECODER)
    c.select.temperature, c.score, c.let.negatives = TEMPERATURE, "batch.noise", "batch.negatives"
    c.optimizer.update(beside.CONSTANT, weight_decay=DECAY, clip=CLIP)

  pairs = edges.flip(0).T.numpy()[None]
  ends = [tuple(sorted(e)) for e in pairs[0].tolist()]
  unit = np.array([sorted(set(ends)).index(e) for e in ends], np.int32)[None]
  none = apart.T.numpy().astype(np.int32)[None]
  batch = dict(nodes=x.numpy()[None], edges=pairs.astype(np.int32), unit=unit)
  batch |= dict(size=np.array([NODES], np.int32), position=np.arange(1))
  # High is wide there, narrow here.
  batch |= dict(
    noise=-noise.numpy()[None], negatives=Negatives(none, np.ones(none.shape[:2], bool))
  )
  ours = beside.Method("bandana", change, Record("graph", (NODES, FEATURES), {"graph": 1}), batch)

  def params(tensors):
    take = lambda name: beside.arrayed(tensors[name])
    dense = lambda i: {"kernel": take(f"decoder.mlps.{i}.weight").T,
                       "bias": take(f"decoder.mlps.{i}.bias")}  # fmt: skip
    found = {"decoder_0": {"hidden": dense(0), "logits": dense(1)}}
    for i in range(LAYERS):
      kernel = {"kernel": take(f"encoder.convs.{i}.lin.weight").T}
      found[f"conv_{i}"] = {"linear": kernel, "bias": take(f"encoder.convs.{i}.bias")}
      names = {"scale": "weight", "bias": "bias"}
      found[f"norm_{i}"] = {k: take(f"encoder.bns.{i}.{v}") for k, v in names.items()}
    return found

  import jax

  kept = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), dict(ours.shapes))
  variables = {**kept, "params": params(begin)}
  costs, norms, moved = ours.steps(variables)
  gates = ours.values(variables, "hidden")[0][0]
  trees = variables["params"], moved, [params(a) for a in after], params(slopes[0])
  after_first = trees[2][0]
  first, second, left = beside.moves(*trees, floor=beside.ROUNDING)
  every = jax.tree.map(np.ones_like, after_first)
  wide = torch.stack(bandwidths[:LAYERS]).detach().numpy()
  beside.row(
    "bandana",
    "Newiz430/Bandana@6cd81cf",
    [
      ("bandwidths", beside.far(gates, wide), beside.LOSS),
      ("loss", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("two steps", second, beside.SECOND),
      ("decay", beside.far(beside.of_decays(ours), every), 1e-9),
      ("parameters", abs(full - lab.note("bandana")["scale"]["parameters"]), beside.EXACT),
    ],
    f"{left}; norm {norms[0]:.2g}, clipped at {CLIP}",
  )


CLIP, DECAY = 0.2, 0.03  # so large that it counts in two steps

if __name__ == "__main__":
  main()
