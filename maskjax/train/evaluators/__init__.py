"""Evaluators of frozen and fine-tuned features, the protocol of each in its docstring."""

from maskjax.train.evaluators.finetune import finetune
from maskjax.train.evaluators.knn import knn
from maskjax.train.evaluators.linear import fewlabel, linear
from maskjax.train.evaluators.recovery import recovery
from maskjax.view.reconstruction import reconstruction

__all__ = ["fewlabel", "finetune", "knn", "linear", "reconstruction", "recovery"]
