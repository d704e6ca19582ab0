"""supervised, fmix, fish_mask, magnitude and layer_masking as graphs."""

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `classify`."""
  c = without(config, "recover", "score", "select", "hide")
  c["task"], c["over"] = dict(fn="masked"), dict(fn="over.pixels")
  c["model"] = qualified(config["model"], "model")
  c["let"] = dict(
    image=dict(fn="task.to_field", of=dict(x="seen.values")),
    logits=dict(fn="task.logits"),
    examples=dict(fn="task.valid_examples"),
  )
  of = dict(target="batch.label", asked="examples")
  carried = dict(fn="task.carried", of=dict(x="batch.image"), takes=("hidden",))
  c["answers"] = dict(predict=carried, features=dict(carried, method="encode"))
  if config.get("hide"):
    c["score"] = qualified(config["score"], "score")
    # Shares that move from example to example have draws of their own.
    c["select"] = dict(qualified(config["select"], "select"), stream="amount")
    c["hide"] = dict(qualified(config["hide"], "hide"), of=dict(other="partner.values"))
    c["branches"] = dict(partner=dict(batch="partners"))
    labels = dict(label="batch.label", other="partners.label", classes="record.classes")
    c["let"]["target"] = dict(fn="recover.mixed_labels", of=labels)
    of["target"] = "target"
    c["answers"]["views"] = dict(fn="task.mixed_views")
  c["losses"] = dict(recover=dict(qualified(config["recover"], "recover"), of=of))
  return c
