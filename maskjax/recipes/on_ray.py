"""A run on Ray: python on_ray.py --config=mae --workdir=/shared/runs/mae (maskjax[ray]).

A process a node, on all nodes that are there. After status 75 and a lost node it starts anew from
the last checkpoint, on those that are left; not after bad input (2) or a bug (1). SIGTERM to this
program makes all save: RAY_JOB_STOP_WAIT_TIME_S=300 gives them time.
"""

import signal
import sys


class Process:
  def run(self, words, *place):
    import jax

    jax.distributed.initialize(*place, cluster_detection_method="deactivate")
    from maskjax.cli import main

    return main(["maskjax", *words])

  def stop(self):
    signal.raise_signal(signal.SIGTERM)  # jax lets all stop at the same step


if __name__ == "__main__":
  import ray

  gpus, port, status, asked = 8, ray.init() and 8476, 75, []  # GPUs of a node, jax's first port
  while status == 75 and not asked and (port := port + 1) < 8576:
    nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("GPU", 0) >= gpus]
    kind = ray.remote(num_gpus=gpus, max_concurrency=2)(Process).options
    every = [kind(label_selector={"ray.io/node-id": n["NodeID"]}).remote() for n in nodes]
    signal.signal(signal.SIGTERM, lambda *_, p=every[0]: asked.append(p.stop.remote()))
    place = f"{nodes[0]['NodeManagerAddress']}:{port}", len(nodes)
    try:
      status = max(ray.get([p.run.remote(sys.argv[1:], *place, i) for i, p in enumerate(every)]))
    except ray.exceptions.RayActorError as error:
      print(f"stopped: {error}", file=sys.stderr)
    list(map(ray.kill, every))
  sys.exit(status)
