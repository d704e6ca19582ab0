"""What of a run works, but hardly as it was meant: said once, at its start and by `--check`."""

from collections.abc import Iterator

from maskjax.train.setup.build import Parts

FEW_STEPS, FEW_TESTED = 50, 30


def remarks(parts: Parts) -> Iterator[str]:
  """Lines on a run of few steps, and on a batch or a labelled test split that its data are few for.

  >>> from types import SimpleNamespace as Some
  >>> record = Some(sizes=dict(train=80, test=9), classes=2)
  >>> config, data = dict(batch_size=256, total_epochs=8.0), Some(record=record, test="test")
  >>> parts = Some(config={**config, "data": {}}, data=data, total_steps=2)
  >>> print(*remarks(parts), sep="\\n")
  a batch of 256 holds examples several times, 'train' has 80: set a smaller batch_size
  only 2 steps in 8 epochs: set total_epochs=0 and total_steps, or a smaller batch_size
  'test' has 9 examples: figures measured on it are mostly noise
  """
  config, sizes, test = parts.config, parts.data.record.sizes, parts.data.test
  train, batch_size = config["data"].get("train", "train"), config["batch_size"]
  if batch_size > sizes[train]:
    said = f"{train!r} has {sizes[train]:,}: set a smaller batch_size"
    yield f"a batch of {batch_size:,} holds examples several times, {said}"
  if (epochs := config.get("total_epochs")) and parts.total_steps < FEW_STEPS:
    said = "set total_epochs=0 and total_steps, or a smaller batch_size"
    yield f"only {parts.total_steps} steps in {epochs:g} epochs: {said}"
  if parts.data.record.classes and 1 < sizes.get(test, 0) < FEW_TESTED:  # one is a whole graph
    yield f"{test!r} has {sizes[test]} examples: figures measured on it are mostly noise"
