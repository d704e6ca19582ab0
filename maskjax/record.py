"""What a data set says of itself; models, losses and pictures take sizes and classes from here."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Record:
  """The facts about a data set that the rest of a run follows.

  Attributes:
    kind: what an example is, the name of one of `maskjax.data.kinds`, or "mypackage.module:name".
    shape: shape of one example as the model gets it, for images (height, width, channels), for
      videos (frames, height, width, channels), for the row of a table (columns, 1), for a graph
      (nodes, features of each), for a mixture that of what is asked for, (sources, samples).
    sizes: number of examples by split, after bad files were left out.
    class_names: names of the classes in label order; empty without labels.
    mean: mean of each channel over the training split, in units of the stored range mapped to
      [0, 1] (of a series: in the units of its file).
    std: deviation of each channel, likewise, never zero.
    vocabulary: what each token id of a text stands for, in order of id; see `data.tokens`.
    caption: how many tokens of `vocabulary` describe an image, -1 behind the last; 0 for none.
    rate: samples a second of audio, mixtures, and of that which an image is a spectrogram of,
      (time, frequency, 1); 0 for others.
    unit: what a token of text is: "characters", "words" or "bpe"; empty where there is none.
    columns: names of the columns of a table.
    low: smallest value of each column that was there to learn from, in the units of its file: a
      table's 0. Of spectrograms one of about the smallest, which pictures show as dark.
    high: largest, likewise: its 1.
    peak: the stored value of images and videos that stands for 1: 255 or 65535 of integers, 1 of
      floats.
  """

  kind: str
  shape: tuple[int, ...]
  sizes: dict[str, int]
  class_names: tuple[str, ...] = ()
  mean: tuple[float, ...] = ()
  std: tuple[float, ...] = ()
  vocabulary: tuple[str, ...] = ()
  rate: int = 0
  unit: str = ""
  columns: tuple[str, ...] = ()
  low: tuple[float, ...] = ()
  high: tuple[float, ...] = ()
  caption: int = 0
  peak: float = 255.0

  @property
  def classes(self) -> int:
    """Number of classes; 0 without labels."""
    return len(self.class_names)
