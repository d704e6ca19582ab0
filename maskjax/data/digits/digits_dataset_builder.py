"""TFDS builder of the 1,797 digits of 8x8 pixels that scikit-learn carries."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

_TEST = 360


class Builder(tfds.core.GeneratorBasedBuilder):
  """Images 8x8x1, the stored 0 to 16 scaled to 0 to 255; 1,437 for training, 360 for testing."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> Any:
    return self.dataset_info_from_configs(
      description="The test part of Optical Recognition of Handwritten Digits.",
      homepage="https://archive.ics.uci.edu/dataset/80",
      citation="Alpaydin and Kaynak, 1998. UCI Machine Learning Repository.",
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
          "label": tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=("image", "label"),
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    test = held_out(digits.target)
    return {
      "train": self._generate_examples(digits, np.flatnonzero(~test)),
      "test": self._generate_examples(digits, np.flatnonzero(test)),
    }

  def _generate_examples(self, digits: Any, indices: np.ndarray) -> Iterator[tuple[int, dict]]:
    for i in indices.tolist():
      pixels = np.rint(digits.images[i] * (255 / 16)).astype(np.uint8)
      file = io.BytesIO()
      Image.fromarray(pixels).save(file, "PNG")
      yield i, {"image": file.getvalue(), "label": int(digits.target[i])}


def held_out(labels: np.ndarray) -> np.ndarray:
  """Marks 360 examples, as equal a share of each class as whole numbers allow, evenly spaced in it.

  Plain arithmetic, so that the split never changes with a library's random numbers.
  """
  rank = np.empty(len(labels), np.int64)
  rank[np.argsort(labels, kind="stable")] = np.arange(len(labels))
  return (rank + 1) * _TEST // len(labels) > rank * _TEST // len(labels)
