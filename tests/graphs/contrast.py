"""flip as a graph: images and captions."""

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `contrast` on data with captions."""
  c = without(config, "recover")
  c["task"] = dict(fn="masked")
  c["over"] = dict(fn="over.patches", patch=config["model"]["patch"])
  c["model"] = without(qualified(config["model"], "model"), "patch")
  for name in ("score", "select"):
    c[name] = qualified(config[name], name)
  c["hide"] = dict(fn="hide.drop", keep=config["task"].get("keep"))
  told = lambda method, **of: dict(fn="task.call", of=dict(network="network", **of), method=method)
  c["let"] = dict(
    here=told("image", seen="seen"),
    there=told("read", caption="batch.caption"),
    temperature=told("sharpness"),
    present=dict(fn="task.field", name="valid"),
  )
  c["let"]["seen_image"] = dict(fn="task.shown", of=dict(image="batch.image"))
  c["answers"] = dict(
    features=told("encode", patches="values", valid="visible"),
    views=dict(fn="task.together", of=dict(input="batch.image", seen="seen_image")),
  )
  of = dict(a="here", b="there", temperature="temperature", valid="present")
  if config["task"]["equal"]:
    c["let"]["positives"] = dict(fn="recover.equal_rows", of=dict(x="batch.caption"))
    of["positives"] = "positives"
  c["losses"] = dict(recover=dict(qualified(config["recover"], "recover"), of=of))
  return c
