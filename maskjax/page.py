"""A config on one page: its note with what was measured, its presets, commands and graph."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from maskjax import catalogue, lab
from maskjax.config_files import ids, locate
from maskjax.flags import RUN
from maskjax.note import section


def page(place: str, config: ConfigDict) -> str:
  """What `--describe` prints.

  Args:
    place: `ID[:preset…]` or `file.py[:preset…]`.
    config: what it comes to, whose graph is printed.

  Raises:
    BadInput: see `describe`; a config of maskjax without what `catalogue.entry` reads.
  """
  # Heavy, and not for those who list.
  from maskjax.train.plan.describe import describe

  path, arg = locate(place)
  module, own = lab.load(path), ids().get(path.stem)
  note, presets = (module.__doc__ or "none").strip().splitlines(), lab.presets(module)
  blocks: dict[str, list[str]] = {}
  if ours := own is not None and own.samefile(path):
    entry = catalogue.entry(path)
    blocks[f"{entry['id']} ({entry['family']}): {entry['title']}"] = note
    blocks["measured here"] = entry["measured"].splitlines()
  else:
    blocks["note"] = note
  name = path.stem if ours else str(path)
  told = {f"{name}:{preset}".rstrip(":"): said for preset, said in presets.items()}
  width = max(map(len, told))
  blocks["presets"] = [f"{preset:{width}}  {said}".rstrip() for preset, said in told.items()]
  chosen = (arg or ("laptop" if "laptop" in presets else "")).partition(",")[0]
  blocks["run"] = _commands(f"{name}:{chosen}".rstrip(":"), path.stem, module.__doc__ or "")
  graph = describe(config.to_dict(), lab.note(place))
  blocks[f"graph of {place}"] = graph.splitlines()
  return "\n\n".join("\n".join(_block(*block)) for block in blocks.items())


def _commands(config: str, name: str, note: str) -> list[str]:
  """What builds a config and what runs it, with the data that the note's own command names."""
  words = " ".join(section(note, "Run")).split()
  data = [word for word in words if word.startswith("--config.data")]
  run = " ".join([RUN, f"--config={config}", *data])
  return [f"{run} --check", f"{run} --workdir=runs/{name}"]


def _block(head: str, lines: list[str]) -> Iterator[str]:
  yield head
  yield from (f"  {line}".rstrip() for line in lines)
