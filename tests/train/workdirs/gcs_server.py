"""A server that speaks as Google's storage does: python tests/train/workdirs/gcs_server.py PORT.

It is gcp-storage-emulator (pip install gcp-storage-emulator), which leaves out of what is read the
number of its version that tensorstore asks for; here it is added. For tried.py, not in CI.
"""

import sys

from gcp_storage_emulator import server
from gcp_storage_emulator.handlers import objects

plain = objects.download


def download(request, response, storage, *args, **kwargs):
  """As the emulator's own, with the version in the header that Google's servers put it in."""
  plain(request, response, storage, *args, **kwargs)
  if response.status < 300:
    place = request.params["bucket_name"], request.params["object_id"]
    response["x-goog-generation"] = storage.get_file_obj(*place)["generation"]


if __name__ == "__main__":
  objects.download = download
  server.create_server("127.0.0.1", int(sys.argv[1]), True, "bucket").run()
