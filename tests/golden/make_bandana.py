"""Makes bandana.safetensors: a tiny model of Bandana's public code, its draws, and what it answers.

Run as `python tests/golden/make_bandana.py FOLDER`, where torch 2.13, scikit-learn and pyyaml are
and FOLDER is a checkout of github.com/Newiz430/Bandana at 6cd81cf: its `src` is imported and run
unchanged, but for the Gaussian draws and the negative pairs, which are given. What it imports of
torch_geometric and torch_sparse is restated below: sorted sparse matrices, sums and maxima by
segment, and one propagation. Edges are given sorted, as its sparse matrices keep them; in its
scripts they are not, where it weighs each edge of its loss by the bandwidth of some other one.
"""

import itertools
import pathlib
import sys
import types

import torch
from safetensors.torch import save_file
from torch import nn


class SparseTensor:
  """A sparse matrix with sorted entries."""

  def __init__(self, row, col, value, size):
    order = torch.argsort(row * size + col)
    self.row, self.col = row[order], col[order]
    self.value = None if value is None else value[order]
    self.n = size
    count = torch.bincount(self.row, minlength=size)
    self.ptr = torch.cat([torch.zeros(1, dtype=torch.long), count.cumsum(0)])
    self.storage = types.SimpleNamespace(row=lambda: self.row, rowptr=lambda: self.ptr)

  @classmethod
  def from_edge_index(cls, edge_index, sparse_sizes):
    """Without values."""
    return cls(edge_index[0], edge_index[1], None, sparse_sizes[0])

  def to(self, device):
    """All on one device."""
    return self

  def set_value_(self, value, layout):
    """Values in the order of the sorted entries."""
    assert layout == "coo"
    self.value = value
    return self

  def has_value(self):
    """Whether entries are other than ones."""
    return self.value is not None

  def fill_value(self, value, dtype=None):
    """The same everywhere."""
    return SparseTensor(self.row, self.col, torch.full((len(self.row),), value), self.n)

  def size(self, dim):
    """Rows or columns."""
    return self.n


def fill_diag(adj, value):
  """Puts a value on the diagonal, where there was none."""
  loop = torch.arange(adj.n)
  row, col = torch.cat([adj.row, loop]), torch.cat([adj.col, loop])
  return SparseTensor(row, col, torch.cat([adj.value, torch.full((adj.n,), value)]), adj.n)


def scale(adj, by):
  """Multiplies rows, by a column, or columns, by a row."""
  along = by.view(-1)[adj.row if by.shape[1] == 1 else adj.col]
  return SparseTensor(adj.row, adj.col, adj.value * along, adj.n)


def row_sums(adj, dim):
  """The sum of every row."""
  assert dim == 1
  return torch.zeros(adj.n).index_add(0, adj.row, adj.value)


def segment(src, ptr, reduce):
  """Sums or maxima of stretches."""
  parts = [src[a:b] for a, b in itertools.pairwise(ptr)]
  if reduce == "sum":
    return torch.stack([part.sum() for part in parts])
  return torch.stack([part.max() if len(part) else src.new_zeros(()) for part in parts])


def spmm(adj, x, reduce):
  """The matrix product."""
  assert reduce == "add"
  return torch.zeros(adj.n, x.shape[1]).index_add(0, adj.row, adj.value[:, None] * x[adj.col])


class MessagePassing(nn.Module):
  """As much of it as a sparse matrix needs."""

  node_dim, flow = -2, "source_to_target"

  def __init__(self, aggr="add"):
    super().__init__()
    self.aggr = aggr

  def reset_parameters(self):
    """Has none."""

  def propagate(self, adj, x, edge_weight, size):
    """All messages at once."""
    return self.message_and_aggregate(adj, x)


def linear(wide, narrow, bias, weight_initializer):
  """A linear layer."""
  return nn.Linear(wide, narrow, bias=bias)


def to_undirected(edge_index):
  """Both directions, sorted, once each."""
  return torch.unique(torch.cat([edge_index, edge_index.flip(0)], 1), dim=1)


