"""The tokenizer of mage as a graph."""

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `tokenize`."""
  c = without(config, "recover")
  c["task"], c["over"] = dict(fn="masked"), dict(fn="over.pixels")
  c["model"] = dict(tokenizer=qualified(config["model"], "model"))
  fixed = lambda x: dict(fn="task.stop_gradient", of=dict(x=x))
  c["let"] = dict(
    quantised=dict(fn="task.apply", of=dict(network="tokenizer", x="batch.image")),
    prediction=dict(fn="task.at_positions", of=dict(x="quantised.image")),
    fixed_codes=fixed("quantised.codes"),
    fixed_latents=fixed("quantised.latents"),
    each_code=dict(fn="task.everywhere", of=dict(x="quantised.codes")),
  )
  of = dict(target="values", asked="visible")
  near = lambda x, y: dict(
    fn="recover.squared_error", of=dict(prediction=x, target=y, asked="each_code")
  )
  c["losses"] = dict(
    recover=dict(qualified(config["recover"], "recover"), of=of),
    codes=near("quantised.codes", "fixed_latents"),
    latents=dict(
      near("quantised.latents", "fixed_codes"), scale=config["task"].get("commitment", 0.25)
    ),
  )
  shown = dict(input="batch.image", prediction="quantised.image")
  c["answers"] = dict(views=dict(fn="task.together", of=shown))
  return c
