#!/bin/sh
# A run under Open MPI: sh openmpi.sh HOSTS --config=mae --workdir=/shared/runs/mae
#
# HOSTS as mpirun takes them, "node0:1,node1:1"; the first is this one. Open MPI only starts the
# processes: jax needs no MPI, but from version 5 on is told who is who by these three variables.
# A process has all GPUs of its host; with several on a host set JAX_LOCAL_DEVICE_IDS.
export JAX_COORDINATOR_ADDRESS="${JAX_COORDINATOR_ADDRESS:-$(hostname):8476}"
hosts="$1"
shift

# SIGTERM and Ctrl-C go to this host's process, which makes all save; mpirun itself, which kills
# after a second, does not hear of them.
trap 'asked=yes; pkill -TERM -P "$mpirun"' INT TERM
for start in $(seq 100); do
  setsid mpirun --host "$hosts" --bind-to none -x JAX_COORDINATOR_ADDRESS sh -c '
    export JAX_NUM_PROCESSES="$OMPI_COMM_WORLD_SIZE" JAX_PROCESS_ID="$OMPI_COMM_WORLD_RANK"
    exec python -m maskjax "$@"' maskjax "$@" &
  mpirun=$!
  while kill -0 "$mpirun" 2>/dev/null; do
    wait "$mpirun"
    status=$?
  done
  # 75, or 128 and more where a process was killed: again, from the last checkpoint. 0 done, 2 bad
  # input, 1 a bug, 127 no such program: the end.
  { [ "$status" -eq 75 ] || [ "$status" -gt 127 ]; } && [ -z "$asked" ] || break
done
exit "$status"
