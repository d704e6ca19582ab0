"""The API reference: what is rendered, and the references in docstrings, each of which resolves."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import re
import warnings
from collections.abc import Iterator
from typing import Any

import maskjax
from maskjax.data.openers import OPENERS
from maskjax.errors import BadInput
from maskjax.extras import needs

# In the order of use.
GRAMMAR = ("score", "select", "hide", "recover", "schedule", "over", "reduce", "masks", "units")
USED = ("weights", "generate", "explain", "model", "task", "train.run", "train.checkpoints.load")
EVALUATORS = "train.evaluators"
# Dotted names in backticks are references if they begin with one of these; others, such as
# `data.path`, are fields of a config.
ROOTS = (*GRAMMAR, "keys", "weights", "generate", "explain", "train")
DOTTED = re.compile(rf"`((?:maskjax|{'|'.join(ROOTS)})(?:\.[a-z_A-Z]\w*)+)(?:\(\))?`")
NAMED = re.compile(
  r"(?:[Ss]ee|those of|that of|inverse of|undoes) `([a-zA-Z_]\w*(?:\.\w+)*)(?:\(\))?`"
)
# As pages have them: references without `maskjax`, and the modules of arrays and their shapes.
SHORT = re.compile(rf"<code>(?=(?:{'|'.join(ROOTS)})\.)")
ANNOTATED = re.compile(
  r'<span class="n">(?:jaxtyping|jaxlib)</span>(?:<span[^>]*>(?:\.|_jax)</span>)+'
)
GIVEN_BY_NAME = ("maskjax.task", "maskjax.model")
ARGS = 2  # a function of more arguments says what each is


def modules() -> tuple[str, ...]:
  """The modules of the reference, by full name."""
  openers = dict.fromkeys(place.partition(":")[0] for place in OPENERS.values())
  return ("maskjax", *(f"maskjax.{name}" for name in (*GRAMMAR, *USED, EVALUATORS)), *openers)


def write(out: pathlib.Path) -> None:
  """Renders the reference as web pages.

  Args:
    out: folder of the pages, of which `index.html` is the first.

  Raises:
    BadInput: a reference in a docstring that leads nowhere; no pdoc.
    UserWarning: whatever pdoc would only warn of.
  """
  with needs("docs", "the API reference"):
    import pdoc
    from pdoc import render, render_helpers

  if wrong := broken(pathlib.Path(maskjax.__file__).parent):
    raise BadInput("\n".join(["references in docstrings that lead nowhere:", *wrong]))
  names = modules()
  for name in names:  # before warnings are errors: those of other packages are theirs
    importlib.import_module(name)
  maskjax.load = maskjax.load  # pdoc looks at what a module holds, not at what it would import
  # A package brings its modules along, though what is public there, the package itself exports.
  below = [f"!{name}[.].*" for name in names[1:]]
  link = render_helpers.linkify

  def linkify(context: Any, code: str, **given: Any) -> Any:
    return link(context, SHORT.sub("<code>maskjax.", ANNOTATED.sub("", code)), **given)

  # As pdoc's own, it is told the page that it is on.
  linkify.__dict__.update(vars(link))
  render.env.filters["linkify"] = linkify
  render.configure(docformat="google", math=True, show_source=True)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    # Of a tuple whose fields are like it.
    warnings.filterwarnings("ignore", "Error parsing type annotation .*'Over'")
    pdoc.pdoc("maskjax", "!maskjax[.].*", *names[1:], *below, output_directory=out)


def broken(package: pathlib.Path) -> list[str]:
  """References in the docstrings of a package that lead nowhere, by file.

  A name in backticks is a reference if it is dotted and begins with a module of the grammar or with
  `maskjax`, or if it comes after "see", "those of" and the like.
  """
  wrong = []
  for path in sorted(package.rglob("*.py")):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
    for owner, arguments, text in _docstrings(tree):
      # What begins with an argument is of that, though a module is called so too.
      dotted = [name for name in DOTTED.findall(text) if name.partition(".")[0] not in arguments]
      dotted = [name for name in dotted if not _resolves(name)]
      bare = [name for name in NAMED.findall(text) if not _known(name, module, tree)]
      names = dict.fromkeys(dotted + bare)
      wrong += [f"{path.relative_to(package.parent)}: {owner}: {name}" for name in names]
  return wrong


def untold() -> list[str]:
  """Functions of more than two arguments whose docstring does not say what these are.

  Of what users call: the grammar, masks over weights, decoding, evaluators, openers; not of
  networks and values of a config's graph.
  """
  found = []
  for name in modules():
    if name in GIVEN_BY_NAME:
      continue
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ("open",)):
      fn = getattr(module, public, None)
      if not inspect.isfunction(fn) or len(inspect.signature(fn).parameters) <= ARGS:
        continue
      if "Args:" not in (inspect.getdoc(fn) or ""):
        found.append(f"{name}.{public}")
  return found


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, set[str], str]]:
  """Name, arguments and docstring of a file and of all that is defined in it."""
  kinds = ast.Module, ast.ClassDef, ast.FunctionDef
  for node in ast.walk(tree):
    if isinstance(node, kinds) and (text := ast.get_docstring(node)):
      arguments = ast.walk(node.args) if isinstance(node, ast.FunctionDef) else ()
      yield getattr(node, "name", ""), {a.arg for a in arguments if isinstance(a, ast.arg)}, text


def _resolves(name: str) -> bool:
  whole = name if name.startswith("maskjax.") else f"maskjax.{name}"
  try:
    pkgutil.resolve_name(whole)
  except (ImportError, AttributeError):
    return False
  return True


def _known(name: str, module: str, tree: ast.Module) -> bool:
  """Whether a file or its package has the name, as anything that can be looked up."""
  inside = {getattr(node, "name", getattr(node, "arg", None)) for node in ast.walk(tree)}
  inside |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
  above = module.rpartition(".")[0]
  places = "", f"{module.removesuffix('.__init__')}.", f"{above}.", "maskjax."
  return name in inside or any(_resolves(f"{place}{name}") for place in places)
