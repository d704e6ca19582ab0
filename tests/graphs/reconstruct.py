"""mae, colormae, hpm, adamae, remasker, lmd and audio_mae as graphs."""

from graphs.sections import qualified, without

ENCODER = ("size", "width", "depth", "heads", "class_token", "dtype", "remat", "scan", "norm_eps")
DECODER = {
  "decoder_width": "width", "decoder_depth": "depth", "decoder_heads": "heads", "bounds": "bounds",
  "loss_depth": "loss_depth", "decoder_window": "window", "decoder_shift": "shift",
}  # fmt: skip


def graph(config):
  """The sections of the masked task for a config of `reconstruct`."""
  model, task, recover = config["model"], config["task"], qualified(config["recover"], "recover")
  c = without(config, "recover", "codec", "teach", "teacher")
  c["task"] = dict(fn="masked")
  c["over"] = dict(fn="over.patches", patch=model["patch"])
  encoder = {name: model[name] for name in ENCODER if model.get(name) is not None}
  decoder = {new: model[name] for name, new in DECODER.items() if model.get(name)}
  c["model"] = dict(
    encoder=dict(fn="model.vit", **encoder), decoder=dict(fn="model.masked_decoder", **decoder)
  )
  for name, home in (("score", "score"), ("select", "select"), ("target", "recover")):
    c[name] = qualified(config[name], home)
  c["hide"] = dict(fn="hide.drop", keep=task.get("keep"))
  c["losses"], c["let"] = dict(recover=recover), {}
  if task.get("seen"):
    c["losses"]["seen"] = dict(recover, of=dict(asked="visible"), scale=task["seen"])
  if config.get("teach"):
    teach = qualified(config["teach"], "recover")
    scale = task.get("teaching", 1.0)
    c["losses"]["teach"] = dict(teach, of=dict(asked="hidden"), scale=scale)
    c["let"] |= dict(reward=dict(fn="task.reward", loss=recover), predicted="predicted_loss")
  if config["score"]["fn"].endswith("Sampler"):
    embed = dict(fn="task.apply", of=dict(network="encoder", x="values"), method="embed")
    c["let"]["tokens"] = embed
  if config["score"]["fn"] == "hard_first":
    who = "teacher" if config.get("teacher") else "detached"
    whole = dict(encoder=f"{who}.encoder", decoder=f"{who}.decoder", hidden="nothing")
    c["branches"] = dict(whole=whole)
    c["let"]["loss"] = "whole.predicted_loss"
  if config.get("teacher"):
    c["teachers"] = dict(teacher=qualified(config["teacher"], "task"))
  if config.get("codec"):
    c["model"]["codec"] = dict(qualified(config["codec"], "model"), frozen=True)
    c["let"]["source"] = dict(fn="task.latents")
  return c


def variables(old):
  """A teacher and a codec lie under their names."""
  new = without(old, "teacher", "frozen")
  if "teacher" in old:
    new["teachers"] = dict(teacher=old["teacher"])
  if "frozen" in old:
    new["frozen"] = dict(codec=old["frozen"])
  return new
