"""Makes vit_mae.safetensors: a tiny published masked autoencoder, its inputs and what it answers.

Run where torch and transformers (5.23) are: `python tests/golden/make_vit_mae.py`. Weights have
the names that `ViTMAEForPreTraining.save_pretrained` gives; the rest starts with `golden.`.
"""

import pathlib
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

config = ViTMAEConfig(
  image_size=24,
  patch_size=6,
  num_channels=3,
  hidden_size=24,
  num_hidden_layers=2,
  num_attention_heads=3,
  intermediate_size=96,
  decoder_hidden_size=16,
  decoder_num_hidden_layers=2,
  decoder_num_attention_heads=2,
  decoder_intermediate_size=64,
  layer_norm_eps=1e-3,
  norm_pix_loss=True,
  mask_ratio=0.75,
)
torch.manual_seed(0)
model = ViTMAEForPreTraining(config).eval()
with torch.no_grad():
  for parameter in model.parameters():
    parameter.copy_(torch.randn_like(parameter) * 0.2)
  for name, parameter in model.named_parameters():
    if "norm" in name and name.endswith("weight"):
      parameter.add_(1)
  tables = (
    (model.vit.embeddings.position_embeddings, config.hidden_size),
    (model.decoder.decoder_pos_embed, config.decoder_hidden_size),
  )
  for table, width in tables:
    rows, columns = build_2d_sinusoidal_position_embedding(4, 4, width, cls_token=True).chunk(2, -1)
    table.copy_(torch.cat([columns, rows], dim=-1)[None])  # published weights have columns first
  pixels, noise = torch.randn(2, 3, 24, 24), torch.rand(2, 16)
  out = model(pixels, noise=noise, output_hidden_states=True)
  model.config.mask_ratio = model.vit.config.mask_ratio = 0.0
  features = model.vit(pixels, noise=torch.arange(16.0).repeat(2, 1)).last_hidden_state
  # Resized as published code does: bicubic, pixel centres aligned.
  patches = model.vit.embeddings.position_embeddings[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
  resize = lambda size: torch.nn.functional.interpolate(
    patches, size=size, mode="bicubic", align_corners=False
  ).permute(0, 2, 3, 1)

golden = {
  "pixels": pixels.permute(0, 2, 3, 1),
  "noise": noise,
  "loss": out.loss,
  "prediction": out.logits,
  "mask": out.mask,
  "features": features,
  "resized_7x5": resize((7, 5)),
  "resized_2x3": resize((2, 3)),
}
with tempfile.TemporaryDirectory() as folder:
  model.save_pretrained(folder)
  tensors = load_file(f"{folder}/model.safetensors")
tensors |= {f"golden.{name}": value.detach().contiguous() for name, value in golden.items()}
save_file(
  tensors, pathlib.Path(__file__).with_name("vit_mae.safetensors"), metadata={"format": "pt"}
)
