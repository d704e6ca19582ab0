"""Files that grow line by line, in a store that cannot append: the whole, and parts after it.

Beside `metrics.jsonl` lie `metrics.jsonl.parts/WHOLE-START`: what comes from byte START on, after a
whole whose CRC-32 is WHOLE. With each checkpoint, and at the end, the whole is put anew and the
parts go; what an earlier launch left, after another whole, counts no more from then on. A part may
end within a line, with which the next one goes on.
"""

import dataclasses
import os
import pathlib
import re
import zlib
from collections.abc import Iterable

from maskjax.train.workdirs.store import Store

GROWING = re.compile(r"(^|/)metrics\.jsonl$")
PART = re.compile(r"^(.*metrics\.jsonl)\.parts/([0-9a-f]{8})-(\d{12})$")


@dataclasses.dataclass
class Growing:
  """What of one such file lies in the store.

  Attributes:
    store: where.
    name: of the file, below the store's root.
    whole: the CRC-32 of the whole as it was put, 0 where there is none.
    sent: how many bytes lie there, whole and parts.
    file: the local file's inode; another one was written anew.
    parts: names of the parts, of an earlier launch too.
  """

  store: Store
  name: str
  whole: int = 0
  sent: int = 0
  file: int | None = None
  parts: list[str] = dataclasses.field(default_factory=list)

  def pull(self, path: pathlib.Path, parts: Iterable[str]) -> None:
    """Adds to the whole, if there is one at the local path, the parts that follow it."""
    data = path.read_bytes() if path.exists() else b""
    self.whole, self.parts = zlib.crc32(data), sorted(parts)
    there, files = len(data), self.store.files
    for name in self.parts:
      _, whole, start = PART.fullmatch(name).groups()  # type: ignore[union-attr]
      if (int(whole, 16), int(start)) == (self.whole, len(data)):
        data += self.store.ask("read", files.cat_file, f"{self.store.root}/{name}")
    if len(data) > there:
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(data)
    self.sent = len(data)
    self.file = path.stat().st_ino if path.exists() else None

  def append(self, path: pathlib.Path) -> bool:
    """Puts what is new as a part; False where the file was written anew instead."""
    with open(path, "rb") as file:
      status = os.fstat(file.fileno())
      if self.file not in (None, status.st_ino) or status.st_size < self.sent:
        return False
      file.seek(self.sent)
      data = file.read()
    if data:
      name = f"{self.name}.parts/{self.whole:08x}-{self.sent:012d}"
      self._put(name, data)
      self.parts.append(name)
    self.sent, self.file = self.sent + len(data), status.st_ino
    return True

  def put(self, path: pathlib.Path) -> None:
    """Puts the whole, then takes the parts away."""
    with open(path, "rb") as file:
      inode, data = os.fstat(file.fileno()).st_ino, file.read()
    self._put(self.name, data)
    self.whole, self.sent, self.file = zlib.crc32(data), len(data), inode
    while self.parts:
      self.store.remove(f"{self.store.root}/{self.parts[0]}")
      del self.parts[0]

  def _put(self, name: str, data: bytes) -> None:
    self.store.ask("written", self.store.files.pipe_file, f"{self.store.root}/{name}", data)
