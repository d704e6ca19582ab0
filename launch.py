"""The single launch script: every job of every config.

python launch.py --config=configs/image_mim/mae.py[:preset,key=value] --workdir=DIR
  [--config.key=value …]
python launch.py --list [--json]
python launch.py --config=… --plan=v5e:16x16 [--json]    what it would need and take there
python launch.py --describe=ID[:preset]                     the values and losses of its graph

On several machines the same command runs on each: on TPU pods, under Slurm and Open MPI and in
indexed jobs of Kubernetes they find each other, elsewhere add on machine I of N
--coordinator=HOST:PORT --num_processes=N --process_id=I, HOST being that of process 0, or set
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. They call a roll at the next port, in
jobs of Slurm and Open MPI 32768 below (or --roll_port), and wait for all of them for 300 seconds
(--roll_timeout). Where a launcher speaks of several processes that nobody finds, nothing is begun;
--num_processes=1 is for a run of its own.

A config's key is dotted, `select.ratio`; a value is a Python literal, `(64, 64)`, or plain words.
Exit status: 0 done, 2 bad input, 75 stopped before the end (start again to go on), 1 a bug of ours.
"""

import pathlib
import sys

from maskjax.cli import main

if __name__ == "__main__":
  sys.exit(main(sys.argv, configs=pathlib.Path(__file__).parent / "configs", usage=__doc__))
