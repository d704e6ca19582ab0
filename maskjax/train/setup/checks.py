"""What of a run can be refused before anything is trained."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from maskjax.errors import BadInput, unknown
from maskjax.train.checkpoints.checkpoint import check_kept
from maskjax.train.evaluators.evaluation import on
from maskjax.train.log.loggers import bind_loggers
from maskjax.train.pod.member import me
from maskjax.train.setup.build import IDENTITY, LENGTHS, Parts
from maskjax.train.setup.initial import excepted
from maskjax.train.stopping import rule
from maskjax.train.workdirs.workdir import changed, check_config

log = logging.getLogger("maskjax")


def check_identity(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Refuses a config whose identity is not that of the run in `workdir`.

  Where the data and the words for their classes lie may change, what they are evaluated on, whether
  changed ones are accepted, and the end of a run whose rate is constant.
  """
  fields = [name for name in IDENTITY if name != "total"]
  steady = config["optimizer"].get("schedule", "cosine") == "constant"
  fields += [] if steady else list(LENGTHS)
  free = ("data.path", "data.class_names", "data.test", "data.changed")
  check_config(workdir, config, fields, free=free)


def check_data(workdir: pathlib.Path, parts: Parts) -> None:
  """Refuses to go on with other data than those of the first launch of the run in `workdir`.

  With `data.changed="accept"` what is otherwise is logged: steps, rates, statistics and vocabulary
  stay those of the first launch, whose record is kept.

  Raises:
    BadInput: the first difference is shown.
  """
  told = changed(workdir, parts.data.found)
  if told and parts.config["data"].get("changed") != "accept":
    raise BadInput(
      f"the data of the run in {workdir} have changed: {told[0]}; data.changed='accept' goes on "
      f"with them, init_from={str(workdir)!r} begins a new run from its weights"
    )
  if told and me().first:
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    log.warning("%s goes on with other data: %s%s", workdir, "; ".join(told[:5]), more)


def check(parts: Parts, workdir: pathlib.Path) -> None:
  """Refuses what cannot work in a workdir, as far as it can be known before its stages are trained.

  Raises:
    BadInput: other data there, a stopping rule, checkpoint section or `init_except` that is wrong.
  """
  check_data(workdir, parts)
  rule(parts.config)
  check_saving(parts.config)
  excepted(parts.config, parts.state.variables, parts.task)


def check_saving(config: Mapping[str, Any]) -> None:
  """Refuses intervals that are none, loggers that are none, and a best checkpoint by no metric."""
  bind_loggers(config)
  section = config.get("checkpoint", {})
  check_kept(**{k: v for k, v in section.items() if k in ("keep", "keep_every", "best_mode")})
  if (every := section.get("every", 0)) < 0:
    raise BadInput(f"checkpoint.every is 0, for the end only, or more, got {every}")
  best = section.get("best", "")
  scalars = [f"eval/{name}/" for name, chosen in config.get("evals", {}).items() if on(chosen)]
  if best and not best.startswith(tuple(scalars)):
    raise unknown("metric for checkpoint.best", best, [f"{metric}…" for metric in scalars])
