"""md4 as a graph."""

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `diffuse`."""
  c = without(config, "recover", "schedule", "generate")
  c["task"] = dict(fn="masked")
  c["over"] = dict(fn="over.tokens")
  c["model"] = qualified(config["model"], "model")
  c["score"] = qualified(config["score"], "score")
  c["select"] = dict(qualified(config["select"], "select"), of=dict(count="count"))
  c["hide"] = dict(fn="hide.token", of=dict(mask_id="vocabulary"))
  eps = config["task"].get("eps", 1e-4)
  c["let"] = dict(
    curve=dict(qualified(config["schedule"], "schedule"), start=1.0, end=0.0),
    times=dict(fn="score.antithetic", stream="time"),
    level=dict(fn="recover.noise_level", eps=eps, of=dict(schedule="curve")),
    coins=dict(fn="score.white", stream="count"),
    lots=dict(fn="select.threshold", of=dict(scores="coins", above="level.alpha")),
    count=dict(fn="maskjax.reduce:count", axis=-1, of=dict(where="lots")),
    logits=dict(fn="task.read_tokens"),
  )
  of = dict(target="values", weight="level.weight", valid="allowed")
  c["losses"] = dict(bound=dict(qualified(config["recover"], "recover"), of=of))
  c["answers"] = dict(infill=dict(value="logits", takes=("hidden",)))
  return c
