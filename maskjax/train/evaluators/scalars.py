"""What the variables of a run say of themselves: how far learned masks have come, say."""

from typing import Any

import jax

from maskjax.task.answers import needs


@needs(fields=("scalars",))
def scalars(context: Any) -> dict[str, float]:
  """The task's own scalars of its variables, at the step that they were trained to."""
  found = jax.jit(context.task.scalars)(context.variables, context.step)
  return {name: float(value) for name, value in context.mesh.get(found).items()}
