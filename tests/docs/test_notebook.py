"""The notebook runs from its first cell to its last, and is kept without what it prints."""

import ast
import json
import pathlib

import matplotlib
import matplotlib.pyplot as plt

NOTEBOOK = pathlib.Path(__file__).parents[2] / "maskjax" / "docs" / "masks.ipynb"


def test_it_runs(monkeypatch):
  matplotlib.use("agg")
  cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
  assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
  shown, space, last = [], {"__name__": "notebook"}, []
  monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()) or plt.close())
  for cell in cells:
    *body, end = ast.parse("".join(cell["source"])).body
    if not isinstance(end, ast.Expr):
      body, end = [*body, end], None
    exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), space)
    if end:
      last.append(eval(compile(ast.Expression(end.value), str(NOTEBOOK), "eval"), space))
  said = [value for value in last if value is not None]
  assert said[0] == (196, 768)
  assert said[1][1] == 147
  assert said[2][0] == (49, 768)
  cost, count, untouched = said[3]
  assert abs(cost - 1) < 0.01
  assert (count, untouched) == (147, True)
  assert said[4] == ((4, 196), True)
  assert len(shown) == 7
