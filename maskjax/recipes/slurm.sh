#!/bin/bash
# A run on Slurm: sbatch slurm.sh --config=mae --workdir=/shared/runs/mae
#
# One task a node, which takes all of the node's GPUs; the log says "8 of 8 local devices". The
# workdir is a folder that all nodes see, or a bucket. SIGTERM comes 300 s before the time limit
# (and from a preemption): all nodes save at the same step and leave with 75.
#SBATCH --job-name=maskjax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=maskjax-%j.log

# 0 done, 2 bad input, 1 a bug: the end. 75, or 128 and more where a process was killed: the job
# goes back into the queue and continues from its last checkpoint. 126 and 127, no such program: the
# end; begin with what activates the environment, and add #SBATCH --account, --partition of yours.
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" python -m maskjax "$@"
status=$?
if { [ "$status" -eq 75 ] || [ "$status" -gt 127 ]; } && [ "${SLURM_RESTART_COUNT:-0}" -lt 100 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
