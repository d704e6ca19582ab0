"""Evaluators of weights during and after a run, the protocol of each in its docstring.

An evaluator is a function `(context, *, ...) -> {name: number}`, see `context.Context`; it declares
what it needs of a run by `maskjax.task.answers.needs`. Any function that does so is one: a config
names it as `fn="package.module:name"`.
"""

from maskjax.train.evaluators.accuracy import accuracy
from maskjax.train.evaluators.ahead import ahead
from maskjax.train.evaluators.bits import bits
from maskjax.train.evaluators.figures import figures
from maskjax.train.evaluators.finetune import finetune
from maskjax.train.evaluators.foresight import foresight
from maskjax.train.evaluators.frechet import frechet
from maskjax.train.evaluators.imputation import imputation
from maskjax.train.evaluators.infilling import infilling
from maskjax.train.evaluators.knn import knn
from maskjax.train.evaluators.latent import latent
from maskjax.train.evaluators.linear import fewlabel, linear
from maskjax.train.evaluators.links import links
from maskjax.train.evaluators.modalities import modalities
from maskjax.train.evaluators.motion import motion
from maskjax.train.evaluators.recovery import recovery
from maskjax.train.evaluators.samples import samples
from maskjax.train.evaluators.selected import selected
from maskjax.train.evaluators.separation import separation
from maskjax.train.evaluators.sparsity import sparsity
from maskjax.train.evaluators.zero_shot import zero_shot
from maskjax.view.reconstruction import reconstruction

__all__ = [
  "accuracy",
  "ahead",
  "bits",
  "fewlabel",
  "figures",
  "finetune",
  "foresight",
  "frechet",
  "imputation",
  "infilling",
  "knn",
  "latent",
  "linear",
  "links",
  "modalities",
  "motion",
  "reconstruction",
  "recovery",
  "samples",
  "selected",
  "separation",
  "sparsity",
  "zero_shot",
]
