"""Makes difference_masking.json: the chances by which the authors' code draws the pieces of texts.

Run as `python tests/golden/make_difference_masking.py FOLDER`, where torch is and FOLDER is a
checkout of github.com/abwilf/Difference-Masking at 3bb9dd6: `DataTransformAndItr` is cut out of
Unimodal/AANG/AutoSearchSpace/.ipynb_checkpoints/data-checkpoint.py, the only copy that holds the
method, and run unchanged with embeddings of words from a formula in BERT's place. A word is called
by its number, and has one to three pieces. What is kept are the chances that it hands to the draw,
in the order of the pieces, without a mix of even ones and with it, and how many it draws.
"""

import json
import pathlib
import sys
import types

import numpy as np
import torch
from beside import cut

SEEDS, WORDS, TEXTS, WIDTH = 5, 60, 3, 6
# Lengths of texts in words, and which words they have: none twice, as a second one takes the place
# of the first in their code.
LENGTHS = (12, 20, 7)


def pieces(word):
  """How many pieces a word has."""
  return 1 + int(word) % 3


def embedding(word):
  """Of a word or, from WORDS on, of an anchor."""
  return np.cos((1 + int(word)) * (1 + np.arange(WIDTH)) * 0.7548777)


def words_of(text):
  """The words of a text."""
  return [str((7 * i + 11 * text) % WORDS) for i in range(LENGTHS[text])]


class Tokenizer:
  """Words by their numbers; the pieces of each are as many ids."""

  def batch_encode_plus(self, words, **given):
    if "return_tensors" in given:
      return {"words": words}
    return types.SimpleNamespace(input_ids=[[0] * pieces(word) for word in words])


def outputs(words):
  """What their BERT says of words, each alone."""
  rows = torch.tensor(np.stack([embedding(word) for word in words]))
  return types.SimpleNamespace(pooler_output=rows)


def authors(folder):
  """Their sampler, with what it needs of the rest."""
  name = "Unimodal/AANG/AutoSearchSpace/.ipynb_checkpoints/data-checkpoint.py"
  (sampler,) = cut(pathlib.Path(folder, name), "DataTransformAndItr", np=np, torch=torch)
  made = object.__new__(sampler)
  made.sim_dict, made.mask_selection_process, made.proba = {}, "max", 0.15
  made.emb_chem = outputs(range(WORDS, WORDS + SEEDS))
  made.dataOpts = types.SimpleNamespace(
    tokenizer=Tokenizer(), tokenizer_bert=Tokenizer(), model_bert=outputs
  )
  return made


def chances(sampler, words, alpha=None):
  """By which chance they draw each piece of a text, and how many pieces."""
  size, drawn, choice = sum(map(pieces, words)), [], np.random.choice

  def draw(count, size, replace, p):
    assert not replace
    drawn.append((np.asarray(p), size))
    return np.arange(size)

  np.random.choice = draw
  sentence, rest = " ".join(words), () if alpha is None else (alpha,)
  ask = sampler.get_masked_indices if alpha is None else sampler.get_masked_indices_alpha
  ask(sentence, torch.zeros(size + 2), *rest)
  np.random.choice = choice
  # They hand the pieces over word by word, in the order of the ranks.
  similar = sampler.get_similarity(sentence)
  ends = np.cumsum([pieces(word) for word in words])
  order = [ends[words.index(w)] - pieces(w) + i for w in similar for i in range(pieces(w))]
  p = np.zeros(size)
  p[order] = drawn[0][0]
  return p, drawn[0][1]


def main(folder):
  """Writes the file."""
  sampler, found = authors(folder), []
  for text in range(TEXTS):
    words = words_of(text)
    plain, count = chances(sampler, words)
    mixed, _ = chances(sampler, words, alpha=0.3)
    short = lambda p: [float(f"{x:.7g}") for x in p]
    found.append({"plain": short(plain), "mixed": short(mixed), "count": count})
  path = pathlib.Path(__file__).with_name("difference_masking.json")
  path.write_text(json.dumps(found) + "\n")
  print(path.stat().st_size, "bytes", [text["count"] for text in found])


if __name__ == "__main__":
  main(*sys.argv[1:])
