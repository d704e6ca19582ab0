"""The API reference: it is built without a warning, and what is called says what it is given."""

import re

import pytest

from maskjax.docs import reference
from maskjax.docs.__main__ import main
from maskjax.errors import BadInput


def test_it_is_built_and_linked(tmp_path, capsys):
  assert main([str(tmp_path)]) == 0
  assert capsys.readouterr().out.strip().endswith("index.html")
  page = (tmp_path / "maskjax" / "score.html").read_text()
  found = re.findall(r'href="([^"#]*)#(\w+)">maskjax\.select\.top', page)
  assert set(found) == {("select.html", "top")}
  assert '<section id="load"' in (tmp_path / "maskjax.html").read_text()


@pytest.mark.parametrize(
  "said",
  ["`select.topp`", "`maskjax.score.noise.unifrom`", "see `nowhere`", "those of `masks.chekc()`"],
)
def test_a_reference_that_leads_nowhere_is_found(tmp_path, monkeypatch, said):
  package = tmp_path / "maskjax"
  package.mkdir()
  file = package / "few.py"
  file.write_text(
    '"""As `select.top`, of `data.path`, see `here`."""\n\n\ndef here(over):\n  """`over.w`."""\n'
  )
  assert reference.broken(package) == []
  file.write_text(f'"""Something, {said}."""\n')
  assert len(reference.broken(package)) == 1
  monkeypatch.setattr(reference.maskjax, "__file__", str(package / "__init__.py"))
  with pytest.raises(BadInput, match="lead nowhere"):
    reference.write(tmp_path / "out")


def test_what_is_called_says_what_its_arguments_are():
  assert reference.untold() == []


def test_usage(capsys):
  assert main([]) == 2
  assert "python -m maskjax.docs OUT" in capsys.readouterr().err
