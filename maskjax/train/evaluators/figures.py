"""What the variables of a run say of themselves: how far learned masks have come, say."""

from typing import Any

import jax

from maskjax.task.answers import needs


@needs(fields=("figures",))
def figures(context: Any) -> dict[str, float]:
  """The task's own figures of its variables, at the step that they were trained to."""
  found = jax.jit(context.task.figures)(context.variables, context.step)
  return {name: float(value) for name, value in context.mesh.get(found).items()}
