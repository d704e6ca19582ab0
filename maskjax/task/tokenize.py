"""Tokenizing: images are brought back from the codes of a learned codebook."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from maskjax.errors import BadInput
from maskjax.keys import stream
from maskjax.record import Record
from maskjax.recover import squared_error
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables, network_of

NAME = "tokenizer"  # of the tokenizer among parameters, here and where it is frozen


def tokenize(
  *,
  record: Record,
  model: Callable[..., Any],
  recover: Callable[..., Term] = squared_error,
  commitment: float = 0.25,
) -> Task:
  r"""Learns a tokenizer: $\ell(\hat x, x) + \lVert \mathrm{sg}(z) - e \rVert^2 + \beta \lVert z -
  \mathrm{sg}(e) \rVert^2$, z an image's latents and e their codes.

  Terms: "recover", of all rows of pixels; "codes" and, of weight `commitment`, "latents", means
  over the numbers of a code. Views: "input" and "prediction". `sample` gives a batch's own images
  through the codebook.

  Source: van den Oord et al., "Neural Discrete Representation Learning", 2017, equation 3.

  Raises:
    BadInput: the data are no images.
  """
  if record.kind != "image":
    raise BadInput(f"tokenize takes images, the data set holds {record.kind}")
  network = network_of(model, record)

  def apply(variables: Variables, batch: Batch) -> Any:
    return network.apply({"params": variables["params"][NAME]}, batch["image"])

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    return {"params": {NAME: network.init(stream(key, "init"), batch["image"])["params"]}}

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    image, made = batch["image"], apply(variables, batch)
    pixels = lambda x: x.reshape(len(x), -1, x.shape[-1])
    every = lambda x: jnp.ones(x.shape[:2], jnp.bool_)
    fixed = jax.lax.stop_gradient
    terms = {
      "recover": recover(pixels(made.image), pixels(image), every(pixels(image))),
      "codes": squared_error(made.codes, fixed(made.latents), every(made.codes)),
      "latents": squared_error(made.latents, fixed(made.codes), every(made.codes)),
    }
    return terms, Aux()

  def views(variables: Variables, batch: Batch, key: Key[Array, ""]) -> Mapping[str, Array]:
    return {"input": batch["image"], "prediction": apply(variables, batch).image}

  def sample(variables: Variables, keys: Key[Array, "b"], batch: Batch) -> Mapping[str, Array]:
    made = apply(variables, batch)
    return {"image": made.image, "tokens": made.tokens}

  weights = {"latents": commitment}
  return Task(init, loss, weights, network, answers=offered(views=views, sample=sample))
