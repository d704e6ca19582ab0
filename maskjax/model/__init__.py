"""Linen modules and the weights that were published for them."""

from maskjax.model.classifier import ViTClassifier, vit_classifier
from maskjax.model.dual_encoder import DualEncoder, dual_encoder
from maskjax.model.graph import GraphAutoencoder, graph_autoencoder
from maskjax.model.masked_autoencoder import MaskedAutoencoder, masked_autoencoder
from maskjax.model.resnet import ResNetClassifier, resnet
from maskjax.model.sampler import Sampler
from maskjax.model.text import TextTransformer, text_transformer
from maskjax.model.vit import SIZES, ViT

__all__ = [
  "SIZES",
  "DualEncoder",
  "GraphAutoencoder",
  "MaskedAutoencoder",
  "ResNetClassifier",
  "Sampler",
  "TextTransformer",
  "ViT",
  "ViTClassifier",
  "dual_encoder",
  "graph_autoencoder",
  "masked_autoencoder",
  "resnet",
  "text_transformer",
  "vit_classifier",
]
