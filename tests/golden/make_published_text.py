"""Writes published_text.json: logits of transformers' small Llama, GPT-2 and BERT, and their names.

Weights follow from `weights`, a closed formula, so that outputs alone are stored. Run where torch
and transformers (5.24) are: python tests/golden/make_published_text.py
"""

import json
import pathlib

import numpy as np

SIZES = dict(vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=4)
IDS = [[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]]


def weights(shapes):
  """The tensor of each name: a sine, around 1 for the weights of norms."""
  made = {}
  for i, (name, shape) in enumerate(sorted(shapes.items())):
    wave = 0.5 * np.sin(0.7 * np.arange(np.prod(shape)) ** 1.3 + i)
    norm = len(shape) == 1 and name.endswith("weight")
    made[name] = (wave + norm).reshape(shape).astype(np.float32)
  return made


def models():
  """Each network, small."""
  import transformers as hf  # here, so that collecting doctests needs none

  more = dict(attn_implementation="eager")
  llama = dict(intermediate_size=24, num_key_value_heads=2, rms_norm_eps=1e-5)
  rope = dict(rope_type="default", rope_theta=500_000.0)
  yield (
    "llama",
    hf.LlamaForCausalLM(
      hf.LlamaConfig(**SIZES, **llama, rope_parameters=rope, tie_word_embeddings=False, **more)
    ),
  )
  gpt2 = dict(vocab_size=11, n_embd=16, n_layer=2, n_head=4, n_positions=8)
  yield "gpt2", hf.GPT2LMHeadModel(hf.GPT2Config(**gpt2, **more))
  bert = dict(intermediate_size=24, max_position_embeddings=8)
  yield "bert", hf.BertForMaskedLM(hf.BertConfig(**SIZES, **bert, **more))


def main():
  """Runs each, all of its weights by the formula."""
  import torch

  found = {}
  for name, model in models():
    given = {n: p for n, p in model.named_parameters() if p.requires_grad}
    made = weights({n: tuple(p.shape) for n, p in given.items()})
    with torch.no_grad():
      for n, p in given.items():
        p.copy_(torch.tensor(made[n]))
      logits = model.eval()(torch.tensor(IDS)).logits.numpy()
    shapes = {n: list(p.shape) for n, p in given.items()}
    found[name] = {"shapes": shapes, "logits": np.round(logits.astype(float), 5).tolist()}
  text = json.dumps(found, separators=(",", ":"))
  pathlib.Path(__file__).with_name("published_text.json").write_text(text + "\n")


if __name__ == "__main__":
  main()
