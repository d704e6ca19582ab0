"""A process's place in a pod: which of how many, and where the first one listens."""

import dataclasses
import json

from maskjax.errors import BadInput

SECONDS = 300.0  # that a start waits for all processes
LAST_PORT = 65535


@dataclasses.dataclass(frozen=True)
class Place:
  """What a process must know to find the others.

  Attributes:
    coordinator: "host:port" of process 0, where jax's own service listens.
    count: how many processes there are.
    index: which of them this one is.
    devices: the accelerators that are this process's; None for all of its machine.
    port: where the rendezvous is called, on the coordinator's host.
    seconds: how long the start waits for all.
  """

  coordinator: str
  count: int
  index: int
  devices: tuple[int, ...] | None = None
  port: int = 0
  seconds: float = SECONDS

  @property
  def host(self) -> str:
    """The coordinator's host."""
    return self.coordinator.rpartition(":")[0].strip("[]")


def place(
  coordinator: str,
  count: int,
  index: int,
  devices: tuple[int, ...] | None = None,
  *,
  port: int = 0,
  seconds: float = SECONDS,
) -> Place:
  """A place that is possible; the rendezvous's port is the coordinator's next unless given.

  Raises:
    BadInput: a coordinator without a port, a process beyond the number of processes.

  >>> place("node0:1234", 2, 1).port
  1235
  """
  host, colon, text = coordinator.rpartition(":")
  first = int(text) if text.isdecimal() else 0
  if not colon or not host.strip("[]") or not 0 < first <= LAST_PORT:
    raise BadInput(f"the coordinator is HOST:PORT, got {coordinator!r}")
  if count < 1:
    raise BadInput(f"num_processes must be at least 1, got {count}")
  if not 0 <= index < count:
    raise BadInput(f"process_id {index} is not among {count} process(es), 0 to {count - 1}")
  if not 0 <= port <= LAST_PORT or port == first:
    raise BadInput(f"rendezvous_port {port} is no free port beside the coordinator's {first}")
  if seconds <= 0:
    raise BadInput(f"rendezvous_timeout must be positive, got {seconds:g}")
  port = port or (first + 1 if first < LAST_PORT else first - 1)
  return Place(coordinator, count, index, devices, port, seconds)


def dumps(where: Place) -> str:
  """A place as text, for a command line."""
  return json.dumps(dataclasses.asdict(where))


def loads(text: str) -> Place:
  """The place in a text of `dumps`.

  >>> loads(dumps(place("node0:1234", 2, 1, (3,)))) == place("node0:1234", 2, 1, (3,))
  True
  """
  fields = json.loads(text)
  devices = fields.pop("devices")
  return Place(**fields, devices=None if devices is None else tuple(devices))
