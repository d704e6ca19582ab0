"""causal_lm, mas_attention and maskllm as graphs."""

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `next_token`."""
  c = without(config, "recover", "generate")
  c["task"] = dict(fn="masked")
  c["over"], c["hide"] = dict(fn="over.tokens"), ()
  c["model"] = qualified(config["model"], "model")
  of = dict(begin="vocabulary")
  c["let"] = dict(asked=dict(fn="task.asked_of", of=dict(batch="source")))
  if config.get("hide"):
    c["let"]["pairs"] = qualified(config["hide"], "hide")
    of["pairs"] = "pairs"
  read = dict(fn="task.read_from_left", of=of)
  c["let"]["told"] = read
  recover = qualified(config["recover"], "recover")
  c["losses"] = dict(next=dict(recover, of=dict(logits="told.out", target="values")))
  of = dict(logits="told.out", target="values")
  views = dict(tokens="values", hidden="asked", logits="told.out")
  c["answers"] = dict(
    nats=dict(fn="task.text_nats", of=of, takes=("key",)),
    views=dict(fn="task.text_views", of=views, takes=("key",)),
  )
  return c
