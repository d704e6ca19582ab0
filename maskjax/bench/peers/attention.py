"""PyTorch's own attention."""


def sdpa(size):
  """`scaled_dot_product_attention` forward and backward, from and to tokens before heads."""
  import torch

  shape = size["batch"], size["tokens"], size["heads"], size["width"]
  q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
  gradient = torch.randn(shape)

  def run():
    q.grad = k.grad = v.grad = None
    turned = (x.transpose(1, 2) for x in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(*turned)
    out.transpose(1, 2).backward(gradient)

  return {"run": run, "times": size["times"]}
