"""Makes time_variant_mlm.json: averages and weights of classes, accepted words and ratios.

Run as `python tests/golden/make_time_variant_mlm.py FOLDER`, where torch is and FOLDER is a
checkout of github.com/mutonix/better_masking at 35652c2e: `BertModelWithLoss` of
bert_ptw_pretrain.py and `BertDataCollator` of data_utils.py are cut out and run unchanged. What is
kept: after each of four batches of given logits the average losses and the weights of the classes;
of given coins, the words in their order, which they accept where nothing ends the loop; and the
ratio at some of 1,000 steps.
"""

import json
import math
import pathlib
import random
import sys
import types

import numpy as np
import torch
from beside import cut

CLASSES, KINDS, BATCH, N, UPDATES, WORDS = 17, 11, 2, 30, 4, 24
AT = (0, 100, 500, 900, 999)


def given(update):
  """Logits, ids, which are asked, and classes of a batch, from closed formulas."""
  i = np.arange(BATCH * N) + BATCH * N * update
  logits = 2 * np.sin(i[:, None] * 0.7548777 + np.arange(KINDS) * 1.3247180)
  ids, kind = i * 7 % KINDS, i * i % 13 + (i % 5 == 0) * 4
  shape = lambda x: x.reshape(BATCH, N, *x.shape[1:])
  return shape(logits.astype(np.float32)), shape(ids), shape(i * 3 % 7 < 3), shape(kind)


def pieces(word):
  """How many tokens a word has."""
  return 1 + word % 3


def coins():
  """One for each word."""
  return np.arange(1, WORDS + 1) * 0.618034 % 1


def authors(folder):
  """Their module of losses and their collator, without what they are begun with."""
  place = pathlib.Path(folder)
  (module,) = cut(place / "bert_ptw_pretrain.py", "BertModelWithLoss", nn=torch.nn, torch=torch)
  named = dict(DataCollatorForWholeWordMask=object, torch=torch, random=random, math=math)
  named["pad_sequence"] = torch.nn.utils.rnn.pad_sequence
  (collator,) = cut(place / "data_utils.py", "BertDataCollator", **named)
  loss = object.__new__(module)
  torch.nn.Module.__init__(loss)
  loss.bert_loss_func, loss.probe = torch.nn.CrossEntropyLoss(reduction="none"), True
  loss.hf_tokenizer = types.SimpleNamespace(pad_token_id=-1)
  loss.all_pos_score, loss.global_dict = torch.zeros(CLASSES), {"all_pos_score": [0.0] * CLASSES}
  loss.pos_classes = range(CLASSES)
  data = object.__new__(collator)
  data.global_dict, data.probe, data.pos_wt_flag = loss.global_dict, True, True
  data.only_wwm, data.max_steps, data.mask_prob, data.masking_mode = False, 1000, 0.15, ""
  data.tokenizer = types.SimpleNamespace(pad_token_id=0)
  data.torch_call = lambda samples, kinds: {"input_ids": None, "labels": None}
  data.trainer = types.SimpleNamespace(state=types.SimpleNamespace(global_step=0))
  return loss, data


def updated(loss, data, update):
  """The average losses after a batch, and the weights that follow."""
  logits, ids, asked, kind = given(update)
  loss.bert = lambda *_: types.SimpleNamespace(logits=torch.tensor(logits))
  labels = torch.tensor(np.where(asked, ids, -100))
  loss(torch.tensor(ids), labels, pos_subword_info=torch.tensor(kind))
  row = {"input_ids": torch.zeros(1), "sentA_length": torch.tensor(1)}
  data([{**row, "pos_subword_info": torch.zeros(1)}])
  return loss.all_pos_score.numpy().copy(), data.all_pos_wt.numpy().copy()


def taken(data, weights, order):
  """The words that are accepted in an order, where all may be hidden."""
  data.all_pos_wt, data.get_mask_prob = torch.tensor(weights), lambda step: 1.0
  tokens, kinds, shuffle, draw = [], [], random.shuffle, random.random
  for word in range(WORDS):
    tokens += ["w", *["##w"] * (pieces(word) - 1)]
    kinds += [word % CLASSES] * pieces(word)
  tossed = iter(coins()[order])
  random.shuffle = lambda words: words.__setitem__(slice(None), [words[i] for i in order])
  random.random = lambda: next(tossed)
  found = data._whole_word_mask(tokens, kinds)
  random.shuffle, random.random = shuffle, draw
  return found


def main(folder):
  """Writes the file."""
  loss, data = authors(folder)
  steps = [updated(loss, data, update) for update in range(UPDATES)]
  short = lambda x: [float(f"{v:.7g}") for v in x]
  order = np.arange(WORDS) * 7 % WORDS
  golden = {
    "averages": [short(average) for average, _ in steps],
    "weights": [short(weights) for _, weights in steps],
    "accepted": taken(data, steps[-1][1], order),
  }
  del data.get_mask_prob
  for mode in ("cosine", "desc", "asc"):
    data.masking_mode = mode
    golden[mode] = short(data.get_mask_prob(step) for step in AT)
  path = pathlib.Path(__file__).with_name("time_variant_mlm.json")
  path.write_text(json.dumps(golden) + "\n")
  print(path.stat().st_size, "bytes")


if __name__ == "__main__":
  main(*sys.argv[1:])
