"""Evaluators on the tasks of configs, of weights whose figures are known.

With weights of zero a network says the same of everything: what it predicts is 0, all tokens and
classes are as likely, attention is even.
"""

import numpy as np
import pytest

from maskjax.train.evaluators.finetune import _features
from maskjax.view.reconstruction import reconstruction

CLASSES = 3


def split(made, name, key):
  """All of a split, without padding."""
  parts = [b[key][b["valid"]] for b in made.context.examples(name, 8)]
  return np.concatenate(parts)


def test_a_prompt_read_evenly_is_read_ahead_by_chance(measured, text):
  data = {**text, "turns": " "}
  made = measured(
    "attention_mask/mas_attention", "lookahead", data=data, options={"batch_size": 4, "limit": 4}
  )
  found = made.found
  assert 0 < found["chance"] < 1
  assert found["share"] == pytest.approx(found["chance"], rel=1e-5)
  assert found["early"] == pytest.approx(found["early chance"], rel=1e-5)
  assert found["layer/0"] == pytest.approx(found["share"])
  assert set(made.pictures) == {"attention"}


def test_equal_odds_cost_the_logarithm_of_the_vocabulary_from_left_to_right(measured, text):
  made = measured("base/causal_lm", "bits", data=text, options={"draws": 1, "batch_size": 4})
  nats = np.log2(len(made.context.record.vocabulary))
  assert made.found == {"per character": pytest.approx(nats), "per token": pytest.approx(nats)}


def test_equal_odds_bound_the_logarithm_of_the_vocabulary_in_any_order(measured, text):
  made = measured(
    "masked_generative/md4", "bits", data=text, options={"draws": 64, "batch_size": 4}
  )
  nats = np.log2(len(made.context.record.vocabulary))
  assert made.found["per token"] == pytest.approx(nats, rel=0.05)


@pytest.mark.parametrize("whole", [False, True])
def test_equal_odds_fill_in_by_chance(measured, text, whole):
  data = {**text, "unit": "characters", "vocabulary": None, "collocations": {"size": 0}}
  options = {"whole": whole, "ratio": 0.3, "draws": 2, "batch_size": 4}
  made = measured("text_mlm/mask15", "infilling", data=data, options=options)
  assert made.found["loss"] == pytest.approx(np.log(len(made.context.record.vocabulary)))
  tokens = split(made, "test", "tokens")
  assert made.found["accuracy"] == pytest.approx((tokens == 0).mean(), abs=0.2)


def test_a_classifier_of_equal_logits_says_the_first_class(measured, images):
  made = measured("base/supervised", "accuracy", data=images, options={"batch_size": 8})
  chance = (split(made, "test", "label") == 0).mean()
  assert made.found == {"accuracy": chance, "loss": pytest.approx(np.log(CLASSES))}


def test_fine_tuning_begins_at_equal_odds(measured, images):
  """The head begins at zero, and so does the rate: one step changes nothing."""
  masks = {"score": {"fn": "score.uniform"}, "select": {"fn": "select.top", "ratio": 0.5}}
  options = {"steps": 1, "batch_size": 8, "learning_rate": 0.0, **masks}
  made = measured("image_mim/mae", "finetune", noise=0.3, data=images, options=options)
  chance = (split(made, "test", "label") == 0).mean()
  assert made.found == {"accuracy": chance, "loss": pytest.approx(np.log(CLASSES), rel=1e-5)}
  batch = made.context.mesh.put_whole(next(made.context.examples("test", 8)))
  trained = _features(made.context, "mean")[0](batch, 2)
  names = {name.partition("/")[0] for name in trained}
  assert names == {"encoder", "head"}


def test_nothing_predicted_costs_the_values_themselves(measured, images):
  options = {
    "batch_size": 8,
    "score": {"fn": "score.uniform"},
    "select": {"fn": "select.top", "ratio": 1.0},
  }
  made = measured("image_mim/mae", "masked_reconstruction", data=images, options=options)
  x, mean = split(made, "test", "image"), split(made, "train", "image").mean(0)
  assert made.found["error"] == pytest.approx((x**2).mean(), rel=1e-4)
  assert made.found["ratio"] == pytest.approx((x**2).sum() / ((x - mean) ** 2).sum(), rel=1e-4)


def test_the_middle_of_the_scale_fills_a_table(measured):
  place, data = "graph_3d_tabular_series_mim/remasker", {"name": "table", "bundled": "wine"}
  made = measured(place, "imputation", data=data, options={"baselines": False})
  both = ({k: rows(made, s, k) for k in ("table", "valid")} for s in ("train", "truth"))
  given, truth = both
  missing = ~given["valid"] & truth["valid"]
  width = np.ptp(truth["table"], axis=0)
  error = ((0.5 - truth["table"]) / width)[missing]
  assert made.found == {"rmse": pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)}
  assert set(made.pictures) == {"imputation"}
  assert reconstruction(made.context, split="train", examples=2) == {}
  assert np.ptp(made.pictures["reconstruction"]) > 0


def rows(made, name, key):
  """All rows of a split of a table."""
  found = np.concatenate([batch[key] for batch in made.context.examples(name, 64)])
  return found[: made.context.record.sizes[name], :, 0]
