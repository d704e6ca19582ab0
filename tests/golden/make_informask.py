"""Makes informask.json: what the authors' data set hides and shows, of given rates and coins.

Run as `python tests/golden/make_informask.py FOLDER`, where torch and scipy are and FOLDER is a
checkout of github.com/NafisSadeq/InforMask at 340480a: its `pretrain/dataset.py` is
imported and run unchanged, with a tokenizer of a small vocabulary in the place of BERT's and coins
from a formula that the test repeats. Of the published table of rates the median and those of three
words are kept too.
"""

import json
import pathlib
import sys
import tempfile
import types

import numpy as np
import torch

ROWS, LENGTH, WORDS, MASK = 3, 20, 40, 43
SPECIAL = {"[CLS]": 41, "[SEP]": 42, "[MASK]": MASK, "[PAD]": 0}
PUBLISHED = {"the": 1996, "of": 1997, "been": 2042}  # of bert-base-uncased


class Tokenizer:
  """Lines of ids, padded to the length that is asked for."""

  from_pretrained = classmethod(lambda cls, name: cls())
  convert_tokens_to_ids = staticmethod(SPECIAL.get)

  def __call__(self, lines, max_length, padding, truncation):
    rows = [[41, *map(int, line.split()), 42] for line in lines]
    pad = lambda row: row + [0] * (max_length - len(row))
    return {
      "input_ids": [pad(row) for row in rows],
      "attention_mask": [pad([1] * len(row)) for row in rows],
    }


module = types.ModuleType("transformers")
module.BertTokenizerFast = Tokenizer
sys.modules["transformers"] = module
sys.path.insert(0, f"{sys.argv[1]}/pretrain")
import dataset as public  # noqa: E402

rates = 0.05 + 0.4 * (np.arange(WORDS) * 0.618034 % 1)
words = 1 + (np.arange(ROWS * (LENGTH - 2)) * 7 + np.arange(ROWS * (LENGTH - 2)) // 5) % (WORDS - 1)
lines = [" ".join(map(str, row)) for row in words.reshape(ROWS, -1)]
lines[-1] = " ".join(lines[-1].split()[:9])  # it ends early
coins = (np.arange(ROWS * LENGTH) * 0.754878 % 1).reshape(ROWS, LENGTH)
with tempfile.TemporaryDirectory() as folder:
  pathlib.Path(folder, "a.txt").write_text("\n".join(lines))
  table = {str(i): rate for i, rate in enumerate(rates)}
  pathlib.Path(folder, "id_mask_prob.json").write_text(json.dumps(table))
  data = public.Dataset(folder, vocab_folder=folder, doc_len=LENGTH, masking_type="informask")
  seen = []
  for row in range(ROWS):
    torch.rand = lambda shape, row=row: torch.tensor(coins[row])
    seen.append(data[row]["input_ids"].tolist())
published = json.loads((pathlib.Path(sys.argv[1]) / "vocab/id_mask_prob.json").read_text())
kept = {word: round(published[str(i)], 6) for word, i in PUBLISHED.items()}
golden = {
  "ids": data.encodings["labels"].tolist(),
  "seen": seen,
  "published": {**kept, "median": round(float(np.median(list(published.values()))), 6)},
}
path = pathlib.Path(__file__).with_name("informask.json")
path.write_text(json.dumps(golden) + "\n")
print(path.stat().st_size, "bytes", golden["published"])
