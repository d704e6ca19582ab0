"""Files import only from layers above them, and stay short."""

import ast
import builtins
import dis
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "maskjax"
TOP = {"maskjax", "configs", "tests", "launch.py", "pyproject.toml", "constraints.txt"}
TOP |= {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"}
# From the top; those on one line may import from each other.
LAYERS = [
  (
    "errors",
    "extras",
    "record",
    "masks",
    "keys",
    "reduce",
    "bind",
    "units",
    "spectrogram",
    "modalities",
    "pace",
  ),
  ("quantiles",),
  ("schedule",),
  ("sections",),
  ("config_files", "experiment", "smoke", "lab", "flags"),
  ("over",),
  ("score",),
  ("select",),
  ("hide",),
  ("recover",),
  ("model",),
  ("task",),
  ("weights",),
  ("generate",),
  ("explain",),
  ("data",),
  ("view",),
  ("train",),
  ("note", "catalogue", "page", "recipes", "cli", "__main__", "pages", "docs"),
  ("bench",),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
LONGEST = 330


def layer(module):
  """The rank of `maskjax.name.…`; None for maskjax itself and for what is not maskjax."""
  parts = module.split(".")
  return RANK.get(parts[1]) if parts[0] == "maskjax" and len(parts) > 1 else None


def imports(tree):
  """Every module that a file imports from maskjax, inside functions too."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module == "maskjax":
      yield from (f"maskjax.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, "imports are absolute"
      yield node.module or ""


def upward(name, source):
  """The imports of the file `name` that lie below it."""
  own = layer(name)
  found = [module for module in imports(ast.parse(source)) if layer(module) is not None]
  return [f"{name} imports {m}" for m in found if own is not None and layer(m) > own]


def files():
  return [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def test_every_file_belongs_to_a_layer():
  names = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in files()}
  assert names <= set(RANK)


def test_files_import_from_above():
  wrong = []
  for path in files():
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    wrong += upward(name, path.read_text())
  assert wrong == []


@pytest.mark.parametrize(
  "source",
  ["import maskjax.train.run", "def f():\n  from maskjax import task", "from maskjax.cli import x"],
)
def test_an_import_from_below_is_found(source):
  assert len(upward("maskjax.hide.drop", source)) == 1
  assert upward("maskjax.cli", source) == []


def undefined(source):
  """Global names that a file reads and nowhere sets; annotations in quotes are not looked at."""

  def within(code):
    yield code
    for constant in code.co_consts:
      if hasattr(constant, "co_code"):
        yield from within(constant)

  codes = list(within(compile(source, "file", "exec")))
  found = {"load": set(), "store": {*dir(builtins), "__file__", "__annotations__", "__path__"}}
  for code in codes:
    for step in dis.get_instructions(code):
      if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        found["load"].add(step.argval)
      elif step.opname in ("STORE_NAME", "STORE_GLOBAL", "IMPORT_NAME"):
        found["store"].add(step.argval)
  return found["load"] - found["store"]


def test_names_are_defined():
  # Linters cannot tell a missing name from a dimension in a jaxtyping annotation.
  sources = [p for folder in ("maskjax", "configs", "tests") for p in (ROOT / folder).rglob("*.py")]
  found = {str(p.relative_to(ROOT)): undefined(p.read_text()) for p in sources}
  assert {path: names for path, names in found.items() if names} == {}
  assert undefined("def f(x):\n  raise unknown(x)") == {"unknown"}


# What networks do with masks: put hidden places back, carry masks through, read who sees whom. What
# is hidden, and what stands there instead, is said by the task.
OF_NETWORKS = {"restore", "carry", "neighbours", "pairs"}


def test_networks_hide_nothing():
  found = set()
  for path in (PACKAGE / "model").glob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("maskjax.hide"):
        within = (node.module or "").split(".")[2:]
        found |= set(within[:1]) or {alias.name for alias in node.names}
      elif isinstance(node, ast.ImportFrom) and node.module == "maskjax":
        found |= {alias.name for alias in node.names} & {"hide"}
  assert found <= OF_NETWORKS


def test_nothing_else_stands_at_the_top():
  """Of what git knows: whoever works in the tree may have folders of their own."""
  known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
  if known.returncode:
    pytest.skip("not a git checkout")
  found = {name.partition("/")[0] for name in known.stdout.splitlines()}
  assert {name for name in found if not name.startswith(".")} == TOP


def test_files_are_short():
  lengths = {p: len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")}
  assert {str(p): n for p, n in lengths.items() if n > LONGEST} == {}
