"""The autoencoder of lmd as a graph."""

from graphs.sections import qualified, without


def graph(config):
  """The sections of the masked task for a config of `autoencode`."""
  c = without(config, "recover")
  c["task"], c["over"] = dict(fn="masked"), dict(fn="over.pixels")
  c["model"] = qualified(config["model"], "model")
  call = lambda x, method: dict(fn="task.apply", of=dict(network="network", x=x), method=method)
  c["let"] = dict(
    posterior=call("batch.image", "encode"),
    latent=dict(fn="task.sampled"),
    decoded=call("latent", "decode"),
    prediction=dict(fn="task.at_positions", of=dict(x="decoded")),
  )
  of = dict(target="values", asked="visible")
  nats = dict(mean="posterior.mean", log_variance="posterior.log_variance")
  c["losses"] = dict(
    recover=dict(qualified(config["recover"], "recover"), of=of),
    divergence=dict(
      fn="recover.kl_divergence", of=nats, scale=config["task"].get("divergence", 1e-6)
    ),
  )
  c["branches"] = dict(mean=dict(latent="posterior.mean"))
  shown = dict(input="batch.image", prediction="mean.decoded")
  c["answers"] = dict(views=dict(fn="task.together", of=shown))
  return c
