"""Object stores by fsspec: what they refuse is bad input, what they fail at is tried again."""

import errno
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from maskjax.errors import BadInput, Restart

log = logging.getLogger("maskjax")

# Seconds from one attempt to the next; the packages of stores try again faster than that.
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3", "s3a": "s3"}

REFUSED = (401, 403, 404)  # unauthorised, forbidden, not found
# A token that runs out comes as 400, 401 or 403; the next process, or a refresh, has another one.
EXPIRED = re.compile(
  r"expired_?token|(token|credentials?|session|signature|request) (has |have |is )?(been )?expired"
  r"|token ?refresh ?required|request ?time ?too ?skewed|invalid credentials",
  re.IGNORECASE,
)
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # this machine's disk
OURS = (TypeError, AttributeError, NameError, LookupError, AssertionError, ImportError)


class Store:
  """The file system of a URL.

  Attributes:
    files: fsspec's file system.
    root: the URL's path in it.
  """

  def __init__(self, url: str):
    self.url = url
    self.files, self.root = _opened(url)

  def ask(self, what: str, call: Callable[..., Any], *args: Any) -> Any:
    """Calls the store, again and again while it fails in ways that pass.

    Args:
      what: is asked for, as a participle: "read", "written".
      call: a method of `files`.
      *args: its arguments.

    Returns:
      What the call returns.

    Raises:
      BadInput: the store refused, or there is no such thing.
      Restart: it still fails after half a minute.
    """
    for wait in (*WAITS, None):
      try:
        return call(*args)
      except OURS:
        raise
      except Exception as error:  # the packages of stores raise errors of their own kinds
        reason = str(error).partition("\n")[0][:200]
        said = f"{self.url} cannot be {what}: {type(error).__name__}: {reason}"
        if refused(error):
          raise BadInput(said) from error
        if wait is None:
          raise Restart(f"{said}; the same command goes on from what is there") from error
      log.warning("%s; trying again in %g s", said, wait)
      time.sleep(wait * random.uniform(0.5, 1))  # not all processes at once

  def remove(self, path: str, *, recursive: bool = False) -> None:
    """Takes a file away; one that is gone, by an attempt whose answer was lost say, is no fault.

    With `recursive` it is a folder with all that lies below it.
    """

    def call() -> None:
      try:
        if recursive:
          self.files.rm(path, recursive=True)
        else:
          self.files.rm_file(path)
      except FileNotFoundError:
        log.debug("%s is gone already", path)

    self.ask("written", call)


def refused(error: BaseException) -> bool:
  """Whether a store's error comes again however often one asks."""
  chain = list(_chain(error))
  if any(EXPIRED.search(_told(one)) for one in chain):
    return False
  return any(
    isinstance(one, FileNotFoundError | PermissionError)
    or _status(one) in REFUSED
    or type(one).__name__ in NO_CREDENTIALS
    or (isinstance(one, OSError) and (one.errno in FULL or str(one).startswith("Forbidden:")))
    for one in chain
  )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
  while error is not None:
    yield error
    error = error.__cause__ or error.__context__


def _told(error: BaseException) -> str:
  """The message, and botocore's code; of a file that is not there only its name is told."""
  if isinstance(error, FileNotFoundError):
    return ""
  response = getattr(error, "response", None)
  code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
  return f"{code} {error}"


def _status(error: BaseException) -> int | None:
  """The HTTP status in an error of gcsfs, aiohttp, azure, requests or botocore."""
  response = getattr(error, "response", None)
  if isinstance(response, dict):
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
  values = [getattr(error, name, None) for name in ("code", "status", "status_code")]
  texts = [str(value) for value in (*values, getattr(response, "status_code", None))]
  return next((int(text) for text in texts if text.isdecimal()), None)


def _opened(url: str) -> tuple[Any, str]:
  import fsspec

  protocol = url.partition("://")[0]
  try:
    # Buckets have no folders to be made; of the others the one for local files can make its own.
    options = {"auto_mkdir": True} if protocol in ("file", "local") else {}
    store, root = fsspec.core.url_to_fs(url, **options)
  except ImportError as error:
    extra = EXTRAS.get(protocol)
    cure = f"pip install 'maskjax[{extra}]'" if extra else str(error)
    raise BadInput(f"{protocol}:// needs a package that is not installed: {cure}") from error
  except ValueError as error:
    raise BadInput(f"unknown kind of URL {protocol}:// in {url}: {error}") from error
  return store, root.rstrip("/")
