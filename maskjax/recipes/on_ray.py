"""A run on Ray: python on_ray.py --config=mae --workdir=/shared/runs/mae (maskjax[ray]).

A process a node, on all that are there. After 75 and a lost node anew from the checkpoint on those
that are left; not after 2 (bad input) or 1 (a bug). On SIGTERM all save: RAY_JOB_STOP_WAIT_TIME_S.
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
  import jax
  import ray

  gpus, port, status, asked = 8, ray.init() and 8476, 75, list[object]()  # GPUs of a node
  while status == 75 and not asked and (port := port + 1) < 8576:
    nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("GPU", 0) >= gpus]
    kind = ray.remote(num_gpus=gpus, max_concurrency=2)(Process).options
    every = [kind(label_selector={"ray.io/node-id": n["NodeID"]}).remote() for n in nodes]
    signal.signal(signal.SIGTERM, lambda *_, p=every[0]: asked.append(p.stop.remote()))
    place = f"{nodes[0]['NodeManagerAddress']}:{port}", len(nodes)
    try:
      status = max(ray.get([p.run.remote(sys.argv[1:], *place, i) for i, p in enumerate(every)]))
    except (ray.exceptions.RayActorError, jax.errors.JaxRuntimeError) as error:
      print(f"stopped: {error}", file=sys.stderr)
    list(map(ray.kill, every))
  sys.exit(status)
