"""The host's memory: on a CPU, XLA takes and returns large buffers at every step."""

import ctypes
import sys

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_memory() -> bool:
  """Makes the C library keep freed memory, not return it to the system; True where it does.

  A buffer fresh from the system costs a page fault for every 4 KiB that is first written, which on
  a CPU can take longer than the arithmetic. The process then holds on to its peak memory until it
  ends. Only for glibc; elsewhere nothing changes.
  """
  if not sys.platform.startswith("linux"):
    return False
  libc = ctypes.CDLL(None)
  if not hasattr(libc, "mallopt") or not hasattr(libc, "gnu_get_libc_version"):
    return False
  # One arena, grown at its end and never trimmed (-1), no mappings of their own for large blocks.
  settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_ARENA_MAX, 1))
  done = [libc.mallopt(name, value) == 1 for name, value in settings]
  return all(done)
