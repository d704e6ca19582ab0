"""Says now and then what a process waits for, where all processes have to come."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import jax

from maskjax.train.pod import threads

log = logging.getLogger("maskjax")

EVERY = 60.0  # seconds from one word to the next


@contextlib.contextmanager
def waiting(what: str, every: float = EVERY) -> Iterator[None]:
  """A block that may stand still until other processes come; a thread says so until it ends."""
  done, began = threading.Event(), time.monotonic()

  def speak() -> None:
    while not done.wait(every):
      # A warning: processes that are not the first say nothing less, and each waits by itself.
      log.warning(
        "process %d of %d waits for %s, for %.0f s now%s",
        jax.process_index(),
        jax.process_count(),
        what,
        time.monotonic() - began,
        threads.hint(),
      )

  thread = threading.Thread(target=speak, daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
