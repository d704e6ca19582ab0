"""Parameters are float32, whatever jax's default is."""

import ast
import pathlib

import maskjax


def test_each_parameter_says_its_dtype():
  """Initialisers make float64 under JAX_ENABLE_X64 unless they are told."""
  silent = []
  for path in sorted(pathlib.Path(maskjax.__file__).parent.rglob("*.py")):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
      called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
      if called and ast.unparse(node.func) == "self.param" and "float32" not in ast.unparse(node):
        silent.append(f"{path.name}:{node.lineno}")
  assert silent == []
