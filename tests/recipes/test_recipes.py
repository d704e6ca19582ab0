"""Recipes are short, hold our command lines and exit codes, and JobSet's fields."""

import copy
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib
import types

import pytest
import yaml
from jax.errors import JaxRuntimeError

from maskjax import flags, recipes
from maskjax.cli import main

ROOT = pathlib.Path(__file__).parents[2]
SCHEMA = json.loads(pathlib.Path(__file__).with_name("jobset_schema.json").read_text())
WORDS = ["--config=mae", "--workdir=w"]


@pytest.mark.parametrize("name", recipes.FILES)
def test_a_recipe_is_short_and_printed(name, capsys):
  assert main(["launch.py", f"--recipe={name}"]) == 0
  text = capsys.readouterr().out
  assert text == recipes.FILES[name].read_text()
  assert len(text.splitlines()) <= 40


def test_all_are_listed_and_an_unknown_one_is_not_guessed(capsys):
  assert main(["launch.py", "--recipe"]) == 0
  assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
    f"--recipe={name}" for name in sorted(recipes.FILES)
  ]
  assert main(["launch.py", "--recipe=slrum", "--workdir=w"]) == 2
  assert "unknown recipe 'slrum'; did you mean 'slurm'?" in capsys.readouterr().err


def test_command_lines_are_ours():
  found = {}
  for name in recipes.FILES:
    text = re.sub(r"[\[\],]", " ", recipes.recipe(name))
    for words in re.findall(r"--config=\S+ +--workdir=\S+", text):
      found[name] = flags.parse(shlex.split(words)).config
  assert found == dict.fromkeys(set(recipes.FILES) - {"dockerfile"}, "mae")


def test_extras_exist():
  text = " ".join(map(recipes.recipe, recipes.FILES))
  extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
  assert set(re.findall(r"(?:maskjax|whl\))\[(\w+)\]", text)) == {"ray", "gcs"} <= set(extras)


@pytest.fixture
def shell(tmp_path):
  """`shell(name, given, **programs)` runs a recipe with programs of one's own; what they said."""

  def call(name, *given, status=0, **programs):
    for program, lines in programs.items():
      (tmp_path / program).write_text(f"#!/bin/sh\n{lines}\n")
      (tmp_path / program).chmod(0o755)
    file = tmp_path / "recipe"
    file.write_text(recipes.recipe(name))
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", str(file), *given], env=environment, capture_output=True)
    assert done.returncode == status, done.stderr
    return done.stdout.decode().splitlines()

  return call


@pytest.mark.parametrize(("status", "again"), [(0, 0), (1, 0), (2, 0), (127, 0), (75, 1), (137, 1)])
def test_slurm_requeues_what_is_to_be_started_again(shell, status, again):
  srun = f'shift; echo "$@"; exit {status}'
  said = shell("slurm", *WORDS, status=status, srun=srun, scontrol='echo "$@"')
  assert said == [" ".join(["python -m maskjax", *WORDS]), *["requeue 7"] * again]


@pytest.mark.parametrize(("last", "first"), [(0, 75), (1, 75), (2, 137)])
def test_openmpi_starts_again_what_is_to_be_started_again(shell, tmp_path, last, first):
  mpirun = f"""
echo "$2 $JAX_COORDINATOR_ADDRESS"; shift 6
export OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1
"$@" || exit; [ -e {tmp_path}/second ] && exit {last}; touch {tmp_path}/second; exit {first}"""
  python = 'echo "$JAX_NUM_PROCESSES $JAX_PROCESS_ID $*"'
  words = ["a:1,b:1", *WORDS]
  said = shell("openmpi", *words, status=last, mpirun=mpirun, python=python, hostname="echo a")
  assert said == ["a:1,b:1 a:8476", " ".join(["2 1 -m maskjax", *WORDS])] * 2


def test_xpk_starts_again_on_75(shell):
  said = shell("xpk", "c", *WORDS, xpk='printf "%s\\n" "$@"')
  assert {"--cluster=c", "--restart-on-exit-codes=75"} < set(said)
  assert said[-1] == "--command=exec python -m maskjax --config=mae --workdir=w"


def test_skypilot_recovers_from_75_alone(tmp_path, shell):
  task = yaml.safe_load(recipes.recipe("skypilot"))
  recovery = task["resources"]["job_recovery"]
  assert recovery == {"max_restarts_on_errors": 0, "recover_on_exit_codes": [75]}
  nodes = {"SKYPILOT_NODE_IPS": "a\nb", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}
  show = "python() { env; }; exec() { $*; }\n"  # the place that our process finds
  run = subprocess.run(
    ["bash", "-c", show + task["run"]], env={**os.environ, **nodes, "WORKDIR": "w"},
    capture_output=True, text=True, check=True,
  )  # fmt: skip
  place = {"JAX_COORDINATOR_ADDRESS=a:8476", "JAX_NUM_PROCESSES=2", "JAX_PROCESS_ID=1"}
  assert place <= set(run.stdout.splitlines())


