"""ijepa and n_jepa as graphs."""

from graphs.reconstruct import ENCODER
from graphs.reconstruct import variables as variables  # a teacher lies under its name
from graphs.sections import qualified, without

PREDICTOR = ("width", "depth", "heads")


def graph(config):
  """The sections of the masked task for a config of `predict_latent`."""
  model, task = config["model"], config["task"]
  c = without(config, "recover", "target", "teacher")
  c["task"] = dict(fn="masked")
  c["over"] = dict(fn="over.patches", patch=model["patch"])
  encoder = {name: model[name] for name in ENCODER if model.get(name) is not None}
  predictor = {k: model[f"predictor_{k}"] for k in PREDICTOR if model[f"predictor_{k}"]}
  c["model"] = dict(
    encoder=dict(fn="model.vit", class_token=False, **encoder),
    predictor=dict(fn="model.predictor", **predictor),
  )
  for name in ("score", "select"):
    c[name] = qualified(config[name], name)
  c["hide"] = dict(fn="hide.drop", keep=task["keep"])
  c["teachers"] = dict(teacher=qualified(config["teacher"], "task"))
  taught = dict(encoder="teacher.encoder")
  c["branches"] = dict(whole=dict(taught, hidden="nothing"), taught=taught)
  c["answers"] = dict(features=dict(fn="task.features", of=dict(out="taught.out")))
  where = dict(fn="task.call", of=dict(network="predictor", index="blocks.index"), method="locate")
  target = qualified(config["target"], "recover")
  seen = dict(tokens="out.tokens", index="out.index", seen="out.valid")
  c["let"] = dict(
    blocks=dict(fn="task.places", of=dict(asked="selected.asked"), count=task["ask"]),
    where=where,
    predicted=dict(
      fn="task.call",
      of=dict(network="predictor", where="where", valid="blocks.valid", **seen),
      method="attend",
    ),
    target=dict(fn="task.encode", of=dict(x="whole.out.tokens"), target=target),
    wanted=dict(fn="task.at", of=dict(x="target", index="blocks.index")),
  )
  if config.get("hide"):
    of = dict(x="located", hidden="blocks.valid", keys="view_keys")
    c["let"] |= dict(
      located=where,
      view_keys=dict(fn="task.view_keys", of=dict(index="blocks.index"), stream="hide"),
      where=dict(qualified(config["hide"], "hide"), of=of),
    )
  of = dict(prediction="predicted", target="wanted", asked="blocks.valid")
  c["losses"] = dict(recover=dict(qualified(config["recover"], "recover"), of=of))
  return c
