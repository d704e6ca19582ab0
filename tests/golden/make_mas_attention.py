"""Writes mas_attention.json: which pairs attend by the public code of MAS, for three templates.

The code is github.com/shacharKZ/MAS-Segment-Based-Attention-Masking: of its file
mas_llama_impl/modeling_mas_llama.py the part that makes masks is run, without the model around it.
Run with PyTorch 2.13: python tests/golden/make_mas_attention.py CHECKOUT
"""

import json
import pathlib
import sys

import numpy as np
import torch

FILE = "mas_llama_impl/modeling_mas_llama.py"
FROM, TO = "#### V MAS V ####", "LLAMA_MAS_TEMPLATE ="


def cases(code):
  """Ids, which are padding, the part that each belongs to, and which attend causally."""
  begin, header, closed, end = 128_000, code["START_HEADER_ID"], code["END_HEADER_ID"], 128_009
  chat = [begin]
  for role in (code["SYSTEM_ID"], code["USER_ID"], code["ASSISTANT_ID"]):
    chat += [header, role, closed, 11, 12, end]
  parts = [0, *np.repeat([1, 2, 3], 6)]
  yield "v2", chat, [1] * 19, parts, [part in (0, 3) for part in parts]

  sign, follow = code["ALPACA_START_HEADER_ID"], code["ALPACA_INSTRUCTION_ID"]
  answer = code["ALPACA_ASSISTANT_ID"]
  alpaca = [begin, 21, 22, sign, follow, 23, 24, 25, sign, answer, 26, 27]
  yield "alpaca", alpaca, [1] * 12, [0] * 3 + [1] * 5 + [2] * 4, [False] * 8 + [True] * 4

  separator, pad = code["COMMONSENSE_SEPERATOR"], code["COMMONSENSE_PAD_TOKEN"]
  padded = [pad, pad, begin, 31, separator, 32, 33, 34, separator, 35, 36]
  there = [0, 0] + [1] * 9
  yield "commonsense", padded, there, [0] * 5 + [1] * 4 + [2] * 2, [False] * 9 + [True] * 2


def main():
  """Runs the code of the checkout."""
  source = (pathlib.Path(sys.argv[1]) / FILE).read_text()
  code = {"np": np, "torch": torch}
  exec(source[source.index(FROM) : source.index(TO)], code)
  takers = {
    "v2": code["calculate_attention_mask_v2"],
    "alpaca": code["calculate_attention_mask_for_alpaca"],
    "commonsense": code["calculate_attention_mask_for_commonsenseDS_template"],
  }
  rows = []
  for name, ids, there, parts, alone in cases(code):
    added = takers[name](torch.tensor([ids]), torch.tensor([there]))[0, 0]
    attends = ["".join("1" if x == 0 else "0" for x in row) for row in added.tolist()]
    given = {"valid": there, "parts": [int(p) for p in parts], "alone": [int(a) for a in alone]}
    rows.append({"template": name, **given, "attends": attends})
  path = pathlib.Path(__file__).with_name("mas_attention.json")
  path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
  main()