def wrong(value, schema, path="jobset"):
  """What of a value is not as a schema says: unknown fields, missing ones, other types."""
  kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
  kind = schema.get("type")
  if schema.get("x-kubernetes-int-or-string"):
    return [] if isinstance(value, int | str) else [f"{path}: a number or text"]
  if kind and not isinstance(value, kinds[kind]):
    return [f"{path}: {kind}"]
  if "enum" in schema and value not in schema["enum"]:
    return [f"{path}: {value}"]
  found = []
  if kind == "array":
    for i, item in enumerate(value):
      found += wrong(item, schema["items"], f"{path}[{i}]")
  if kind == "object" and "additionalProperties" in schema:
    for key, item in value.items():
      found += wrong(item, schema["additionalProperties"], f"{path}.{key}")
  elif kind == "object" and "properties" in schema:
    found += [f"{path}: no {key}" for key in schema.get("required", []) if key not in value]
    for key, item in value.items():
      fields = schema["properties"]
      found += wrong(item, fields[key], f"{path}.{key}") if key in fields else [f"{path}.{key}?"]
  return found


def misspelt(value, path="jobset"):
  """Every copy of a value of which one field has another name, and that name's path."""
  items = value.items() if isinstance(value, dict) else enumerate(value)
  for key, item in items:
    step = f"{path}.{key}" if isinstance(value, dict) else f"{path}[{key}]"
    if isinstance(value, dict):
      other = {f"{k}s" if k == key else k: v for k, v in value.items()}
      yield other, f"{step}s?"
    if isinstance(item, dict | list):
      for changed, place in misspelt(item, step):
        one = copy.copy(value)
        one[key] = changed
        yield one, place


def test_jobset_is_of_its_published_schema_and_a_misspelt_field_is_not():
  job = yaml.safe_load(recipes.recipe("jobset"))
  assert wrong(job, SCHEMA) == []
  # Limits of a resource have free names; the schema lacks the fields of metadata.
  free = lambda at: "limits." in at or "metadata." in at
  every = [(other, at) for other, at in misspelt(job) if not free(at)]
  assert len(every) > 40
  for other, at in every:
    assert at in wrong(other, SCHEMA), at


def test_jobset_ends_on_1_and_2_and_names_its_own_first_pod():
  job = yaml.safe_load(recipes.recipe("jobset"))
  [run] = job["spec"]["replicatedJobs"]
  spec = run["template"]["spec"]
  assert job["spec"]["failurePolicy"]["rules"] == [
    {"name": "end", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
  ]
  assert [rule["onExitCodes"]["values"] for rule in spec["podFailurePolicy"]["rules"]] == [[1, 2]]
  [container] = spec["template"]["spec"]["containers"]
  variables = {v["name"]: v.get("value") for v in container["env"]}
  name = job["metadata"]["name"]
  assert variables["JAX_COORDINATOR_ADDRESS"] == f"{name}-{run['name']}-0-0.{name}:8476"
  assert int(variables["JAX_NUM_PROCESSES"]) == spec["completions"] == spec["parallelism"]
  assert flags.parse(container["args"]).runs


class Lost(Exception):  # noqa: N818
  """As ray's RayActorError."""


@pytest.mark.parametrize(
  ("ends", "starts", "status"),
  [
    ([75, 0], 2, 0),
    ([Lost(), 2], 2, 2),
    ([JaxRuntimeError("reset"), 1], 2, 1),
    ([1], 1, 1),
  ],
)
def test_ray_starts_anew_on_the_nodes_that_are_left(monkeypatch, ends, starts, status):
  begun, nodes = [], [{"NodeID": i, "NodeManagerAddress": f"n{i}", "Alive": True,
                       "Resources": {"GPU": 8.0}} for i in range(3)]  # fmt: skip

  class Actor:
    def __init__(self, options):
      self.run = types.SimpleNamespace(remote=lambda *given: given)

  def get(given):
    begun.append(given)
    nodes[0]["Alive"] = False
    end = ends[len(begun) - 1]
    if isinstance(end, Exception):
      raise end
    return [0, end]

  kind = types.SimpleNamespace(
    options=lambda label_selector: types.SimpleNamespace(remote=lambda: Actor(label_selector))
  )
  ray = types.SimpleNamespace(
    init=lambda: True, nodes=lambda: nodes, get=get, kill=lambda actor: None,
    remote=lambda **given: lambda cls: kind, exceptions=types.SimpleNamespace(RayActorError=Lost),
  )  # fmt: skip
  monkeypatch.setitem(sys.modules, "ray", ray)
  monkeypatch.setattr(sys, "argv", ["on_ray.py", *WORDS])
  monkeypatch.setattr("signal.signal", lambda *given: None)
  with pytest.raises(SystemExit) as end:
    exec(compile(recipes.recipe("ray"), "on_ray.py", "exec"), {"__name__": "__main__"})
  assert end.value.code == status
  wanted = [[(WORDS, f"n{s}:{8477 + s}", 3 - s, i) for i in range(3 - s)] for s in range(starts)]
  assert begun == wanted