def module(name, **names):
  """Puts a module where imports find it."""
  sys.modules[name] = types.ModuleType(name)
  sys.modules[name].__dict__.update(names)


none = lambda *args, **kwargs: None
sparse = types.SimpleNamespace(fill_diag=fill_diag, sum=row_sums, mul=scale)
module("torch_sparse", SparseTensor=SparseTensor)
for package in ("torch_geometric", "torch_geometric.nn", "torch_geometric.nn.dense"):
  module(package)
module("torch_geometric.nn.conv", MessagePassing=MessagePassing)
module("torch_geometric.nn.dense.linear", Linear=linear)
module("torch_geometric.nn.inits", zeros=lambda x: None if x is None else nn.init.zeros_(x))
kinds = dict.fromkeys(("NoneType", "Adj", "OptPairTensor", "OptTensor"), torch.Tensor)
module("torch_geometric.typing", SparseTensor=SparseTensor, torch_sparse=sparse, **kinds)
unused = ("add_remaining_self_loops", "is_torch_sparse_tensor", "scatter", "to_edge_index")
unused += ("add_self_loops", "negative_sampling")
module(
  "torch_geometric.utils",
  **dict.fromkeys(unused, none),
  spmm=spmm,
  segment=segment,
  to_undirected=to_undirected,
)
module("torch_geometric.utils.sparse", set_sparse_value=none)
module("torch_geometric.utils.num_nodes", maybe_num_nodes=none)

sys.path.insert(0, sys.argv[1])
from src.mask import BandwidthMask  # noqa: E402
from src.model import Bandana, Decoder, Encoder  # noqa: E402

NODES, FEATURES, WIDTH, DECODER, LAYERS, TEMPERATURE = 12, 10, 6, 5, 3, 0.7

torch.manual_seed(0)
upper = torch.triu(torch.rand(NODES, NODES) < 0.3, 1)
upper[:, -1] = False  # a node without edges
edges = to_undirected(upper.nonzero().T)
apart = torch.randint(0, NODES, edges.shape)
x = torch.rand(NODES, FEATURES)
noise = torch.randn(LAYERS, edges.shape[1])
encoder = Encoder(FEATURES, WIDTH, num_layers=LAYERS, dropout=0.0, bn=True)
decoder = Decoder(WIDTH, DECODER, out_channels=2, num_layers=2, dropout=0.0)
model = Bandana(encoder, decoder, mask=BandwidthMask(num_nodes=NODES))
with torch.no_grad():
  for name, parameter in model.named_parameters():
    parameter.copy_(0.5 * torch.randn_like(parameter) + ("bns" in name and "weight" in name))

with torch.no_grad():
  embedding = encoder.get_embedding(x, edges, l2_norm=True)
drawn, bandwidths = iter(noise), []
torch.randn_like = lambda ids, dtype: next(drawn).clone()
mask = model.mask.forward


def remembered(*args, **kwargs):
  """The mask, which is kept."""
  bandwidths.append(mask(*args, **kwargs))
  return bandwidths[-1]


model.mask.forward = remembered
model.train()
last, layer_loss = encoder(
  x,
  edges,
  mask=model.mask,
  temp=(TEMPERATURE,),
  exclude_layers=[False] * LAYERS,
  sparse=True,
  recon_loss=model.loss_fn,
  decoder=decoder,
  neg_edges=apart,
  perm=torch.arange(edges.shape[1]),
)
layer_loss.mean().backward()

golden = {
  "x": x,
  "edges": edges.flip(0).T.int(),  # from, to
  "apart": apart.T.int(),
  "noise": noise,
  "bandwidths": torch.stack(bandwidths),
  "embedding": embedding,
  "last": last.detach(),
  "layer_loss": layer_loss.detach(),
}
tensors = dict(model.state_dict()) | {f"golden.{name}": value for name, value in golden.items()}
tensors |= {f"gradient.{name}": p.grad for name, p in model.named_parameters()}
path = pathlib.Path(__file__).with_name("bandana.safetensors")
keep = lambda name: "tracked" not in name and "running" not in name
save_file({k: v.contiguous() for k, v in tensors.items() if keep(k)}, path)
