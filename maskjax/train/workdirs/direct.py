"""Arrays that tensorstore reads and writes in a store by itself, without a local copy."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from maskjax.data.store import EXPIRED, WAITS, Store
from maskjax.errors import BadInput, Restart

Place = pathlib.Path | dict[str, Any]  # a folder, or what tensorstore calls a key-value store

# What tensorstore says of a store, before the first colon, that says nothing about what lies there.
REFUSED = re.compile(r"(PERMISSION_DENIED|UNAUTHENTICATED):")
AWAY = re.compile(r"(ABORTED|UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL|UNKNOWN):")

# Requests are tried again as long as `Store.ask` does.
_RETRIES = {
  "max_retries": len(WAITS),
  "initial_delay": f"{WAITS[0]:g}s",
  "max_delay": f"{WAITS[-1]:g}s",
}
CONTEXT = {"gcs_request_retries": _RETRIES, "s3_request_retries": _RETRIES}


def place(store: Store) -> Place | None:
  """Where a store's root lies for tensorstore; None where it cannot go by itself."""
  protocol = store.url.partition("://")[0]
  if protocol in ("file", "local"):
    return pathlib.Path(store.root)
  bucket, _, path = store.root.partition("/")
  if protocol in ("gs", "gcs"):
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):  # gcsfs goes there
      os.environ.setdefault("TENSORSTORE_GCS_HTTP_URL", emulator)
    return {"driver": "gcs", "bucket": bucket, "path": f"{path}/"}
  if protocol in ("s3", "s3a"):
    return {"driver": "s3", "bucket": bucket, "path": f"{path}/", **_endpoint(store.files)}
  return None


def _endpoint(files: Any) -> dict[str, str]:
  """Of a store that is not Amazon's own: where it is, as s3fs and botocore are told."""
  told = (
    getattr(files, "endpoint_url", None),
    (getattr(files, "client_kwargs", None) or {}).get("endpoint_url"),
    *map(os.environ.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
  )
  if (endpoint := next(filter(None, told), None)) is None:
    return {}
  regions = map(os.environ.get, ("AWS_REGION", "AWS_DEFAULT_REGION"))
  return {"endpoint": endpoint, "aws_region": next(filter(None, regions), "us-east-1")}


def below(root: dict[str, Any], name: str) -> dict[str, Any]:
  """The key-value store of a folder in another."""
  return {**root, "path": f"{root['path']}{name}/"}


@contextlib.contextmanager
def answered(url: str, what: str) -> Iterator[None]:
  """Says which errors of tensorstore are the store's, not those of what lies there.

  Args:
    url: of the store.
    what: is asked for, as a participle: "read", "written".

  Raises:
    BadInput: the store refused.
    Restart: it did not answer for half a minute, or a token ran out.
  """
  try:
    yield
  except (BadInput, Restart):
    raise
  except Exception as error:
    reason = str(error).partition("\n")[0]
    said = f"{url} cannot be {what}: {reason.partition(' [')[0][:200]}"
    refused = REFUSED.match(reason)
    if refused and not EXPIRED.search(reason):
      raise BadInput(said) from error
    if refused or AWAY.match(reason):
      raise Restart(f"{said}; the same command goes on from what is there") from error
    raise
