"""Damaged checkpoints: every one is either harmless or passed over with one warning."""

import dataclasses
import json
import logging
import pathlib
import random
import shutil
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts

from maskjax.errors import BadInput
from maskjax.train.checkpoints import files, verified
from maskjax.train.checkpoints import leaves as lv
from maskjax.train.checkpoints.checkpoint import Checkpoints
from maskjax.train.checkpoints.leaves import spec


def state(seed: int) -> dict[str, Any]:
  a, b = jax.random.split(jax.random.key(seed))
  params = {"kernel": jax.random.normal(a, (5, 7)), "bias": jnp.ones(7, jnp.bfloat16) * seed}
  moments = optax.adamw(1e-3).init(params)
  position = np.array([2**40 + seed, -1])
  return {"params": params, "moments": moments, "key": b, "position": position}


def same(a: Any, b: Any) -> bool:
  plain = lambda x: np.asarray(jax.random.key_data(x) if spec("", x).dtype == "key<fry>" else x)
  x, y = jax.tree.leaves(a), jax.tree.leaves(b)
  return str(jax.tree.structure(a)) == str(jax.tree.structure(b)) and all(
    spec("", p) == spec("", q) and np.array_equal(plain(p), plain(q))
    for p, q in zip(x, y, strict=True)
  )


def filled(directory: pathlib.Path, *steps: int, **kwargs: Any) -> pathlib.Path:
  with Checkpoints(directory, keep=len(steps), **kwargs) as checkpoints:
    for step in steps:
      checkpoints.save(step, state(step))
  return directory


def flip(path: pathlib.Path, offset: int, bit: int = 0) -> None:
  data = bytearray(path.read_bytes())
  data[offset] ^= 1 << bit
  path.write_bytes(data)


def test_flipped_bit_that_orbax_reads_without_an_error(tmp_path, caplog):
  noise = lambda step: {"x": np.random.default_rng(step).random(10_000)}
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    checkpoints.save(1, noise(1))
    checkpoints.save(2, noise(2))
  path = max((tmp_path / "checkpoints" / "2").rglob("*"), key=lambda p: p.stat().st_size)
  flip(path, path.stat().st_size // 2)
  with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
    read = manager.restore(2, args=ocp.args.Composite(state=ocp.args.PyTreeRestore()))
  assert np.sum(read["state"]["x"] != noise(2)["x"]) > 0
  step, tree = Checkpoints(tmp_path).restore(noise(0))
  assert step == 1
  np.testing.assert_array_equal(tree["x"], noise(1)["x"])
  (record,) = caplog.records
  assert (record.name, record.levelno) == ("maskjax", logging.WARNING)
  bad = "the checkpoint of step 2 is bad"
  assert record.getMessage().startswith(bad)
  assert "the values of x are not those that were saved" in record.getMessage()
  with pytest.raises(BadInput, match=bad):
    Checkpoints(tmp_path).restore(noise(0), step=2)
  assert Checkpoints(tmp_path).restore(noise(0), step=1)[0] == 1
  with pytest.raises(BadInput, match=r"no checkpoint of step 7 .*\(there: 1, 2\)"):
    Checkpoints(tmp_path).restore(noise(0), step=7)


def damage(step: pathlib.Path, rng: random.Random) -> str:
  # By size: the names are random. Some files do not matter, orbax leaves them over.
  files = (p for p in step.rglob("*") if p.is_file())
  path = rng.choice(sorted(files, key=lambda p: (p.parent, p.stat().st_size)))
  kind = rng.choice(["flip", "zero", "truncate", "delete"])
  data = bytearray(path.read_bytes())
  start = rng.randrange(max(len(data), 1))
  if kind == "delete":
    path.unlink()
    return f"deleted {path}"
  if kind == "truncate":
    del data[start:]
  elif kind == "zero":
    stop = min(len(data), start + rng.choice([1, 16, 512]))
    data[start:stop] = bytes(stop - start)
  else:
    data[start] ^= 1 << rng.randrange(8)
  path.write_bytes(data)
  return f"{kind} {path} at {start} of {len(data)}"


def test_fifty_random_corruptions_none_silent(tmp_path, caplog):
  good = filled(tmp_path / "good", 1, 2)
  rng = random.Random(0)
  like, old, new = state(0), state(1), state(2)
  fell_back = 0
  for case in range(50):
    bad = shutil.copytree(good, tmp_path / "bad")
    what = f"{case}: {damage(bad / 'checkpoints' / '2', rng)}"
    caplog.clear()
    step, tree = Checkpoints(bad).restore(like)
    assert step in (1, 2), what
    assert same(tree, new if step == 2 else old), what
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == (step == 1), (what, said)
    assert all("step 2 is bad" in text and "\n" not in text for text in said), (what, said)
    fell_back += step == 1
    shutil.rmtree(bad)
  assert fell_back > 5


# Of as many bytes, and of more than is there.
@pytest.mark.parametrize(
  ("dtype", "shape"), [("<f4", (4, 3)), ("<i4", (3, 4)), ("<f4", (300, 4))], ids=str
)
def test_an_array_of_another_shape_or_type_is_refused_before_its_values_are_read(
  tmp_path, dtype, shape
):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, {"x": np.ones((3, 4), np.float32)})
  step = tmp_path / "checkpoints" / "1"
  store = {
    "driver": "ocdbt",
    "base": {"driver": "file", "path": f"{step / 'state' / files.part(0)}/"},
  }
  metadata = {"dtype": dtype, "shape": shape, "chunks": [4, 4], "compressor": None}
  at = {"driver": "zarr", "kvstore": {**store, "path": "x/"}, "metadata": metadata}
  ts.open(at, create=True, delete_existing=True).result()
  ts.KvStore.open(store).result().write("x/0.0", b"no values").result()
  with pytest.raises(verified.DamagedError, match="dtype or shape of x is not the one"):
    verified.read(step)


