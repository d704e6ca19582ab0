"""Evaluators of weights during and after a run, the protocol of each in its docstring.

An evaluator is a function `(context, *, ...) -> {name: number}`, see `context.Context`; it declares
what it needs of a run by `maskjax.task.answers.needs`. Any function that does so is one: a config
names it as `fn="package.module:name"`.
"""

from maskjax.train.evaluators.accuracy import accuracy
from maskjax.train.evaluators.between import between
from maskjax.train.evaluators.bits import bits
from maskjax.train.evaluators.finetune import finetune
from maskjax.train.evaluators.frechet import frechet
from maskjax.train.evaluators.imputation import imputation
from maskjax.train.evaluators.infilling import infilling
from maskjax.train.evaluators.knn import knn
from maskjax.train.evaluators.latent_prediction import latent_prediction
from maskjax.train.evaluators.linear_probe import kshot_probe, linear_probe
from maskjax.train.evaluators.link_prediction import link_prediction
from maskjax.train.evaluators.lookahead import lookahead
from maskjax.train.evaluators.maps import correlation, mean
from maskjax.train.evaluators.masked_reconstruction import masked_reconstruction
from maskjax.train.evaluators.modalities import modalities
from maskjax.train.evaluators.motion import motion
from maskjax.train.evaluators.pruned import pruned_accuracy
from maskjax.train.evaluators.samples import samples
from maskjax.train.evaluators.scalars import scalars
from maskjax.train.evaluators.selected import selected
from maskjax.train.evaluators.separation import separation
from maskjax.train.evaluators.sparsity import sparsity
from maskjax.train.evaluators.zero_shot import zero_shot
from maskjax.view.reconstruction import reconstruction

__all__ = [
  "accuracy",
  "between",
  "bits",
  "correlation",
  "finetune",
  "frechet",
  "imputation",
  "infilling",
  "knn",
  "kshot_probe",
  "latent_prediction",
  "linear_probe",
  "link_prediction",
  "lookahead",
  "masked_reconstruction",
  "mean",
  "modalities",
  "motion",
  "pruned_accuracy",
  "reconstruction",
  "samples",
  "scalars",
  "selected",
  "separation",
  "sparsity",
  "zero_shot",
]
