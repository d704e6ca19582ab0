"""Linen modules and the weights that were published for them."""

from maskjax.model.autoencoder import Autoencoder, autoencoder
from maskjax.model.class_head import ClassHead, class_head
from maskjax.model.classifier import ViTClassifier, vit_classifier
from maskjax.model.code_autoencoder import CodeAutoencoder, code_autoencoder
from maskjax.model.conv_net import ConvNet, conv_net, signed_constant
from maskjax.model.conv_stages import ConvStages, conv_stages
from maskjax.model.cross_decoder import CrossAttentionDecoder
from maskjax.model.dual_encoder import DualEncoder, dual_encoder
from maskjax.model.graph import GraphAutoencoder, graph_autoencoder
from maskjax.model.image_map import ImageMap, image_map
from maskjax.model.in_place import (
  InPlaceDecoder,
  LinearHead,
  MaskToken,
  in_place_decoder,
  linear_head,
)
from maskjax.model.latent_predictor import Predictor, predictor
from maskjax.model.masked_decoder import (
  masked_decoder,
)
from maskjax.model.multimodal import MultimodalAutoencoder, multimodal_autoencoder
from maskjax.model.projector import Projector, projector
from maskjax.model.resnet import ResNetClassifier, resnet
from maskjax.model.sampler import Sampler
from maskjax.model.scale_decoder import ScaleDecoder, scale_decoder
from maskjax.model.separator import Separator, separator
from maskjax.model.subset_decoder import SubsetDecoder
from maskjax.model.text import TextTransformer, text_transformer
from maskjax.model.tokenizer import Tokenizer, tokenizer
from maskjax.model.vit import SIZES, ViT, vit
from maskjax.model.white_box import SparseCodingBlock, SparseDecodingBlock, ista_step

__all__ = [
  "SIZES",
  "Autoencoder",
  "ClassHead",
  "CodeAutoencoder",
  "ConvNet",
  "ConvStages",
  "CrossAttentionDecoder",
  "DualEncoder",
  "GraphAutoencoder",
  "ImageMap",
  "InPlaceDecoder",
  "LinearHead",
  "MaskToken",
  "MultimodalAutoencoder",
  "Predictor",
  "Projector",
  "ResNetClassifier",
  "Sampler",
  "ScaleDecoder",
  "Separator",
  "SparseCodingBlock",
  "SparseDecodingBlock",
  "SubsetDecoder",
  "TextTransformer",
  "Tokenizer",
  "ViT",
  "ViTClassifier",
  "autoencoder",
  "class_head",
  "code_autoencoder",
  "conv_net",
  "conv_stages",
  "dual_encoder",
  "graph_autoencoder",
  "image_map",
  "in_place_decoder",
  "ista_step",
  "linear_head",
  "masked_decoder",
  "multimodal_autoencoder",
  "predictor",
  "projector",
  "resnet",
  "scale_decoder",
  "separator",
  "signed_constant",
  "text_transformer",
  "tokenizer",
  "vit",
  "vit_classifier",
]
