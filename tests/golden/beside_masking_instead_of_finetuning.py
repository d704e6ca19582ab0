"""Masks in place of fine-tuning beside the authors' code: start, masks, loss, gradient, two steps.

The code is github.com/ptlmasking/maskbert at 8d6df8d: `Masker` and `MaskedLinear1` of
masking/maskers.py, put by `patch_modules` into a small ViT, and the names of BERT's masked layers,
run unchanged. Adam is PyTorch's, since the call in optim/adam.py is gone from it; its rule is that.
Run: python tests/golden/beside_masking_instead_of_finetuning.py CHECKOUT
"""

import functools
import sys
from types import SimpleNamespace

import beside
import numpy as np
import parts_of_timm as parts
import torch

BATCH, SIDES, WIDTH, DEPTH, HEADS, CLASSES, COUNT = 4, (12, 9), 12, 4, 2, 5, 2
MASKED = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


class ViT(torch.nn.Module):
  """A transformer on patches of three pixels, and a head on their mean."""

  def __init__(self, position):
    super().__init__()
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    self.bert = SimpleNamespace(config=None)  # `patch_modules` asks for it
    self.embed, self.position = parts.PatchEmbed(12, 3, 3, WIDTH), position
    self.blocks = torch.nn.ModuleList([parts.Block(WIDTH, HEADS, 4, norm) for _ in range(DEPTH)])
    self.norm, self.head = norm(WIDTH), torch.nn.Linear(WIDTH, CLASSES)

  def forward(self, x):
    x = self.embed(x) + self.position
    for block in self.blocks:
      x = block(x)
    return self.head(self.norm(x).mean(1))


def ours_of(tensors):
  """Parameters by our names."""
  blocks = {f"block_{i:02d}": beside.block(tensors, f"blocks.{i}") for i in range(DEPTH)}
  patch = beside.arrayed(tensors["embed.proj.weight"]).transpose(2, 3, 1, 0).reshape(-1, WIDTH)
  embed = {"kernel": patch, "bias": beside.arrayed(tensors["embed.proj.bias"])}
  encoder = {"embed": embed, **blocks, "norm": beside.normed(tensors, "norm")}
  return {"encoder": encoder, "head": beside.dense(tensors, "head")}


def masks_of(tensors):
  """What belongs to the masked kernels, by our names."""
  kernel = lambda name: {"kernel": beside.arrayed(tensors[name]).T}
  names = dict(zip(MASKED, ("attention/qkv", "attention/out", "mlp/up", "mlp/down"), strict=True))
  encoder = {}
  for i in range(2, DEPTH):
    block = encoder.setdefault(f"block_{i:02d}", {})
    for theirs, ours in names.items():
      part, layer = ours.split("/")
      block.setdefault(part, {})[layer] = kernel(f"blocks.{i}.{theirs}")
  return {"encoder": encoder, "head": kernel("head")}


def bert_base(maskers):
  """How many weights of BERT-base are masked, by the authors' names of layers 2 to 11."""
  names = maskers.chain_module_names("bert", range(2, 12), ["K", "Q", "V", "AO", "I", "O"])
  wide = lambda name: "intermediate" in name or ".attention." not in name
  return sum(768 * (3072 if wide(name) else 768) for name in names)


