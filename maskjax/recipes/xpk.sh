#!/bin/sh
# A run on TPU slices of GKE by xpk: sh xpk.sh CLUSTER --config=mae --workdir=gs://BUCKET/runs/mae
#
# Image: see --recipe=dockerfile, with jax[tpu]; the hosts of a slice find each other by themselves.
# After 75 xpk starts all pods anew, from the last checkpoint; after 2 (bad input) it does not. A pod
# has 300 seconds from SIGTERM on to save.
cluster="$1"
shift
exec xpk workload create \
  --cluster="$cluster" \
  --workload=maskjax \
  --tpu-type=v5litepod-256 \
  --num-slices=1 \
  --docker-image=REGISTRY/maskjax:latest \
  --max-restarts=100 \
  --restart-on-exit-codes=75 \
  --termination-grace-period-seconds=300 \
  --command="exec python -m maskjax $*"
