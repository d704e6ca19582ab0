"""What a run writes and shows: metrics, progress, profile, summaries, comparisons.

The functions here are loggers, see `maskjax.train.log.loggers`: `fn="train.log.tensorboard"`.
"""

from maskjax.train.log.events import tensorboard
from maskjax.train.log.services import mlflow, wandb

__all__ = ["mlflow", "tensorboard", "wandb"]
