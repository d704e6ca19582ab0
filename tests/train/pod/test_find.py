"""Whether a launch is one of several: flags, clusters, and what cannot be."""

import pytest

from maskjax.errors import BadInput
from maskjax.train.pod import find, place

GOOD = {"coordinator": "node0:1234", "num_processes": "4", "process_id": "3"}


def test_flags():
  where = find.find({**GOOD, "roll_timeout": "7"}, {})
  assert where == place.place("node0:1234", 4, 3, seconds=7.0)
  assert (where.host, where.port) == ("node0", 1235)
  assert find.find({**GOOD, "num_processes": "1", "process_id": "0"}, {}) is None
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
    ({"roll_port": "1234"}, "roll_port 1234 is no free port"),
    ({"roll_timeout": "0"}, "roll_timeout must be positive"),
  ],
)
def test_places_that_cannot_be(changes, says):
  with pytest.raises(BadInput) as error:
    find.find({**GOOD, **changes}, {})
  assert says in str(error.value)


SLURM = {
  "SLURM_JOB_ID": "4100",
  "SLURM_STEP_NODELIST": "node[007-009]",
  "SLURM_NTASKS": "3",
  "SLURM_PROCID": "2",
  "SLURM_LOCALID": "0",
}
OPEN_MPI = {
  "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
  "OMPI_COMM_WORLD_SIZE": "2",
  "OMPI_COMM_WORLD_RANK": "1",
  "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}


@pytest.mark.parametrize(
  ("environment", "host", "count", "index", "devices"),
  [(SLURM, "node007", 3, 2, (0,)), (OPEN_MPI, "10.96.0.1", 2, 1, (1,))],
  ids=["slurm", "open_mpi"],
)
def test_clusters_that_jax_knows(monkeypatch, environment, host, count, index, devices):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  where = find.find({})
  assert (where.host, where.count, where.index, where.devices) == (host, count, index, devices)
  assert find.find({"num_processes": "1"}) is None
  monkeypatch.setenv(next(n for n in environment if n.endswith(("NTASKS", "SIZE"))), "1")
  assert find.find({}) is None


def test_a_cluster_that_does_not_say_enough(monkeypatch):
  monkeypatch.setenv("OMPI_MCA_orte_hnp_uri", "1531576320.0;udp://x")
  with pytest.raises(BadInput, match=r"looks like a cluster.*give --coordinator"):
    find.find({})


def test_no_cluster_here():
  assert find.find({}, {}) is None
  assert find.find({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None
