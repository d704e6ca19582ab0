"""Makes mask15.json: what Hugging Face's collator for masked language models makes of given draws.

Run where torch and transformers (5.x) are: python tests/golden/make_mask15.py. This runs
`transformers.DataCollatorForLanguageModeling` on a small vocabulary, with its coins and random
words replaced by draws that are stored beside the results: 80-10-10, other shares, whole words.
"""

import json
import pathlib

import numpy as np

SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
WORDS, ROWS, LENGTH = 25, 2, 24
GRAIN = 1024
# Share of tokens that is asked; of these the shares that become the mask and a random token.
CASES = [(0.15, 0.8, 0.1), (0.4, 0.8, 0.1), (0.4, 1.0, 0.0), (0.8, 0.5, 0.5), (0.6, 0.0, 0.3)]
# Of whole words all tokens become the mask there.
WORD_CASES = [(0.15, 1.0, 0.0), (0.4, 1.0, 0.0)]


def tokenizer():
  """Words w0, w1, … and the special tokens before them."""
  from tokenizers import Tokenizer, models  # here, so that collecting doctests needs none
  from transformers import PreTrainedTokenizerFast

  vocabulary = {word: i for i, word in enumerate([*SPECIAL, *(f"w{i}" for i in range(WORDS))])}
  names = dict(zip(("pad", "cls", "sep", "mask", "unk"), SPECIAL, strict=True))
  return PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")),
    **{f"{name}_token": token for name, token in names.items()},
  )


def examples(rng):
  """Ids between [CLS] and [SEP], the second row padded; the word of each, -1 of special ones."""
  ids = rng.integers(len(SPECIAL), len(SPECIAL) + WORDS, (ROWS, LENGTH))
  ids[:, 0], ids[0, -1], ids[1, -6], ids[1, -5:] = 1, 2, 2, 0
  unit = np.cumsum(rng.random((ROWS, LENGTH)) < 0.6, axis=1)
  return ids, np.where(ids < len(SPECIAL), -1, unit)


def offsets(unit):
  """Character spans as a tokenizer gives them: pieces of one word touch, words do not."""
  spans = np.zeros((*unit.shape, 2), int)
  for row in range(len(unit)):
    for i in range(1, unit.shape[1]):
      apart = unit[row, i] != unit[row, i - 1]
      spans[row, i] = spans[row, i - 1, 1] + apart + np.array([0, 2])
  return spans


def main():
  """Every case once by tokens, and once by whole words."""
  import torch
  from transformers import DataCollatorForLanguageModeling

  rng, rows = np.random.default_rng(0), []
  names = tokenizer()
  for whole, cases in ((False, CASES), (True, WORD_CASES)):
    for rate, masked, replaced in cases:
      ids, unit = examples(rng)
      coins = rng.integers(0, GRAIN, (3, ROWS, LENGTH))
      words = rng.integers(0, len(names), (ROWS, LENGTH))
      left = [torch.tensor((c + 0.5) / GRAIN) for c in coins]
      torch.bernoulli = lambda p, generator=None, left=left: (left.pop(0) < p).to(p.dtype)
      torch.randint = lambda *a, words=words, **k: torch.tensor(words)
      collate = DataCollatorForLanguageModeling(
        names,
        mlm_probability=rate,
        mask_replace_prob=masked,
        random_replace_prob=replaced,
        whole_word_mask=whole,
      )
      special = (ids < len(SPECIAL)).astype(int)
      batch = [
        {"input_ids": a, "special_tokens_mask": b, "offset_mapping": c}
        for a, b, c in zip(ids.tolist(), special.tolist(), offsets(unit).tolist(), strict=True)
      ]
      out = collate([{k: torch.tensor(v) for k, v in row.items()} for row in batch])
      rows.append(
        {
          "rates": [rate, masked, replaced],
          "unit": unit.tolist() if whole else None,
          "ids": ids.tolist(),
          "coins": coins.tolist(),
          "words": words.tolist(),
          "input_ids": out["input_ids"].tolist(),
          "labels": out["labels"].tolist(),
        }
      )
  text = ",\n".join(json.dumps(row) for row in rows)
  pathlib.Path(__file__).with_name("mask15.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
  main()
