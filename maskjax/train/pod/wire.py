"""Messages over a socket: one JSON object a line."""

import contextlib
import json
import socket
from typing import Any

Message = dict[str, Any]

LONGEST = 1 << 20  # bytes of a line; more is nobody of ours
PATIENCE = 5.0  # seconds that a full socket is waited for


class Wire:
  """One end of a connection."""

  def __init__(self, link: socket.socket):
    link.settimeout(PATIENCE)
    self.link, self._rest = link, b""

  def fileno(self) -> int:
    """For `selectors`."""
    return self.link.fileno()

  def send(self, message: Message) -> bool:
    """Sends a message; False where nobody is at the other end."""
    try:
      self.link.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
      return False
    return True

  def receive(self) -> list[Message] | None:
    """What came, after waiting for something; None where the other end is closed or babbles."""
    try:
      data = self.link.recv(1 << 16)
      *lines, self._rest = (self._rest + data).split(b"\n")
      messages = [json.loads(line) for line in lines]
    except (OSError, ValueError):
      return None
    ours = all(isinstance(message, dict) and "is" in message for message in messages)
    return messages if data and ours and len(self._rest) <= LONGEST else None

  def close(self) -> None:
    """Closes this end."""
    with contextlib.suppress(OSError):
      self.link.close()
