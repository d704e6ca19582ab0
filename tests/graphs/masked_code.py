"""mage as a graph: its tokenizer is a frozen network."""

from graphs.sections import qualified, without

OLD = ("recover", "contrast", "tokenizer", "drop", "select", "generate")


def graph(config):
  """The sections of the masked task for a config of `masked_code`."""
  task, contrast = config["task"], config.get("contrast")
  c = without(config, *OLD)
  c["task"], c["over"] = dict(fn="masked"), dict(fn="over.codes")
  codes = config["tokenizer"]["codes"]
  c["model"] = dict(
    tokenizer=dict(qualified(config["tokenizer"], "model"), frozen=True),
    network=dict(qualified(config["model"], "model"), codes=codes),
  )
  c["score"] = qualified(config["score"], "score")
  select = dict(qualified(config["select"], "select"), stream="mask")
  token = dict(fn="hide.token", mask_id=codes)
  told = lambda method, **of: dict(fn="task.call", of=dict(network="network", **of), method=method)
  label, dropped = {}, "nothing"
  c["let"], c["hide"] = dict(source=dict(fn="task.codes"), hidden=select), token
  if config.get("drop"):
    drop = dict(qualified(config["drop"], "select"), stream="mask")
    both = dict(fn="select.union", of=dict(a="chosen", b="dropped"))
    c["let"] |= dict(chosen=select, dropped=drop, hidden=both)
    c["hide"] = (token, dict(fn="hide.drop", mask="dropped", keep=task.get("keep")))
    dropped = "dropped"
  if config["model"]["conditional"]:
    of = dict(label="batch.label")
    c["let"]["label"] = dict(fn="hide.drop_label", of=of, ratio=task["unlabelled"])
    label = dict(label="label")
  c["let"] |= dict(
    encoded=told("look", seen="seen", **label),
    logits=told("recover", encoded="encoded", hidden="hidden", dropped=dropped),
  )
  of = dict(target="values", asked="hidden")
  c["losses"] = dict(masked=dict(qualified(config["recover"], "recover"), of=of))
  paint = lambda x: dict(fn="task.call", of=dict(network="tokenizer", tokens=x), method="decode")
  c["let"] |= dict(
    seen_image=dict(fn="task.shown", of=dict(image="batch.image")),
    best=dict(fn="task.likeliest"),
    coded=paint("values"),
    painted=paint("best"),
  )
  shown = dict(input="batch.image", seen="seen_image", coded="coded", prediction="painted")
  c["answers"] = dict(
    features=told("encode", tokens="values", hidden="hidden"),
    views=dict(fn="task.together", of=shown),
  )
  if contrast:
    c["branches"] = dict(other=dict(draws=("score",)))
    c["let"]["vector"] = told("contrasted", encoded="encoded", dropped=dropped)
    of = dict(a="vector", b="other.vector")
    c["losses"]["contrast"] = dict(qualified(contrast, "recover"), of=of, scale=task["contrasting"])
  return c
