"""Whether a launch is one of several: flags, environments, and what cannot be."""

import os
import pathlib
import sys
from types import SimpleNamespace

import pytest
from jax._src import cloud_tpu_init, clusters, xla_bridge
from jax._src.clusters import cloud_tpu_cluster

from maskjax.errors import BadInput
from maskjax.train.pod import find, place

GOOD = {"coordinator": "node0:1234", "num_processes": "4", "process_id": "3"}


@pytest.fixture(autouse=True)
def around(monkeypatch):
  """Nothing in the environment that speaks of processes; `around(NAME=…)` adds to it."""
  spoken = ("SLURM_", "OMPI_", "PMI_", "JAX_", "TPU_", "MEGASCALE_", "CUDA_VISIBLE", "KUBERNETES_")
  others = (*find.TOLD, *find.TOLD.values(), find.INDEXED)
  for name in list(os.environ):
    if (name.startswith(spoken) or name in others) and name != "JAX_PLATFORMS":
      monkeypatch.delenv(name)

  def add(**variables):
    for name, value in variables.items():
      monkeypatch.setenv(name, value)

  return add


@pytest.fixture
def on_tpus(around, monkeypatch):
  """As on a machine of GKE with TPUs, whose hosts have names that are found."""
  around(TPU_SKIP_MDS_QUERY="1", MEGASCALE_COORDINATOR_ADDRESS="t0")
  around(MEGASCALE_NUM_SLICES="1", MEGASCALE_SLICE_ID="0")
  for module in (cloud_tpu_init, cloud_tpu_cluster, clusters.cluster):
    monkeypatch.setattr(module, "running_in_cloud_tpu_vm", True)
  monkeypatch.setattr(cloud_tpu_cluster.socket, "gethostbyname", lambda name: "10.0.0.1")


def test_flags():
  where = find.find({**GOOD, "rendezvous_timeout": "7"})
  assert where == place.place("node0:1234", 4, 3, seconds=7.0)
  assert (where.host, where.port) == ("node0", 1235)
  assert find.find({**GOOD, "num_processes": "1", "process_id": "0"}) is None
  assert place.loads(place.dumps(where)) == where


@pytest.mark.parametrize(
  ("changes", "says"),
  [
    ({"process_id": "4"}, "process_id 4 is not among 4 process(es), 0 to 3"),
    ({"process_id": "-1"}, "process_id -1 is not among"),
    ({"process_id": ""}, "--coordinator and --num_processes given without --process_id"),
    ({"coordinator": "", "num_processes": ""}, "--process_id given without --coordinator and"),
    ({"coordinator": "node0"}, "the coordinator is HOST:PORT, got 'node0'"),
    ({"coordinator": "node0:"}, "the coordinator is HOST:PORT"),
    ({"coordinator": ":80"}, "the coordinator is HOST:PORT"),
    ({"coordinator": "node0:70000"}, "the coordinator is HOST:PORT"),
    ({"num_processes": "0"}, "num_processes must be at least 1"),
    ({"num_processes": "two"}, "--num_processes must be a number, got 'two'"),
    ({"rendezvous_port": "1234"}, "rendezvous_port 1234 is no free port"),
    ({"rendezvous_timeout": "0"}, "rendezvous_timeout must be positive"),
  ],
)
def test_places_that_cannot_be(changes, says):
  with pytest.raises(BadInput) as error:
    find.find({**GOOD, **changes})
  assert says in str(error.value)


POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
THREE = {
  "JAX_COORDINATOR_ADDRESS": "node0:1234",
  "JAX_NUM_PROCESSES": "4",
  "JAX_PROCESS_ID": "3",
}
SLURM = {
  "SLURM_JOB_ID": "4100",
  "SLURM_STEP_NODELIST": "node[007-009]",
  "SLURM_NTASKS": "3",
  "SLURM_PROCID": "2",
  "SLURM_LOCALID": "0",
  "SLURM_NODEID": "2",
  "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
}
FOUR_A_NODE = SLURM | {
  "SLURM_NTASKS": "8",
  "SLURM_PROCID": "5",
  "SLURM_LOCALID": "1",
  "SLURM_NODEID": "1",
  "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}
OPEN_MPI = {
  "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
  "OMPI_COMM_WORLD_SIZE": "2",
  "OMPI_COMM_WORLD_RANK": "1",
  "OMPI_COMM_WORLD_LOCAL_RANK": "1",
  "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
EIGHT, FOUR = ({"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(n)))} for n in (8, 4))
TPUS = {"TPU_WORKER_HOSTNAMES": "t0,t1", "TPU_WORKER_ID": "1"}


@pytest.mark.parametrize(
  ("environment", "host", "count", "index", "devices"),
  [
    (THREE, "node0", 4, 3, None),
    (THREE | POD, "node0", 4, 3, None),
    (THREE | SLURM, "node0", 4, 3, None),  # these go first
    (THREE | {"JAX_LOCAL_DEVICE_IDS": "2,3"}, "node0", 4, 3, (2, 3)),
    (THREE | {"JAX_COORDINATOR_ADDRESS": "x", "JAX_COORDINATOR_PORT": "9"}, "x", 4, 3, None),
    ({"JAX_COORDINATOR_ADDRESS": "other:99"} | SLURM, "other", 3, 2, None),
    # A sole task of a node has all that it sees, also where jax gives it the first alone.
    (SLURM, "node007", 3, 2, None),
    (SLURM | EIGHT, "node007", 3, 2, None),
    (SLURM | EIGHT | {"JAX_LOCAL_DEVICE_IDS": "0,4"}, "node007", 3, 2, (0, 4)),
    # Several share what is listed, unless each is shown its own ones only.
    (FOUR_A_NODE, "node007", 8, 5, (1,)),
    (FOUR_A_NODE | FOUR, "node007", 8, 5, (1,)),
    (FOUR_A_NODE | EIGHT, "node007", 8, 5, (2, 3)),
    (FOUR_A_NODE | {"CUDA_VISIBLE_DEVICES": "1"}, "node007", 8, 5, None),
    (FOUR_A_NODE | EIGHT | {"SLURM_GPUS_PER_TASK": "8"}, "node007", 8, 5, None),
    (FOUR_A_NODE | FOUR | {"SLURM_STEP_GPUS": "0,1,2,3,4,5,6,7"}, "node007", 8, 5, None),
    (OPEN_MPI, "10.96.0.1", 2, 1, (1,)),
    (OPEN_MPI | FOUR, "10.96.0.1", 2, 1, (2, 3)),
    (OPEN_MPI | EIGHT | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, "10.96.0.1", 2, 1, None),
  ],
)
def test_environments_of_several_processes(around, environment, host, count, index, devices):
  around(**environment)
  where = find.find({})
  assert (where.host, where.count, where.index, where.devices) == (host, count, index, devices)
  assert find.find({"num_processes": "1"}) is None
  around(JAX_NUM_PROCESSES="1")
  assert find.find({}) is None


@pytest.mark.parametrize(
  "more", [{}, POD, POD | {"JOB_COMPLETION_INDEX": "1"}], ids=["alone", "ray", "job"]
)
def test_tpu_pods_with_an_indexed_job_and_without(around, on_tpus, more):
  around(**TPUS, **more)
  where = find.find({})
  assert (where.coordinator, where.count, where.index) == ("t0:8482", 2, 1)
  around(TPU_WORKER_HOSTNAMES="t0", TPU_WORKER_ID="0")
  assert find.find({}) is None


def test_an_indexed_job_with_the_package_of_kubernetes(around, monkeypatch):
  kind = clusters.K8sCluster
  monkeypatch.setattr(kind, "is_env_present", lambda: True)
  monkeypatch.setattr(kind, "get_coordinator_address", lambda **given: "job-0.svc:55527")
  monkeypatch.setattr(kind, "get_process_count", lambda: 4)
  around(**POD)
  assert find.find({}) is None  # a pod of no indexed job, of which jax would raise
  around(JOB_COMPLETION_INDEX="2")
  where = find.find({})
  assert (where.coordinator, where.count, where.index, where.port) == (
    "job-0.svc:55527",
    4,
    2,
    55528,
  )


@pytest.mark.parametrize(
  ("environment", "says"),
  [
    (
      POD | {"JOB_COMPLETION_INDEX": "2"},
      "pip install kubernetes, or give --coordinator=",
    ),
    (POD | {"JOB_COMPLETION_INDEX": "2"}, "--process_id=2"),
    (TPUS | POD, "TPU_WORKER_HOSTNAMES names 2 hosts, but jax finds no TPU here"),
    ({"LWS_GROUP_SIZE": "4", "LWS_WORKER_INDEX": "0"}, "LWS_GROUP_SIZE=4 and LWS_WORKER_INDEX=0"),
    ({"WORLD_SIZE": "2", "RANK": "1"}, "--num_processes=2 --process_id=1"),
    (
      {"NUM_PROCESSES": "2", "PROCESS_ID": "1"},
      "NUM_PROCESSES=2 and PROCESS_ID=1 speak",
    ),
    ({"PMI_SIZE": "8", "PMI_RANK": "0"}, "PMI_SIZE=8"),
    ({k: v for k, v in OPEN_MPI.items() if "hnp" not in k}, "OMPI_COMM_WORLD_SIZE=2"),  # Open MPI 5
    ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, "SLURM_NTASKS=4"),  # no srun
    ({"JAX_COORDINATOR_ADDRESS": "node0:1"}, "given without JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
    ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, "given without JAX_COORDINATOR_ADDRESS"),
    (THREE | {"JAX_PROCESS_ID": "x"}, "JAX_PROCESS_ID must be a number, got 'x'"),
    (THREE | {"JAX_LOCAL_DEVICE_IDS": "a"}, "JAX_LOCAL_DEVICE_IDS is a list of numbers"),
    ({"OMPI_MCA_orte_hnp_uri": "1531576320.0;udp://x"}, "looks like a cluster, but"),
    (FOUR_A_NODE | {"CUDA_VISIBLE_DEVICES": "0,1"}, "4 processes on this machine cannot share 2"),
  ],
)
def test_environments_that_are_refused_with_a_cure(around, environment, says):
  around(**environment)
  with pytest.raises(BadInput) as error:
    find.find({})
  assert says in str(error.value)
  around(JAX_NUM_PROCESSES="1")
  assert find.find({}) is None
  find.refuse_several()


@pytest.mark.parametrize(
  "environment",
  [
    {},
    POD,
    {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"},  # a shell of salloc
    {"WORLD_SIZE": "1", "RANK": "0"},
    {"NUM_PROCESSES": "8"},  # somebody's own
    {"TPU_WORKER_HOSTNAMES": "localhost"},
    SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
  ],
)
def test_environments_of_one_process(around, environment):
  around(**environment)
  assert find.find({}) is None


def test_no_port_of_a_roll_is_that_of_another_job(around):
  around(**SLURM)
  taken = set()
  for job in range(4096):
    around(SLURM_JOB_ID=str(job))
    where = find.find({})
    taken |= {int(where.coordinator.rpartition(":")[2]), where.port}
  assert len(taken) == 2 * 4096
  assert not [port for port in taken if 32768 <= port < 61000]  # from where Linux takes its own
  assert find.find({"rendezvous_port": "99"}).port == 99


@pytest.mark.parametrize("begun", [True, False])
def test_no_interpreter_is_taken_from_another_program(monkeypatch, begun):
  left = []
  monkeypatch.setattr(os, "execv", lambda *given: left.append(given))
  monkeypatch.setattr(xla_bridge, "backends_are_initialized", lambda: begun)
  where = place.place("node0:1234", 4, 3)
  says = "jax has begun" if begun else "another program runs"
  monkeypatch.setattr(sys, "argv", ["launch.py", "--config=mae.py"])
  argv = [*sys.argv] if begun else ["other.py", "--config=mae.py"]
  with pytest.raises(BadInput, match=f"process 3 of 4 cannot start where {says}"):
    find.become_parent(where, argv)
  assert not left
  monkeypatch.setattr(xla_bridge, "backends_are_initialized", lambda: False)
  find.become_parent(where, [*sys.argv])
  ((program, words),) = left
  assert (program, words[3:]) == (sys.executable, [sys.executable, *sys.argv])


def test_a_module_is_run_again_as_one(monkeypatch):
  # As a script its folder, where names such as `select` lie, would be searched first.
  left, origin = [], str(pathlib.Path(find.__file__).parents[2] / "__main__.py")
  spec = SimpleNamespace(name="maskjax.__main__", origin=origin)
  monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
  monkeypatch.setattr(sys, "argv", [origin, "--workdir=w"])
  monkeypatch.setattr(os, "execv", lambda *given: left.append(given))
  monkeypatch.setattr(xla_bridge, "backends_are_initialized", lambda: False)
  find.become_parent(place.place("node0:1234", 4, 3), [*sys.argv])
  ((_, words),) = left
  assert words[3:] == [sys.executable, "-m", "maskjax", "--workdir=w"]
