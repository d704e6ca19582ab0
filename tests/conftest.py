"""What every test runs under: the CPU, few compilations, quiet logs. Set before jax is imported."""

import ctypes
import functools
import gc
import importlib.metadata
import importlib.util
import logging
import os
import pathlib
import sys

import pytest

# Modules that tests share, and the package that a user writes.
sys.path.append(str(pathlib.Path(__file__).parent))

# Scripts that made the golden values or run authors' code beside ours, with packages that tests do
# without, and those that want several devices: both run in processes of their own.
collect_ignore_glob = [
  "golden/make_*.py",
  "golden/beside*.py",
  "golden/parts_*.py",
  "check_*.py",
  "*/check_*.py",
  "*/gcs_server.py",
]

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Two workers on two cores: threads of scikit-learn and BLAS beside them would only wait, busily.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Tests compile thousands of small programs and run each for a moment. The fusion emitters, which go
# through MLIR, make a third of what a small program takes to compile; jax 0.11 has no other way.
FAST_TO_COMPILE = (
  "--xla_backend_optimization_level=0",
  "--xla_cpu_parallel_codegen_split_count=1",
)
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):
  FAST_TO_COMPILE += ("--xla_cpu_use_fusion_emitters=false",)
os.environ["XLA_FLAGS"] = " ".join((*FAST_TO_COMPILE, os.environ.get("XLA_FLAGS", "")))
# Nobody reads in a program from which lines its operations come, 3 % of what the suite takes.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

# Tracing makes many small objects that live on; every 700 of them Python would look for cycles, in
# an eighth of the suite's time.
gc.set_threshold(100_000, 10, 20)


def beside(name):
  """The module `name` in this folder, which tests share."""
  if name not in sys.modules:
    file = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
  return sys.modules[name]


def pytest_configure(config):
  """Counts CPU-seconds wherever tests are, doctests of the package too."""
  config.pluginmanager.register(beside("budget").Budget(), "cpu_seconds")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
  """Orders tests by what they share, see together.py."""
  beside("together").order(items)


def pytest_collection_finish():
  """What is imported stays, so nobody looks for cycles there: half of what the search takes."""
  gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """Gives tests that share something to one worker."""
  return beside("together").Groups(config, log) if config.option.dist == "loadfile" else None


@pytest.fixture(scope="session")
def built():
  """`built("mae", "laptop")`: what a config builds at smoke size, see built.py; once a config."""
  beside("vectors")
  make = beside("built").Built
  made = {}

  def build(name, preset=""):
    if (name, preset) not in made:
      # Of one config at a time: tests of the others come before or after.
      for other in [key for key in made if key[0] != name]:
        del made[other]
      made[name, preset] = make(name, preset)
    return made[name, preset]

  return build


@pytest.fixture(scope="session")
def behaviour():
  """What reads a config's behaviour and compares it, see behaviour.py."""
  return beside("behaviour")


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory):
  """One compile cache for the session, its xdist workers and the processes that tests start."""
  import jax

  base = tmp_path_factory.getbasetemp()
  shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
  settings = {"compilation_cache_dir": str(shared / "compile_cache")}
  # What is compiled sooner than it is written and read is not kept.
  settings["persistent_cache_min_compile_time_secs"] = "0.1"
  for name, value in settings.items():
    value = os.environ.setdefault(f"JAX_{name}".upper(), value)
    jax.config.update(f"jax_{name}", float(value) if name.endswith("secs") else value)


@pytest.fixture(scope="session", autouse=True)
def dialects():
  """One MLIR context for the programs of a file: jax makes one for each, in a tenth of its time.

  There is no public way; where jax has changed it, contexts are made as jax makes them.
  """
  from jax._src.interpreters import mlir

  make = getattr(mlir, "make_ir_context", None)
  if make is not None:
    make = mlir.make_ir_context = functools.cache(make)
  return make


@pytest.fixture(scope="module", autouse=True)
def forgotten(dialects):
  """Forgets compiled functions after a file: over a suite they fill the memory.

  To keep them until a worker takes a gigabyte saves 1 % (745 and 753 CPU-seconds, half the suite).
  """
  yield
  import jax

  jax.clear_caches()
  if dialects is not None:
    dialects.cache_clear()
  # glibc keeps what the compiler's many threads gave back.
  if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
    libc.malloc_trim(0)


@pytest.fixture(autouse=True)
def quiet_log():
  """Begins every test with the log as Python makes it, whatever the command line did to it."""
  log = logging.getLogger("maskjax")
  log.setLevel(logging.NOTSET)
  log.propagate, log.handlers = True, []
