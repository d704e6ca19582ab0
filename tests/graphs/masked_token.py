"""mask15 as a graph."""

import math

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `masked_token`."""
  asked, shares = config["task"].get("asked", 1.0), config["hide"].get("shares")
  c = without(config, "recover")
  c["task"] = dict(fn="masked")
  c["over"] = dict(fn="over.tokens")
  c["model"] = qualified(config["model"], "model")
  c["score"] = qualified(config["score"], "score")
  if config["score"]["fn"] == "words":
    c["score"]["of"] = dict(unit="batch.unit")
  c["select"] = qualified(config["select"], "select")
  c["hide"] = dict(qualified(config["hide"], "hide"), of=dict(mask_id="vocabulary"))
  c["let"] = dict(logits=dict(fn="task.read_tokens"))
  recover = config.get("recover") or dict(fn="cross_entropy")
  c["losses"] = dict(masked=dict(qualified(recover, "recover"), of=dict(target="values")))
  plain = asked == 1 and shares == (1.0, 0.0, 0.0)
  return answers(c) if plain else answers(several(c, asked), c["select"])


def several(c, asked):
  """A window is seen several times, each with other tokens hidden, of which some are asked."""
  views = math.ceil(asked)
  c = dict(c)
  c["select"] = dict(
    fn="select.again", times=views, select=c["select"], of=dict(allowed="batch.valid")
  )
  c["let"]["source"] = dict(fn="task.repeated", times=views)
  draws = dict(fn="maskjax.keys:of_views", views=views)
  c["let"]["hide_keys"] = dict(draws, stream="hide")
  c["hide"]["of"]["keys"] = "hide_keys"
  if asked != views:
    c["let"]["ask_keys"] = dict(draws, stream="ask")
    c["let"]["lots"] = dict(fn="score.white", of=dict(keys="ask_keys"))
    some = dict(fn="select.top", ratio=asked / views)
    c["let"]["asked"] = dict(some, of=dict(scores="lots", allowed="hidden"))
  return c


def answers(c, select=None):
  """A mask token in the place of what is hidden, whatever the loss shows there, in one view.

  With a selection, the first of several views.
  """
  token = dict(fn="hide.token", of=dict(ids="values", hidden="hidden", mask_id="vocabulary"))
  one = {"hide.0": token} if select is None else {"hide.0": token, "source": "batch"}
  c["branches"] = dict(told=one, whole=dict(one, hidden="nothing"))
  c["let"]["tokens"] = dict(fn="task.read_tokens", features=True)
  seen = "told"
  if select is not None:
    c["branches"]["first"], seen = dict(one, hidden=select), "first"
  views = dict(tokens=f"{seen}.values", hidden=f"{seen}.hidden", logits=f"{seen}.logits")
  whole = dict(tokens="whole.tokens", valid="whole.allowed")
  c["answers"] = dict(
    infill=dict(value="told.logits", takes=("hidden",)),
    features=dict(fn="task.text_features", of=whole, takes=()),
    views=dict(fn="task.text_views", of=views, takes=("key",)),
  )
  return c
