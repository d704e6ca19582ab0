"""Clouds of points whose highest points are mirrored and asked back; a config of another package.

Run:   python launch.py --config=elsewhere/denoise.py:laptop --workdir=runs/denoise
       --config.data.path=clouds.npy
"""

from maskjax import lab

NOTE = dict(laptop=dict(kind="elsewhere.clouds:cloud", shape=(6, 3), examples=8))


def method(c):
  """Every part is named in full."""
  c.over = dict(fn="over.cells", field="points")
  c.model = dict(fn="elsewhere.parts:same")
  c.score = dict(fn="elsewhere.parts:height")
  jump = dict(fn="elsewhere.parts:jump", low=1 / 3, high=2 / 3)
  c.select = dict(fn="select.top", ratio=jump)
  c.hide = dict(fn="elsewhere.parts:mirrored")
  c.let = dict(told=dict(fn="task.apply", of=dict(network="network", x="seen.values")))
  told = dict(prediction="told", target="values")
  c.losses = dict(points=dict(fn="elsewhere.parts:cubed", of=told))
  c.branches = dict(whole=dict(hidden="nothing"))
  pooled = dict(fn="elsewhere.parts:pooled", of=dict(x="whole.told"), takes=("batch",))
  c.answers = dict(features=pooled)
  c.data = dict(name="elsewhere.clouds:read", path="", test="")
  c.evals = {}


@lab.preset
def laptop(c):
  """Eight clouds at once."""
  c.batch_size, c.eval_batch_size, c.total_epochs, c.total_steps = 8, 8, 0.0, 2
  c.optimizer = dict(fn="sgd", learning_rate=1e-9, scale_by_batch=0, schedule="constant")
  c.loader.workers, c.log.every, c.log.loggers.tensorboard = 0, 1, None
