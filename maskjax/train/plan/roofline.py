"""How long a step takes at least: by products, by memory and by links, each at its peak."""

from collections.abc import Sequence
from typing import NamedTuple

from maskjax.train.plan.cost import Collective
from maskjax.train.plan.groups import varying
from maskjax.train.plan.topology import Topology


class Bounds(NamedTuple):
  """Seconds that a step takes at least, were only this the limit."""

  compute: float
  memory: float
  links: float

  @property
  def seconds(self) -> float:
    """The largest of them: everything else may hide behind it."""
    return max(self)

  @property
  def by(self) -> str:
    """Which one that is.

    >>> Bounds(0.2, 0.3, 0.1).by
    'memory'
    """
    return self._fields[self.index(self.seconds)]


def link_seconds(
  collectives: Sequence[Collective], topology: Topology, places: Sequence[Sequence[int]]
) -> float:
  """Seconds that the bytes of all collectives need on the links of the axes that they run along.

  `places` are the chips' coordinates in the order of the mesh. Each collective sends what the ring
  algorithm does, over all links of a chip along these axes at once.
  """
  seconds = 0.0
  for collective in collectives:
    if len(collective.members) > 1:
      links = topology.links(varying(collective.members, places))
      seconds += collective.sent / (links * topology.chip.link)
  return seconds