def test_record_of_digests_is_protected_at_every_byte(tmp_path):
  filled(tmp_path, 1)
  path = tmp_path / "checkpoints" / "1" / "digest" / "metadata"
  text = path.read_bytes()
  for offset in range(0, len(text), max(1, len(text) // 60)):
    flip(path, offset, bit=offset % 7)
    with pytest.raises(BadInput, match="none of the checkpoints"):
      Checkpoints(tmp_path).restore(state(0))
    path.write_bytes(text)
  assert Checkpoints(tmp_path).restore(state(0)) is not None


def test_none_good_never_starts_from_scratch(tmp_path, caplog):
  filled(tmp_path, 1, 2)
  for step in (1, 2):
    shutil.rmtree(tmp_path / "checkpoints" / str(step) / "digest")
  with pytest.raises(BadInput, match="none of the checkpoints"):
    Checkpoints(tmp_path).restore(state(0))
  assert len(caplog.records) == 2


@pytest.mark.parametrize("name", ["a[1]b", r"a\b", "a*?"])
def test_a_workdir_of_any_name_can_be_read_again(tmp_path, name):
  with Checkpoints(tmp_path / name) as checkpoints:
    checkpoints.save(3, {"x": np.arange(4.0)})
  step, tree = Checkpoints(tmp_path / name).restore({"x": np.zeros(4)})
  assert step == 3
  np.testing.assert_array_equal(tree["x"], np.arange(4.0))
  assert [path.name for path in tmp_path.iterdir()] == [name]


def of_before(folder: pathlib.Path) -> pathlib.Path:
  """A step as versions left it in which one process wrote all, with digests of whole arrays."""
  with zipfile.ZipFile(pathlib.Path(__file__).with_name("whole_leaves.zip")) as file:
    file.extractall(folder)
  return folder / "checkpoints" / "3"


BEFORE = {
  "w": np.arange(24, dtype=np.float32).reshape(4, 6),
  "b": np.full(3, 1.5, jnp.bfloat16),
  "key": jax.random.key(5),
  "position": np.int64(2**40),
  "empty": np.zeros((0, 2)),
}


def test_a_step_of_before_is_read_and_checked(tmp_path, caplog):
  step = of_before(tmp_path)
  like = jax.tree.map(lambda x: x if spec("", x).dtype == "key<fry>" else np.zeros_like(x), BEFORE)
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    number, found = checkpoints.restore(like)
    assert (number, same(found, BEFORE)) == (3, True)
    checkpoints.save(3, BEFORE)  # nothing to be done
    with pytest.raises(BadInput, match="has a good step 3 already"):
      checkpoints.save(3, like)
    checkpoints.save(4, BEFORE)
  record = json.loads((step / "digest" / "metadata").read_text())
  del record["seal"]
  record["leaves"]["w"]["digest"] = "0" * 64
  (step / "digest" / "metadata").write_text(json.dumps({**record, "seal": lv.seal(record)}))
  assert Checkpoints(tmp_path).restore(like)[0] == 4
  with pytest.raises(BadInput, match="the values of w are not those that were saved"):
    Checkpoints(tmp_path).restore(like, step=3)


@pytest.mark.parametrize("name", ["a[1]b", r"a\b", r"a\[1] b\c", "a*?"])
def test_what_orbax_did_not_put_together_is_read(tmp_path, name):
  """As it left steps in workdirs of such names, before they were written by a link."""
  step = of_before(tmp_path / name)
  for of_all in (step / "state" / "manifest.ocdbt", step / "state" / "d"):
    shutil.rmtree(of_all) if of_all.is_dir() else of_all.unlink()
  if "\\" in name:
    elsewhere = pathlib.Path(str(step.parent).replace("\\", "/")) / f"3{files.TEMPORARY}"
    elsewhere = elsewhere / f"state{files.TEMPORARY}" / files.part(0)
    elsewhere.parent.mkdir(parents=True)
    (step / "state" / files.part(0)).rename(elsewhere)
  again = Checkpoints(tmp_path / name, keep=3)
  assert same(again.restore(BEFORE)[1], BEFORE)
  again.save(4, BEFORE)  # it goes on there
  again.close()
  assert again.restore(BEFORE)[0] == 4


def test_each_save_is_read_back_before_an_older_one_goes(tmp_path, monkeypatch):
  true = files.put

  def damaging(step, cells):
    one = cells["x"]
    changed = [(box, array + (step.name[0] == "2")) for box, array in one.copies]
    true(step, {"x": dataclasses.replace(one, copies=changed)})

  monkeypatch.setattr(files, "put", damaging)
  checkpoints = Checkpoints(tmp_path, keep=1)
  checkpoints.save(1, {"x": np.arange(4.0)})
  checkpoints.save(2, {"x": np.arange(4.0)})
  with pytest.raises(BadInput, match=r"step 2 could not be written: the values of x .* is step 1"):
    checkpoints.wait()
  assert "1" in [path.name for path in (tmp_path / "checkpoints").iterdir()]
