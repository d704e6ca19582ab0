"""The wheel, outside the checkout, beside the packages that it asks for and no others."""

import importlib.metadata
import itertools
import os
import pathlib
import subprocess
import sys
import tomllib
import zipfile

import pytest
from hatchling import build
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import maskjax
from maskjax.config_files import CONFIGS, ids

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """The folder in which the wheel lies as it is installed: pure Python is unpacked."""
  folder = tmp_path_factory.mktemp("wheel")
  here = pathlib.Path.cwd()
  os.chdir(ROOT)
  try:
    name = build.build_wheel(str(folder))
  finally:
    os.chdir(here)
  with zipfile.ZipFile(folder / name) as archive:
    archive.extractall(folder / "installed")
  return folder / "installed"


def needed(requirements, extra=""):
  """The distributions here that requirements ask for, by name, and what those ask for."""
  found, wanted = {}, [(requirement, extra) for requirement in requirements]
  while wanted:
    text, extra = wanted.pop()
    asked = Requirement(text)
    if asked.marker is not None and not asked.marker.evaluate({"extra": extra}):
      continue
    distribution = importlib.metadata.distribution(asked.name)
    assert asked.specifier.contains(distribution.version, prereleases=True), text
    for part in ("", *asked.extras):
      if (asked.name, part) not in found:
        found[asked.name, part] = distribution
        wanted += [(inner, part) for inner in distribution.requires or ()]
  return {name: distribution for (name, _), distribution in found.items()}


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
  """`environment("train")(code, *words)` runs Python where the wheel is installed with an extra.

  The packages are those of the environment that tests run in, linked one by one: as the wheel asks
  for them, nothing else can be imported there.
  """
  (described,) = importlib.metadata.distributions(path=[str(wheel)])

  def make(extra):
    packages = tmp_path_factory.mktemp(extra or "core")
    for distribution in needed(described.requires, extra).values():
      for top in {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}:
        place = pathlib.Path(distribution.locate_file(top))
        if place.exists() and not (packages / top).exists():
          (packages / top).symlink_to(place)
    paths = [str(wheel), str(packages)]

    def run(code, *words):
      # No site: neither site-packages nor what is installed for editing.
      begin = f"import sys; sys.path += {paths}; sys.argv = {['maskjax', *words]}\n"
      command = [sys.executable, "-I", "-S", "-c", begin + code]
      folder = tmp_path_factory.mktemp("elsewhere")
      done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
      return done.returncode, done.stdout, done.stderr

    return run

  return make


# What runs need; everything else is the grammar.
RUNS = ["bench", "data", "docs", "model", "task", "train", "view"]
RUNS += ["catalogue", "cli", "experiment", "lab", "page", "pages", "smoke"]
GRAMMAR = """
import importlib, pkgutil
def imported(package):
  for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
    if found.name.split(".")[1] not in {runs}:
      module = importlib.import_module(found.name)
      if found.ispkg:
        yield from imported(module)
      yield found.name
import maskjax
print(*imported(maskjax))
{readme}
print(hidden.sum(axis=-1).tolist(), seen.values.shape, term.count)
hold = lambda: mj.weights.hold(None, select=mj.select.top)
for more in (lambda: mj.load, lambda: mj.train({{}}), hold):
  try:
    more()
  except ValueError as error:
    print(error)
"""
RUN = "from {module} import {attr}; sys.exit({attr}())"


def test_it_holds_all_that_is_to_be_shipped(wheel):
  (described,) = importlib.metadata.distributions(path=[str(wheel)])
  assert described.version == maskjax.__version__
  held = {file.relative_to(wheel / "maskjax").as_posix() for file in wheel.glob("maskjax/**/*.*")}
  configs = {f"configs/{path.relative_to(CONFIGS)}" for path in ids().values()}
  assert configs | {"py.typed", "train/README.md", "docs/masks.ipynb"} <= held
  assert [path.name for path in wheel.glob("*.data/data/share/doc/*/*")] == ["CHANGELOG.md"]


def test_a_version_that_works_is_known_of_all_that_an_extra_asks_for():
  lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
  known = {canonicalize_name(name): version for name, version in (x.split("==") for x in lines)}
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  asked = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
  for one in map(Requirement, asked):
    if one.name not in ("maskjax", "tensorflow"):  # no version of the latter was ever tried
      assert one.specifier.contains(known[canonicalize_name(one.name)]), one


@pytest.fixture
def program(wheel):
  """Code that does what the program `maskjax` does."""
  (described,) = importlib.metadata.distributions(path=[str(wheel)])
  (entry,) = described.entry_points
  assert (entry.group, entry.name) == ("console_scripts", "maskjax")
  return RUN.format(module=entry.module, attr=entry.attr)


def test_the_grammar_needs_the_core_alone_and_the_rest_says_what_it_needs(environment, program):
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  readme = text.partition("## The grammar in ten lines\n\n```python\n")[2].partition("```")[0]
  run = environment("")
  status, out, err = run(GRAMMAR.format(runs=RUNS, readme=readme) + program, "--list")
  asks = "error: the program needs ml_collections: pip install 'maskjax[train]'\n"
  assert (status, err) == (2, asks)
  modules, *ten_lines, load, train, hold = out.splitlines()
  assert {"maskjax.select.top", "maskjax.weights.hold", "maskjax.quantiles"} <= set(modules.split())
  assert ten_lines == [f"{[147] * 8} (8, 49, 768) 1176"]
  for line in load, train, hold:
    assert line.endswith(": pip install 'maskjax[train]'")


def test_a_smoke_by_id_where_only_the_wheel_is(environment, program):
  status, out, err = environment("train")(program, "--config=mae:smoke", "--workdir=w")
  assert status == 0, err[-3000:]
  assert out.startswith("results in w: config.json, metrics.jsonl, checkpoints\n")
