"""Linen modules and the weights that were published for them."""

from maskjax.model.masked_autoencoder import MaskedAutoencoder, masked_autoencoder
from maskjax.model.vit import SIZES, ViT

__all__ = ["SIZES", "MaskedAutoencoder", "ViT", "masked_autoencoder"]
