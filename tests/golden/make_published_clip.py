"""Writes published_clip.json: what transformers' small CLIP says of images and texts.

Weights and images follow from closed formulas, so that outputs alone are stored. Run where torch
and transformers (5.24) are: python tests/golden/make_published_clip.py
"""

import json
import pathlib
import runpy

import numpy as np

WEIGHTS = runpy.run_path(str(pathlib.Path(__file__).with_name("make_published_text.py")))["weights"]
SIZES = dict(num_hidden_layers=2)
TEXT = dict(SIZES, vocab_size=13, hidden_size=12, intermediate_size=48, num_attention_heads=2)
TEXT |= dict(max_position_embeddings=7, bos_token_id=11, eos_token_id=12, pad_token_id=12)
VISION = dict(SIZES, hidden_size=16, intermediate_size=64, num_attention_heads=4)
VISION |= dict(image_size=8, patch_size=4)
# Of each text a beginning, words, an end, and ends again where there is no more.
IDS = [[11, 3, 1, 4, 12, 12], [11, 5, 9, 2, 6, 12], [11, 7, 12, 12, 12, 12]]


def images():
  """Three images, channels last."""
  return np.cos(0.37 * np.arange(3 * 8 * 8 * 3) ** 1.1).reshape(3, 8, 8, 3).astype(np.float32)


def weights(shapes):
  """The tensor of each name, and a logarithm of 1 / temperature."""
  made = WEIGHTS({name: shape for name, shape in shapes.items() if shape})
  return {**made, "logit_scale": np.array(1.5, np.float32)}


def main():
  """Runs the network, all of its weights by the formula."""
  import torch
  import transformers as hf

  config = hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=6)
  config._attn_implementation = "eager"
  model = hf.CLIPModel(config).eval()
  given = dict(model.named_parameters())
  made = weights({name: tuple(p.shape) for name, p in given.items()})
  with torch.no_grad():
    for name, p in given.items():
      p.copy_(torch.tensor(made[name]))
    pixels = torch.tensor(images().transpose(0, 3, 1, 2).copy())
    out = model(input_ids=torch.tensor(IDS), pixel_values=pixels, return_loss=True)
  rounded = lambda x: np.round(x.numpy().astype(float), 6).tolist()
  found = dict(image=out.image_embeds, text=out.text_embeds, logits=out.logits_per_image)
  stored = {name: rounded(x) for name, x in found.items()}
  stored |= dict(loss=rounded(out.loss), shapes={n: list(p.shape) for n, p in given.items()})
  text = json.dumps(stored, separators=(",", ":"))
  pathlib.Path(__file__).with_name("published_clip.json").write_text(text + "\n")


if __name__ == "__main__":
  main()
