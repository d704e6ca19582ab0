"""What is counted in programs compiled for 8 simulated devices, against counting by hand."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
LAYERS, WIDTH, BATCH = 3, 64, 32


@pytest.fixture(scope="module")
def found():
  script = HERE / "check_plan.py"
  env = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "JAX_PLATFORMS": "cpu"}
  command = [sys.executable, str(script)]
  done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


def test_a_scan_counts_as_its_layers_unrolled(found):
  assert found["scanned"] == found["unrolled"]
  assert found["scanned"]["unknown"] == 0


def test_trip_counts_come_from_the_condition_where_the_compiler_left_no_word(found):
  assert found["scan without known trip counts"] == found["scanned"]


def test_the_layers_count_as_by_hand(found):
  rows = BATCH // 2
  assert found["scanned"]["flops"] == LAYERS * 2 * rows * WIDTH * WIDTH
  whole = LAYERS * 4 * rows * WIDTH
  kinds = found["scanned"]["collectives"]
  assert kinds["all-reduce"] == {"runs": LAYERS, "bytes": whole, "sent": whole}
  assert kinds["collective-permute"] == {"runs": LAYERS, "bytes": whole, "sent": whole}
  assert kinds["reduce-scatter"] == {"runs": LAYERS, "bytes": whole, "sent": 0.75 * whole}
  assert kinds["all-to-all"] == {"runs": LAYERS, "bytes": whole, "sent": 0.75 * whole}
  parts = whole / 4 + LAYERS * 4 * WIDTH * WIDTH / 4
  assert kinds["all-gather"] == {"runs": 2 * LAYERS, "bytes": parts, "sent": 3 * parts}


def test_groups_are_those_of_the_mesh_axes(found):
  groups = dict(found["scanned"]["groups"])
  assert groups["all-reduce"] == [0, 4]
  assert groups["reduce-scatter"] == groups["all-to-all"] == [0, 1, 2, 3]


def test_loops_within_loops_multiply(found):
  assert found["nested"]["flops"] == 3 * found["scanned"]["flops"]
  for kind, row in found["scanned"]["collectives"].items():
    assert found["nested"]["collectives"][kind] == {name: 3 * n for name, n in row.items()}


def test_a_loop_without_known_end_is_counted_once_and_told(found):
  assert found["unbounded"]["unknown"] == 1
  assert found["unbounded"]["flops"] == 2 * BATCH // 2 * WIDTH * WIDTH


def test_a_conditional_counts_its_dearest_branch(found):
  assert found["branched"]["flops"] == 2 * 2 * BATCH // 2 * WIDTH * WIDTH


def blocks(depth, tokens, width):
  """Forward FLOPs of transformer blocks for one example, MLPs four times as wide."""
  return depth * (2 * tokens * 12 * width**2 + 4 * tokens**2 * width)


def test_flops_of_a_vit_step_are_the_analytic_count(found):
  seen, all_, pixels = 16, 64, 48
  forward = 2 * seen * pixels * 64 + blocks(1, seen + 1, 64) + 2 * (seen + 1) * 64 * 32
  forward += blocks(1, all_ + 1, 32) + 2 * (all_ + 1) * 32 * pixels
  for plan in found["plans"].values():
    assert plan["flops"]["model"] == pytest.approx(3 * 64 * forward, rel=0.02)
    assert plan["flops"]["compiled_per_chip"] == pytest.approx(3 * 8 * forward, rel=0.02)


def test_data_parallel_training_reduces_every_gradient_once(found):
  plan = found["plans"]["data"]
  parameters = plan["memory"]["parameters"]
  assert plan["memory"]["optimiser"] == pytest.approx(2 * parameters, abs=16)
  assert plan["memory"]["batch"] == 8 * (32 * 32 * 3 * 4 + 4)
  assert plan["collectives"]["all-reduce"]["bytes"] == pytest.approx(parameters, rel=0.01)
  assert plan["collectives"].keys() == {"all-reduce"}


def test_pmap_is_planned_as_data(found):
  assert found["plans"]["pmap"]["memory"] == found["plans"]["data"]["memory"]
  assert found["plans"]["pmap"]["collectives"] == found["plans"]["data"]["collectives"]


def test_fsdp_holds_an_eighth_and_gathers_what_it_needs(found):
  whole, cut = found["plans"]["data"]["memory"], found["plans"]["fsdp"]["memory"]
  assert cut["parameters"] < 0.2 * whole["parameters"]
  assert cut["optimiser"] < 0.2 * whole["optimiser"]
  assert cut["batch"] == whole["batch"]
  assert "all-gather" in found["plans"]["fsdp"]["collectives"]


def test_a_plan_for_gpus_says_what_it_does_not_know(found):
  plan = found["plans"]["data"]
  assert "not the GPU's" in plan["notes"][0]
  assert "temporaries" not in plan["memory"]
  assert "temporaries not counted" in plan["verdict"]
  assert "largest_batch" not in plan


def test_the_bound_is_the_largest_of_three(found):
  for plan in found["plans"].values():
    bound, constants = plan["bound"], plan["constants"]
    done, sent = plan["flops"]["compiled_per_chip"], plan["collectives"].values()
    assert bound["compute"] == done / constants["flops"]
    assert bound["memory"] == plan["traffic"] / constants["bandwidth"]
    links = sum(row["sent"] for row in sent) / (constants["links"] * constants["link"])
    assert bound["links"] == pytest.approx(links)
    assert bound["seconds"] == max(bound["compute"], bound["memory"], bound["links"])
    rate = plan["flops"]["model"] / bound["seconds"]
    assert bound["mfu"] == pytest.approx(min(1, rate / (8 * constants["flops"])))
