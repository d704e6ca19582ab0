"""Autoencoding: latents from which whole examples come back, for tasks that work on latents."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Key

from maskjax import reduce
from maskjax.errors import BadInput
from maskjax.keys import keys, stream
from maskjax.record import Record
from maskjax.recover import patchify
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables, network_of

KINDS = ("image", "video")


def autoencode(
  *,
  record: Record,
  model: Callable[..., Any],
  recover: Callable[..., Term],
  divergence: float = 1e-6,
) -> Task:
  """Asks a variational autoencoder for every pixel, from one draw of each latent.

  Terms: "recover", of all pixels, and with the weight `divergence` "divergence", the nats by which
  a latent's Gaussian departs from N(0, 1), both averaged over what there is of them. Views: "input"
  and "prediction", from the means of the latents.

  Raises:
    BadInput: data of another kind.

  Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, equation 10.
  """
  if record.kind not in KINDS:
    raise BadInput(f"autoencode takes images and videos, the data set holds {record.kind}")
  network = network_of(model, record)
  pixels = lambda examples: patchify(examples, (1,) * (len(record.shape) - 1))

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return dict(network.init(stream(key, "init"), batch[record.kind]))

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    examples = batch[record.kind]
    posterior = network.apply(variables, examples, method="encode")
    latents = posterior.sample(keys(stream(key, "latent", step), batch["position"]))
    prediction = pixels(network.apply(variables, latents, method="decode"))
    asked = jnp.ones(prediction.shape[:-1], bool)
    nats = posterior.divergence()
    terms = {"recover": recover(prediction, pixels(examples), asked)}
    terms["divergence"] = reduce.term(nats, jnp.ones(nats.shape, bool))
    return terms, Aux()

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    return {"input": batch[record.kind], "prediction": network.apply(variables, batch[record.kind])}

  weights = {"divergence": divergence}
  return Task(init, loss, weights, network, answers=offered(views=views))
