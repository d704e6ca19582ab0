"""multimae as a graph: maps of an image are fitted networks, all modalities lie in one row."""

from graphs.sections import qualified, without

OLD = ("recover", "target", "modalities")


def graph(config):
  """The sections of the masked task for a config of `reconstruct_modalities`."""
  task, patch = config["task"], config["model"]["patch"]
  made = {name: qualified(spec, "modalities") for name, spec in task["modalities"].items()}
  asks = task.get("asks") or {name: {} for name in ("image", *made)}
  of = {name: ask.get("of", name) for name, ask in asks.items()}
  labels = {name: spec["colors"] for name, spec in made.items() if "colors" in spec}
  examples = {"examples": task["examples"]} if "examples" in task else {}
  c = without(config, *OLD)
  c["task"] = dict(fn="masked")
  c["model"] = {
    name: dict(fn="model.image_map", modality=spec, frozen=True, **examples)
    for name, spec in made.items()
  }
  c["model"]["network"] = dict(qualified(config["model"], "model"), asks=of)
  parts = dict(image=dict(fn="over.patches", patch=patch))
  for name, spec in made.items():
    sides = tuple(side // spec.get("stride", 1) for side in patch)
    parts[name] = dict(fn="over.patches", patch=sides, field=name)
    if name in labels:
      parts[name] |= dict(fn="over.labels", classes=labels[name])
  c["over"] = dict(fn="over.row", parts=parts, order=("image", *made))
  c["score"], c["select"] = (qualified(config[name], name) for name in ("score", "select"))
  if config["score"]["fn"] == "split":
    c["score"]["of"] = dict(keep="kept")
  told = lambda method, **of: dict(fn="task.call", of=dict(network="network", **of), method=method)
  c["hide"] = dict(fn="hide.drop", place="embedded")
  c["let"] = dict(
    source=dict(fn="task.maps", of={name: name for name in made}),
    sizes=dict(fn="over.sizes"),
    kept=dict(fn="task.kept", ratio=config["select"]["ratio"]),
    embedding=told("tokens", patches="values", hidden="hidden"),
    encoded=told("attend", seen="seen"),
    predictions=told("decode", encoded="encoded", seen="seen", hidden="hidden"),
  )
  for name in parts:
    c["let"][f"gone_{name}"] = dict(fn="over.part", of=dict(x="hidden"), name=name)
  only = lambda x: dict(fn="over.only", of=dict(x=x), names=task.get("features", ("image",)))
  c["let"] |= dict(shown=only("values"), there=only("not_hidden"))
  c["let"]["not_hidden"] = dict(fn="select.complement", of=dict(hidden="hidden"))
  c["answers"] = dict(features=told("encode", patches="shown", valid="there"))
  c["losses"] = {name: loss(config, name, ask, labels) for name, ask in asks.items()}
  for name in asks:
    if of[name] not in labels:
      target = dict(config["target"], **asks[name].get("target", {}))
      c["let"][f"target_{name}"] = dict(
        fn="task.encode", of=dict(x=f"values.{of[name]}"), target=qualified(target, "recover")
      )
  return c


def loss(config, name, ask, labels):
  """What one decoder is asked."""
  of = ask.get("of", name)
  own = dict(fn="recover.patch_cross_entropy") if of in labels else config["recover"]
  if "recover" in ask:
    own = dict(fn=ask["recover"])
  target = f"values.{of}" if of in labels else f"target_{name}"
  values = dict(prediction=f"predictions.{name}", target=target, asked=f"gone_{of}")
  own = own if "." in own["fn"] else qualified(own, "recover")
  return dict(fn="recover.per_example", loss=own, of=values)


def variables(old):
  """What the maps know lies among what is fitted."""
  return without(old, "modalities") | dict(fitted=old["modalities"])
