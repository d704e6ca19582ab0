"""Cuts out of JobSet's CRD what the recipe is held against: python make_jobset_schema.py CRD.yaml.

The file is config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml of kubernetes-sigs/jobset; the
one in the tree was made of commit 08dfbdfd. Of what the recipe has, every level keeps the names and
types of all its fields; what lies below a field that the recipe lacks is left out.
"""

import json
import pathlib
import sys

import yaml

from maskjax.recipes import recipe

KEPT = ("type", "enum", "required", "x-kubernetes-int-or-string")


def cut(schema, used):
  """The part of a schema that says of every field of `used` what it may be."""
  kept = {key: schema[key] for key in KEPT if key in schema}
  if isinstance(used, list):
    return {**kept, "items": cut(schema["items"], merged(used))}
  fields = schema.get("properties", {})
  if "additionalProperties" in schema:
    kept["additionalProperties"] = cut(schema["additionalProperties"], None)
  if not isinstance(used, dict) or not fields:
    return kept
  return {**kept, "properties": {k: cut(v, used.get(k)) for k, v in sorted(fields.items())}}


def merged(items):
  """All fields that any of a list's items has."""
  return {k: v for item in items if isinstance(item, dict) for k, v in item.items()} or None


if __name__ == "__main__":
  definition = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text())
  version = next(v for v in definition["spec"]["versions"] if v["name"] == "v1alpha2")
  made = cut(version["schema"]["openAPIV3Schema"], yaml.safe_load(recipe("jobset")))
  path = pathlib.Path(__file__).with_name("jobset_schema.json")
  path.write_text(json.dumps(made, separators=(",", ":")) + "\n")
