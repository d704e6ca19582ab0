"""conv_tasnet as a graph."""

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `separate`."""
  c = without(config, "recover")
  c["task"], c["over"] = dict(fn="masked"), dict(fn="over.samples")
  c["model"] = qualified(config["model"], "model")
  call = lambda x, method: dict(fn="task.apply", of=dict(network="network", x=x), method=method)
  # What stands at every time and filter, the same for each source.
  c["let"] = dict(
    content=call("batch.mixture", "encode"),
    values=dict(fn="task.per_view", of=dict(x="content")),
    estimates=dict(
      fn="task.decoded_signal", of=dict(content="seen.values", signal="batch.mixture")
    ),
    heard=dict(fn="recover.not_silent", of=dict(sources="batch.sources")),
    serving=dict(fn="recover.serving", of=dict(sources="batch.sources")),
  )
  c["score"] = call("content", "scores")
  c["select"] = qualified(config["select"], "select")
  c["hide"] = dict(fn="hide.gate")
  of = dict(sources="batch.sources", asked="heard")
  c["losses"] = dict(sources=dict(qualified(config["recover"], "recover"), of=of))
  c["answers"] = dict(views=dict(fn="task.separated_views", of=dict(gate="hidden")))
  return c