def main(folder):
  """Runs both."""
  sys.path.insert(0, folder)
  import jax
  from masking import maskers

  from maskjax.record import Record

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps, c.stages, c.init_from = BATCH, 0.0, COUNT, {}, ""
    c.init_except = ""
    c.model.update(size="mu", width=WIDTH, depth=DEPTH, heads=HEADS, mlp=4 * WIDTH, patch=(3, 3))
    c.model.update(class_token=False, dtype="float32")
    c.optimizer.update(beside.CONSTANT, learning_rate=beside.RATE)

  torch.manual_seed(6)
  images, labels = torch.randn(BATCH, 3, *SIDES), torch.arange(BATCH) % CLASSES
  batch = {"image": images.permute(0, 2, 3, 1).numpy(), "label": labels.numpy().astype(np.int32)}
  batch["position"] = np.arange(BATCH)
  record = Record("image", (*SIDES, 3), {"train": BATCH}, tuple("abcde"))
  ours = beside.Method("masking_instead_of_finetuning", change, record, batch)
  fixed = {k: v for k, v in ours.task.init(jax.random.key(0), ours.batch).items() if k != "params"}
  model = ViT(torch.tensor(np.array(fixed["buffers"]["encoder"]["position"])))
  weights = beside.moved(model, 0.1)

  quiet = SimpleNamespace(init_sparsity=0.05)
  none = dict(structured_masking=None, structured_masking_types=None, force_masking="all")
  masker = maskers.Masker(
    quiet, lambda _: None, False, none, 0.01, 0.02, "bert", controlled_init=None
  )
  names = {f"blocks.{i}.{part}" for i in range(2, DEPTH) for part in MASKED} | {"head"}
  for parameter in model.parameters():
    parameter.requires_grad = False
  masker.patch_modules(model, names)
  learned = {n.removesuffix(".weight_mask"): p for n, p in model.named_parameters()
             if n.endswith("weight_mask")}  # fmt: skip
  assert set(learned) == names
  assert all(p.requires_grad == n.endswith("weight_mask") for n, p in model.named_parameters())
  copy = lambda: masks_of({n: p.detach().clone() for n, p in learned.items()})
  shown = lambda: masks_of(
    {n: m.get_masks()[0].detach() > 0 for n, m in model.named_modules() if n in names}
  )
  begun, first = copy(), shown()
  scale = model.head.get_init_scales("MaskedLinear1", 0.05, 0.02)
  tx = torch.optim.Adam(learned.values(), lr=beside.RATE, betas=(0.9, 0.999), eps=1e-8)
  losses, slopes, after = [], None, []
  for _ in range(COUNT):
    tx.zero_grad()
    cost = torch.nn.functional.cross_entropy(model(images), labels)
    cost.backward()
    slopes = slopes or masks_of({n: p.grad.clone() for n, p in learned.items()})
    losses.append(cost.item())
    tx.step()
    after.append(copy())

  params = ours_of(weights)
  variables = {**fixed, "params": {**params, "masks": begun}}
  variables = ours.task.prepare(variables, iter(()))
  seen = jax.device_get(ours.task.final(variables)["params"])
  costs, norms, moved = ours.steps(variables, COUNT)
  one, more, left = beside.moves(begun, [m["masks"] for m in moved], after, slopes)
  still = {k: v for k, v in moved[-1].items() if k != "masks"}
  low_high = ours.config["reparametrize"]["start"]
  whole = beside.Method("masking_instead_of_finetuning", lambda c: None, record=Record(
    "image", (224, 224, 3), {"train": 50_000}, tuple("abcdefghij")), batch={
      "image": np.zeros((1, 224, 224, 3), np.float32), "label": np.zeros(1, np.int32),
      "position": np.arange(1)}).shapes["params"]["masks"]  # fmt: skip
  count = sum(x.size for x in jax.tree.leaves(whole["encoder"]))
  hidden = lambda tree: jax.tree.map(lambda x: x == 0, tree)
  beside.row(
    "masking_instead_of_finetuning",
    "ptlmasking/maskbert@8d6df8d",
    [
      ("range of the start", max(abs(low_high["low"] - scale[0]), abs(low_high["high"] - scale[1])),
       1e-9),
      ("first masks", beside.far(hidden(masks_of_seen(seen, begun)),
                                 jax.tree.map(np.logical_not, first)), beside.EXACT),
      ("losses", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(dict(enumerate(jax.tree.leaves(slopes)))) - 1),
       beside.STEP),
      ("step", one, beside.STEP),
      ("two steps", more, beside.SECOND),
      ("weights", beside.far(still, params), beside.EXACT),
      ("decay", beside.far(beside.of_decays(ours)["masks"], jax.tree.map(np.zeros_like, begun)),
       beside.EXACT),
      ("masked weights of BERT-base", abs(count - bert_base(maskers)), beside.EXACT),
    ],
    left,
  )  # fmt: skip


def masks_of_seen(seen, like):
  """The leaves of `seen` that `like` has."""
  return {k: masks_of_seen(seen[k], v) if isinstance(v, dict) else seen[k] for k, v in like.items()}


if __name__ == "__main__":
  main(sys.argv[1])
