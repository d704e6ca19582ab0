"""Zero-shot accuracy against an oracle with a space in which words are known."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from maskjax.data import captions
from maskjax.errors import BadInput
from maskjax.record import Record
from maskjax.train.evaluators.zero_shot import zero_shot
from maskjax.train.mesh.mesh import make_mesh

NAMES = ("cat", "dog", "fire_truck")
TEMPLATES = ("a {name}.", "the {name}, bright", "one {name}")
RECORD, _ = captions.of(
  Record("image", (4, 4, 3), {"test": 50}, class_names=NAMES), {}, length=8, templates=TEMPLATES
)


def context(noise=0.0, **more):
  """Texts lie at the sum of their words' vectors; images near those of their class."""
  rng = np.random.default_rng(0)
  vectors = jnp.asarray(rng.normal(size=(len(RECORD.vocabulary), 6)), jnp.float32)
  label = rng.integers(0, 3, 50).astype(np.int32)
  seen = []

  def describe(variables, ids):
    seen.append(ids.shape)
    there = (ids >= 0)[..., None]
    return jnp.sum(jnp.where(there, variables["vectors"][jnp.maximum(ids, 0)], 0), axis=1)

  ids = captions.encode([f"the {captions.spoken(n)}, bright" for n in NAMES], RECORD, 8)
  centres = np.asarray(describe({"vectors": vectors}, jnp.asarray(ids)))
  image = centres[label] + noise * rng.normal(size=(50, 6))

  def features(split, pooling, limit=None):
    assert (split, pooling) == ("test", "shared")
    return image[:limit].astype(np.float32), label[:limit]

  return types.SimpleNamespace(
    record=RECORD, features=features, step=0,
    task=types.SimpleNamespace(answers={"describe": describe}),
    variables={"vectors": vectors}, mesh=make_mesh(), image=image, label=label, seen=seen, **more,
  )  # fmt: skip


def by_hand(found, templates, limit=None):
  """Float64, class by class."""
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  vectors = np.asarray(found.variables["vectors"], np.float64)
  means = []
  for name in map(captions.spoken, NAMES):
    rows = captions.encode([captions.fill_in(t, name=name) for t in templates], RECORD, 8)
    means.append(np.mean([unit(vectors[row[row >= 0]].sum(0)) for row in rows], axis=0))
  guess = (unit(found.image[:limit]) @ unit(np.stack(means)).T).argmax(-1)
  return (guess == found.label[:limit]).mean()


@pytest.mark.parametrize("limit", [None, 20])
def test_equals_the_oracle(limit):
  found = context(noise=2.0)
  result = zero_shot(found, templates=TEMPLATES, limit=limit)
  assert result["accuracy"] == by_hand(found, TEMPLATES, limit)
  assert result["one"] == by_hand(found, TEMPLATES[:1], limit)
  assert 1 / 3 < result["accuracy"] < 1
  assert set(found.seen) == {(3, 8), (9, 8)}


def test_images_at_their_description_are_known():
  assert zero_shot(context(), templates=TEMPLATES[1:2]) == {"accuracy": 1.0, "one": 1.0}


@pytest.mark.parametrize("templates", [(), ("a cat",), ("a {colour} {name}",)])
def test_templates_name_the_class_alone(templates):
  with pytest.raises(BadInput, match=r"templates that name \{name\} alone"):
    zero_shot(context(), templates=templates)
