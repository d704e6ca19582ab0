"""The MAE of `transformers` under PyTorch: its step, eager or compiled, and its matrix products."""

import time


def step(size):
  """`ViTMAEForPreTraining` with random weights, f32, sdpa, fused AdamW, normalised pixels."""
  import torch
  import transformers

  torch.manual_seed(0)
  config = transformers.ViTMAEConfig(
    image_size=size["image"],
    patch_size=size["patch"],
    hidden_size=size["width"],
    num_hidden_layers=size["depth"],
    num_attention_heads=size["heads"],
    intermediate_size=4 * size["width"],
    decoder_hidden_size=size["decoder_width"],
    decoder_num_hidden_layers=size["decoder_depth"],
    decoder_num_attention_heads=size["decoder_heads"],
    decoder_intermediate_size=4 * size["decoder_width"],
    mask_ratio=0.75,
    norm_pix_loss=True,
    attn_implementation="sdpa",
  )
  model = transformers.ViTMAEForPreTraining(config).train()
  rule = {"lr": 1e-4, "betas": (0.9, 0.95), "weight_decay": 0.05}
  optimizer = torch.optim.AdamW(model.parameters(), fused=True, **rule)
  images = torch.randn(size["batch"], 3, size["image"], size["image"])
  forward = torch.compile(model) if size["compiled"] else model

  def run():
    optimizer.zero_grad(set_to_none=True)
    forward(pixel_values=images).loss.backward()
    optimizer.step()

  trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
  return {"run": run, "before": run, "facts": {"parameters": trained}}


def gemm(size):
  """PyTorch's time for every product of the step, one after another."""
  import torch

  pairs = [(torch.ones(m, k), torch.ones(k, n)) for m, k, n, _ in size["products"]]

  def seconds(x, y):
    began = time.perf_counter()
    torch.matmul(x, y)
    return time.perf_counter() - began

  return {"run": lambda: [seconds(x, y) for x, y in pairs]}
