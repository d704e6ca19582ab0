"""Layer masking beside its authors' code: masked answers, loss, gradient by weights, parameters.

The code is github.com/SriramB-98/layer_masking at a2610a5, narrow as make_layer_masking.py has it,
with bottlenecks, as its basic blocks fail on masks. Nothing is trained for this method: there is no
step to compare. Its means of neighbours add 1e-5 to their number, in every ring of every layer.
Run: python tests/golden/beside_layer_masking.py CHECKOUT
"""

import sys

import beside
import make_layer_masking as made
import numpy as np
import torch

SHAPE, BATCH, ROOM = (54, 42), 4, 1e-3


def main(folder):
  """Runs both."""
  parts = dict(torchvision={}, torchvision__utils={"_log_api_usage_once": lambda module: None})
  with beside.standing_in(folder, **parts):
    import sal_resnet
  torch.manual_seed(11)
  model = made.narrow(sal_resnet, sal_resnet.Bottleneck, made.BLOCKS["bottleneck"]).eval()
  with torch.no_grad():
    made.draw(torch, model)
  images, hidden = torch.randn(BATCH, 3, *SHAPE), torch.zeros(BATCH, *SHAPE, dtype=torch.bool)
  hidden[0, ::2, ::3] = True
  hidden[1, 5:40, 3:30] = True
  hidden[2] = torch.rand(SHAPE) < 0.7
  hidden[3, :, 20:] = True
  labels = torch.arange(BATCH) % made.CLASSES
  answer = lambda hidden: model((images, (~hidden[:, None]).float(), [100, 100]))
  logits = answer(hidden)
  loss = torch.nn.functional.cross_entropy(logits, labels)
  loss.backward()
  slopes = {n: p.grad for n, p in model.named_parameters()}
  with torch.device("meta"):
    full = sum(p.numel() for p in sal_resnet.resnet50().parameters())

  import jax
  import jax.numpy as jnp

  from maskjax import lab
  from maskjax.model import resnet

  whole = resnet(
    record_shape=(*SHAPE, 3), classes=made.CLASSES, depth=50, width=made.WIDTH, stem="imagenet",
    carry=lab.read("layer_masking").model.carry,
  )  # fmt: skip
  network = whole.clone(encoder=whole.encoder.clone(stages=made.BLOCKS["bottleneck"]))
  shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *SHAPE, 3)))
  blank = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
  read = lambda tensors: beside.published(blank, tensors, layout="torchvision")

  variables = read({k: v for k, v in model.state_dict().items() if v.ndim})

  def cost(params):
    given = images.permute(0, 2, 3, 1).numpy(), hidden.numpy()
    out = network.apply({**variables, "params": params}, *given)
    return -jax.nn.log_softmax(out)[np.arange(BATCH), labels.numpy()].mean(), out

  (nats, out), grads = jax.jit(jax.value_and_grad(cost, has_aux=True))(variables["params"])
  flat = {str(i): g for i, g in enumerate(jax.tree.leaves(grads))}
  apart = beside.far(grads, read(slopes)["params"])
  count = lab.note("layer_masking")["scale"]["parameters"]
  beside.row(
    "layer_masking",
    "SriramB-98/layer_masking@a2610a5",
    [
      ("masked answers", beside.far(np.asarray(out), logits), ROOM),
      ("loss", beside.far(float(nats), loss.item()), ROOM),
      ("gradient norm", abs(beside.norm(flat) / beside.norm(slopes) - 1), ROOM),
      ("gradient", apart, ROOM),
      ("parameters", abs(full - count), beside.EXACT),
    ],
    "no step: nothing is trained",
  )


if __name__ == "__main__":
  main(sys.argv[1])
