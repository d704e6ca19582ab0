"""Images in a folder or a zip: which files, which split, which class."""

from collections.abc import Mapping, Sequence
from typing import Any

from maskjax.data import told
from maskjax.data.decode import SUFFIXES, Reading, colour
from maskjax.data.images import Images, open_images
from maskjax.data.layout import lay_out
from maskjax.data.listing import listed
from maskjax.data.maps import beside
from maskjax.data.source import Source
from maskjax.data.splits import Chosen
from maskjax.data.stored import Subset, stored
from maskjax.record import Record

CACHE_BYTES = 512 << 20


def open(
  path: str,
  *,
  size: tuple[int, int] | None = None,
  splits: Chosen = None,
  label: str = "folder",
  test_where: Mapping[str, Any] | None = None,
  exif: bool = True,
  background: Sequence[int] | None = None,
  on_error: str = "raise",
  cache_bytes: int = CACHE_BYTES,
  captions: str | None = None,
  maps: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Record, dict[str, Source]]:
  """Images in a folder or a zip: `split/class/x.jpg`, `class/x.jpg`, `split/x.jpg` or `x.jpg`.

  Splits are folders called train, validation or test, or as others call these; without any a tenth
  of each class, by a hash of the names, is the test split. Examples are in order of name. Of files
  with several pages or frames the first is read, which is counted in the log.

  Args:
    path: the folder or zip.
    size: (height, width), to which images are resized; see `open_images`.
    splits: folders, files or a list of files of each split, or (); see `layout.lay_out`.
    label: "folder", "inner", "" or a pattern, as there.
    test_where: as there.
    exif: whether images are turned as their EXIF orientation says.
    background: (red, green, blue) of 0 to 255 behind transparent pixels; without it alpha is kept,
      or dropped, and counted in the log, where most images have none.
    on_error: "raise", or "skip", which leaves out damaged files; see `open_images`.
    cache_bytes: what decoded images of a split may take to be kept in memory.
    captions: the column of the captions that come with the images, see `told.captions_of`; None
      reads none. Splits without any stay without.
    maps: by name what each image has a map of, `dict(path=…)` or `dict(path=…, classes=…)`; see
      `maps.beside`.

  Raises:
    BadInput: nothing to read, or what can be read in two ways; the key that settles it is named.
  """
  listing = listed(path, SUFFIXES, "images")
  layout = lay_out(listing, splits=splits, label=label, test_where=test_where)
  files = stored(listing, layout.labels)
  parts = {split: Subset(files, indices) for split, indices in layout.splits.items()}
  reading = Reading(exif=exif, background=colour(background))
  record, sources = open_images(
    parts,
    layout.class_names,
    size=size,
    on_error=on_error,
    cache_bytes=cache_bytes,
    reading=reading,
  )
  if captions is not None:
    known = dict(zip(files.names, told.captions_of(listing, captions), strict=True))
    for split, source in sources.items():
      assert isinstance(source, Images)
      names: Sequence[str] = getattr(source.files, "names")  # noqa: B009
      each = [known[name] for name in names]
      if any(each):
        told.check(split, each, names)
        source.captions = each
  return record, beside(sources, maps) if maps else sources
