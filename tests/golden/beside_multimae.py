"""MultiMAE beside its authors' code: masks, loss, gradient, two steps, decay, parameters.

The code is github.com/EPFL-VILAB/MultiMAE at 66910f5: its model, adapters, criteria and
utils/optim_factory.py. The masks are drawn by it. As in the config its encoder and decoders end in
a norm, and its positions have the column first; labels have a quarter of the image's resolution.
Run: python tests/golden/beside_multimae.py CHECKOUT
"""

import functools
import pathlib
import sys
import types

import beside
import make_adamae
import make_audio_mae
import make_multimae
import numpy as np
import torch

ROWS, SIDES, PATCH, STRIDE, CLASSES, KEEP = 3, (32, 24), 8, 4, 7, 10
GRID = (SIDES[0] // PATCH, SIDES[1] // PATCH)
PLACES, WIDTH, NARROW, LABEL = 3 * GRID[0] * GRID[1], 24, 16, 5
NAMES = {"image": "rgb", "depth": "depth", "semseg": "semseg"}
CHANNELS = {"rgb": 3, "depth": 1, "semseg": CLASSES}


def public(folder):
  """The authors' modules."""
  names = "adafactor adahessian adamp lookahead nadam nvnovograd radam rmsprop_tf sgdp"
  for name in ("timm", "timm.optim", *(f"timm.optim.{x}" for x in names.split())):
    sys.modules[name] = make_adamae.Anything(name)
  make_multimae.public_code(folder)
  factory = make_audio_mae.loaded(pathlib.Path(folder) / "utils" / "optim_factory.py")
  from multimae import criterion, input_adapters, multimae, output_adapters

  return factory, criterion, input_adapters, multimae, output_adapters


def build(code, width=WIDTH, narrow=NARROW, classes=CLASSES, label=LABEL, norms=True, **sizes):
  """Their model of three modalities, asked for four."""
  _, _, into, whole, out = code
  side = dict(patch_size_full=sizes.pop("patch", PATCH), image_size=sizes.pop("image_size", SIDES))
  heads, depth = sizes.pop("decoder", (2, 1))
  values = lambda n: into.PatchedInputAdapter(n, 1, **side)
  labels = into.SemSegInputAdapter(classes, STRIDE, dim_class_emb=label, **side)
  takes = {"rgb": values(3), "depth": values(1), "semseg": labels}

  def made(task):
    strides = STRIDE if task == "semseg" else 1
    channels = {**CHANNELS, "semseg": classes}[task]
    rest = dict(dim_tokens=narrow, depth=depth, num_heads=heads, context_tasks=list(takes))
    return out.SpatialOutputAdapter(channels, strides, task=task, **rest, **side)

  gives = {task: made(task) for task in takes} | {"norm_rgb": made("rgb")}
  model = whole.MultiMAE(takes, gives, dim_tokens=width, **sizes)
  if norms:
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    model.encoder.append(norm(width))
    for adapter in model.output_adapters.values():
      adapter.decoder_transformer.append(norm(narrow))
  return model


def read(given):
  """Weights, gradients or decays by their names as our parameters."""
  part = lambda name: beside.arrayed(given[name])

  def embedded(task):
    name = f"input_adapters.{task}"
    project = part(f"{name}.proj.weight")
    kernel = project.transpose(2, 3, 1, 0).reshape(-1, len(project))
    found = {"project": {"kernel": kernel, "bias": part(f"{name}.proj.bias")}}
    if task == "semseg":
      found["words"] = {"embedding": part(f"{name}.class_emb.weight")}
    return found

  def decoded(name, task):
    name = f"output_adapters.{name}"
    predict = beside.dense(given, f"{name}.out_proj")
    # Theirs has the channels first.
    last = lambda x: np.moveaxis(x.reshape(*x.shape[:-1], CHANNELS[task], -1), -2, -1).reshape(
      x.shape
    )
    dense = lambda leaf: beside.dense(given, f"{name}.{leaf}")
    return {
      "embed": dense("proj_context"),
      **{f"modality_{k}": part(f"{name}.task_embeddings.{v}")[0, 0] for k, v in NAMES.items()},
      "mask_token": part(f"{name}.mask_token")[0, 0],
      "attention": {
        "q": dense("decoder.q"),
        "kv": dense("decoder.kv"),
        "out": dense("decoder.proj"),
      },
      "query_norm": beside.normed(given, f"{name}.query_norm"),
      "context_norm": beside.normed(given, f"{name}.context_norm"),
      "mlp_norm": beside.normed(given, f"{name}.out_norm"),
      "mlp": {"up": dense("mlp.fc1"), "down": dense("mlp.fc2")},
      "block_00": beside.block(given, f"{name}.decoder_transformer.0"),
      "norm": beside.normed(given, f"{name}.decoder_transformer.1"),
      "predict": {k: last(x) for k, x in predict.items()},
    }

  return {
    **{f"embed_{k}": embedded(v) for k, v in NAMES.items()},
    "encoder": {
      "class_token": part("global_tokens")[0, 0],
      **{f"block_{i:02}": beside.block(given, f"encoder.{i}") for i in range(2)},
      "norm": beside.normed(given, "encoder.2"),
    },
    **{f"decoder_{k}": decoded(v, v) for k, v in NAMES.items()},
    "decoder_norm_image": decoded("norm_rgb", "rgb"),
  }


def main(folder):
  """Runs both."""
  from maskjax import lab
  from maskjax.model.position import sincos
  from maskjax.over.cut import patchify
  from maskjax.record import Record

  code = public(folder)
  torch.manual_seed(5)
  model = build(code, depth=2, num_heads=3)
  for adapter in (*model.input_adapters.values(), *model.output_adapters.values()):
    width = adapter.pos_emb.shape[1]
    table = torch.tensor(np.array(sincos(GRID, width)))
    adapter.pos_emb.data.copy_(table.T.reshape(1, width, *GRID))
  weights = beside.moved(model)
  maps = (SIDES[0] // STRIDE, SIDES[1] // STRIDE)
  fields = {"rgb": torch.randn(ROWS, 3, *SIDES), "depth": torch.randn(ROWS, 1, *SIDES)}
  fields["semseg"] = torch.randint(0, CLASSES, (ROWS, *maps))
  tokens = {name: torch.zeros(ROWS, PLACES // 3, 1) for name in fields}
  drawn = model.generate_random_masks(tokens, KEEP, alphas=1.0)
  model.generate_random_masks = lambda *_, **__: drawn
  criterion = code[1]
  square = functools.partial(criterion.MaskedMSELoss, PATCH, 1)
  costs = {"rgb": square(), "depth": criterion.MaskedL1Loss(PATCH, 1)}
  costs |= {"semseg": criterion.MaskedCrossEntropyLoss(PATCH, STRIDE)}
  costs |= {"norm_rgb": square(norm_pix=True)}

  def loss():
    found, masks = model(fields, num_encoded_tokens=KEEP)
    of = lambda name: "rgb" if name == "norm_rgb" else name
    return sum(costs[k](x, fields[of(k)], mask=masks[of(k)]) for k, x in found.items())

  args = types.SimpleNamespace(opt="adamw", opt_betas=(0.9, 0.95), opt_eps=1e-8, lr=beside.RATE)
  args.weight_decay = 0.05
  tx = code[0].create_optimizer(args, model)
  theirs = weights, *beside.steps(model, tx, loss)

  import jax

  def change(c):
    c.over.parts.image.patch = c.over.parts.depth.patch = (PATCH, PATCH)
    c.over.parts.semseg.patch = (PATCH // STRIDE,) * 2
    c.model.semseg_map.modality.colors = CLASSES
    c.model.network.update(size="mu", width=WIDTH, depth=2, heads=3, dtype="float32")
    c.model.network.update(decoder_width=NARROW, decoder_depth=1, decoder_heads=2)
    c.model.network.label_width = LABEL
    c.select.ratio, c.score = 1 - KEEP / PLACES, "batch.noise"
    c.let["values"] = "batch.patches"
    c.optimizer.update(beside.CONSTANT)

  plain = dict(mean=(0.0,) * 3, std=(1.0,) * 3)
  record = Record("image", (*SIDES, 3), {"train": 64}, **plain)
  last = lambda x: x.permute(0, 2, 3, 1).numpy()
  cut = lambda x, patch: np.array(patchify(jax.device_put(x), (patch, patch)))
  patches = {"image": cut(last(fields["rgb"]), PATCH), "depth": cut(last(fields["depth"]), PATCH)}
  small = cut(fields["semseg"].numpy()[..., None], PATCH // STRIDE).astype(np.int32)
  masks = torch.cat(list(drawn[0].values()), 1)
  batch = {"image": last(fields["rgb"]), "position": np.arange(ROWS)}
  batch |= {"patches": {**patches, "semseg": small}, "noise": masks.float().numpy()}
  ours = beside.Method("multimae", change, record, batch)
  zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), ours.shapes)
  whole = lambda given: {**zeros, "params": read(given)}
  found, left = beside.trajectory(ours, whole, theirs, beside.decayed(tx, model))
  hidden = ours.values(whole(weights), "hidden")[0]
  base = dict(width=768, narrow=256, classes=133, label=64, image_size=224, patch=16)
  make = functools.partial(build, code, **base, decoder=(8, 2), depth=12, num_heads=12, norms=True)
  found += [
    ("masks", beside.far(hidden, masks.numpy() > 0), beside.EXACT),
    (
      "parameters",
      abs(beside.trained(make) - lab.note("multimae")["scale"]["parameters"]),
      beside.EXACT,
    ),
  ]
  beside.row("multimae", "EPFL-VILAB/MultiMAE@66910f5", found, left)


if __name__ == "__main__":
  main(sys.argv[1])
