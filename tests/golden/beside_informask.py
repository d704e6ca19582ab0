"""InforMask beside its authors' code: masks, what is seen, loss, gradient, two steps, rates.

The code is github.com/NafisSadeq/InforMask at 340480a: `Dataset` of pretrain/dataset.py, with a
tokenizer of a few words in BERT's place; rates of ids and coins are given. Its loss is of hidden
tokens, and the network transformers' Llama reading both ways, tied, in the place of RoBERTa: an
oracle of ours. AdamW, its clipping and its rates are as transformers' Trainer has them unless told,
which the authors do not. Run: python tests/golden/beside_informask.py CHECKOUT
"""

import dataclasses
import json
import pathlib
import sys
import tempfile

import beside
import numpy as np
import torch

BATCH, LENGTH, SHORT, WORDS, STEPS = 3, 15, 9, 11, 40
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
SPECIAL = {"[CLS]": WORDS + 1, "[SEP]": WORDS + 2, "[MASK]": WORDS, "[PAD]": WORDS + 3}
# By how much gradients are clipped to less on both sides: the first step is clipped.
SMALLER = 10


class Tokenizer:
  """Lines of ids, padded to the length that is asked for."""

  from_pretrained = classmethod(lambda cls, name: cls())
  convert_tokens_to_ids = staticmethod(SPECIAL.get)

  def __call__(self, lines, max_length, padding, truncation):
    rows = [[WORDS + 1, *map(int, line.split()), WORDS + 2] for line in lines]
    pad = lambda row, x: row + [x] * (max_length - len(row))
    ids = [pad(row, WORDS + 3) for row in rows]
    return {"input_ids": ids, "attention_mask": [pad([1] * len(row), 0) for row in rows]}


def shown(folder, tokens, rates, coins):
  """What their data set makes of texts, without the marks at both ends."""
  with beside.standing_in(f"{folder}/pretrain", transformers={"BertTokenizerFast": Tokenizer}):
    import dataset as public
  with tempfile.TemporaryDirectory() as place:
    lines = [" ".join(map(str, row)) for row in tokens.tolist()]
    lines[-1] = " ".join(lines[-1].split()[:SHORT])
    pathlib.Path(place, "a.txt").write_text("\n".join(lines))
    table = {str(i): float(rate) for i, rate in enumerate(rates)}
    pathlib.Path(place, "id_mask_prob.json").write_text(json.dumps(table))
    data = public.Dataset(place, vocab_folder=place, doc_len=LENGTH + 2, masking_type="informask")
    rows, draw = [], torch.rand
    for row in coins:
      torch.rand = lambda shape, row=row: torch.tensor(np.r_[0, row, 0])
      rows.append(data[len(rows)]["input_ids"])
    torch.rand = draw
  return torch.stack(rows)[:, 1:-1]


def main(folder):
  """Runs both."""
  rng = np.random.default_rng(3)
  rates = rng.uniform(0.1, 0.8, WORDS).astype(np.float32)
  coins = rng.random((BATCH, LENGTH)).astype(np.float32)
  from maskjax.data import tiny

  scale = dict(kind="text", shape=(LENGTH,), vocabulary=WORDS, examples=BATCH * STEPS)
  batch = {**tiny.batch(scale, BATCH), "valid": np.ones((BATCH, LENGTH), bool)}
  batch["valid"][-1, SHORT:] = False
  tokens, valid = np.asarray(batch["tokens"]), torch.tensor(batch["valid"])
  batch["noise"] = rates[tokens] - coins
  read = shown(folder, tokens, rates, coins)
  hidden = (read == WORDS) & valid
  read = torch.where(valid, read, 0)

  import transformers

  from maskjax import lab

  default = {f.name: f.default for f in dataclasses.fields(transformers.TrainingArguments)}
  clip = default["max_grad_norm"] / SMALLER
  settings = lab.read("informask").optimizer

  def change(c):
    c.batch_size, c.total_epochs, c.total_steps = BATCH, 0.0, STEPS
    c.model.update(width=24, depth=2, heads=3, mlp=40, dtype="float32", scan=False, norm_eps=1e-5)
    c.score = "batch.noise"
    c.optimizer.update(beside.CONSTANT, clip=clip)

  ours = beside.Method("informask", change, tiny.record(scale, "train"), batch)
  torch.manual_seed(1)
  network, begin = beside.small_llama(WORDS + 1, **SIZES)
  room = torch.where(valid, 0.0, -1e9)[:, None, None].expand(-1, 1, LENGTH, -1)

  def loss():
    logits = network(read, attention_mask=room).logits[..., :WORDS]
    asked = torch.where(hidden, torch.tensor(tokens.astype(int)), -1).reshape(-1)
    flat = logits.reshape(-1, WORDS)
    nats = torch.nn.functional.cross_entropy(flat, asked, reduction="sum", ignore_index=-1)
    return nats / hidden.sum()

  numbers = dict(lr=beside.RATE, betas=(default["adam_beta1"], default["adam_beta2"]))
  numbers |= dict(eps=default["adam_epsilon"], weight_decay=default["weight_decay"])
  tx = torch.optim.AdamW(network.parameters(), **numbers)
  cut = lambda: torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
  losses, slopes, after = beside.steps(network, tx, loss, before=cut)

  def real(c):
    c.batch_size, c.total_epochs, c.total_steps, c.optimizer = BATCH, 0.0, 1000, settings

  rate = beside.Method("informask", real, tiny.record(scale, "train"), batch).optimizer.rate
  one = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=default["learning_rate"])
  line = transformers.get_linear_schedule_with_warmup(one, int(default["warmup_steps"] or 0), 1000)
  at, theirs = (0, 1, 500, 999), []
  for _ in range(1000):
    theirs.append(line.get_last_lr()[0])
    one.step()
    line.step()
  params = lambda tensors: ours.read(tensors, layout="llama")["params"]
  variables = ours.read(begin, layout="llama")
  variables["prepared"] = {**variables["prepared"], "rates": rates}
  costs, norms, moved = ours.steps(variables)
  mask, values, chances = ours.values(variables, "hidden", "seen", "chances")
  first, second, left = beside.moves(
    variables["params"], moved, [params(a) for a in after], params(slopes[0])
  )
  seen = np.where(batch["valid"], values.values.reshape(BATCH, LENGTH), 0)
  beside.row(
    "informask",
    "NafisSadeq/InforMask@340480a, network an oracle",
    [
      ("chances", beside.far(chances.reshape(BATCH, LENGTH), rates[tokens]), 1e-7),
      ("masks", beside.far(mask.reshape(BATCH, LENGTH), hidden.numpy()), beside.EXACT),
      ("seen", beside.far(seen, read.numpy()), beside.EXACT),
      ("losses", beside.far(np.array(costs), np.array(losses)), beside.LOSS),
      ("gradient norm", abs(norms[0] / beside.norm(slopes[0]) - 1), beside.STEP),
      ("step", first, beside.STEP),
      ("two steps", second, beside.SECOND),
      ("rates", beside.far([rate(i) for i in at], [theirs[i] for i in at]), 1e-5),
    ],
    left,
  )


if __name__ == "__main__":
  main(sys.argv[1])
