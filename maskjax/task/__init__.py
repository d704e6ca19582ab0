"""Tasks: compositions that hold the grammar's words together; few of them serve all methods."""

from maskjax.task.autoencode import autoencode
from maskjax.task.classify import classify
from maskjax.task.contrast import contrast
from maskjax.task.diffuse import diffuse
from maskjax.task.masked import masked
from maskjax.task.masked_code import masked_code
from maskjax.task.masked_token import masked_token
from maskjax.task.next_token import next_token
from maskjax.task.predict_latent import predict_latent
from maskjax.task.reconstruct import reconstruct
from maskjax.task.reconstruct_edges import reconstruct_edges
from maskjax.task.reconstruct_modalities import reconstruct_modalities
from maskjax.task.separate import separate
from maskjax.task.teacher import ema
from maskjax.task.tokenize import tokenize
from maskjax.task.values import apply, latents, reward

__all__ = [
  "apply",
  "autoencode",
  "classify",
  "contrast",
  "diffuse",
  "ema",
  "latents",
  "masked",
  "masked_code",
  "masked_token",
  "next_token",
  "predict_latent",
  "reconstruct",
  "reconstruct_edges",
  "reconstruct_modalities",
  "reward",
  "separate",
  "tokenize",
]
