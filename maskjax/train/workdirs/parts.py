"""Files that grow line by line, in a store that cannot append: the whole, and parts after it.

Beside `metrics.jsonl` lie `metrics.jsonl.parts/WHOLE-START`: what comes from byte START on, after a
whole whose CRC-32 is WHOLE. With each checkpoint, and at the end, the whole is put anew and the
parts go; what an earlier launch left, after another whole, counts no more from then on. A part may
end within a line, with which the next one goes on.
"""

import dataclasses
import pathlib
import re
import zlib
from collections.abc import Iterable

from maskjax.data.store import Store

GROWING = re.compile(r"(^|/)metrics\.jsonl$")
PART = re.compile(r"^(.*metrics\.jsonl)\.parts/([0-9a-f]{8})-(\d{12})$")
TAIL = 4096  # bytes, some rows


@dataclasses.dataclass
class Growing:
  """What of one such file lies in the store.

  Attributes:
    store: where.
    name: of the file, below the store's root.
    whole: the CRC-32 of the whole as it was put, 0 where there is none.
    sent: how many bytes lie there, whole and parts.
    tail: the last of these bytes; a file that has others there was written anew.
    parts: names of the parts, of an earlier launch too.
  """

  store: Store
  name: str
  whole: int = 0
  sent: int = 0
  tail: bytes = b""
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
    self.sent, self.tail = len(data), data[-TAIL:]

  def append(self, path: pathlib.Path) -> bool:
    """Puts what is new as a part; False where the file was written anew instead."""
    with open(path, "rb") as file:
      file.seek(self.sent - len(self.tail))
      # Not by the inode: that of a file which was replaced may be given again.
      if file.read(len(self.tail)) != self.tail:
        return False
      data = file.read()
    if data:
      name = f"{self.name}.parts/{self.whole:08x}-{self.sent:012d}"
      self._put(name, data)
      self.parts.append(name)
    self.sent, self.tail = self.sent + len(data), (self.tail + data)[-TAIL:]
    return True

  def put(self, path: pathlib.Path) -> None:
    """Puts the whole, then takes the parts away."""
    data = path.read_bytes()
    self._put(self.name, data)
    self.whole, self.sent, self.tail = zlib.crc32(data), len(data), data[-TAIL:]
    while self.parts:
      self.store.remove(f"{self.store.root}/{self.parts[0]}")
      del self.parts[0]

  def _put(self, name: str, data: bytes) -> None:
    self.store.ask("written", self.store.files.pipe_file, f"{self.store.root}/{name}", data)
