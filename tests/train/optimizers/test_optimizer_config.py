"""Optimisers from their config: rate over time, schedules by name, the report, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maskjax import schedule
from maskjax.errors import BadInput
from maskjax.train.optimizers.optimizer import optimizer

PLAIN = {"learning_rate": 0.05, "total_steps": 20, "batch_size": 1, "scale_by_batch": 0}
PARAMS = {
  "embed": {"kernel": jnp.ones((3, 4))},
  "block_0": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)},
  "block_1": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)},
  "head": {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)},
}


def test_peak_warmup_and_end():
  options = {"learning_rate": 1.5e-4, "batch_size": 4096, "total_steps": 1000, "end": 0.01}
  _, rate, report, *_ = optimizer(PARAMS, **options, warmup_steps=50)
  peak = 1.5e-4 * 16
  steps = np.arange(1000)
  expected = np.where(
    steps < 50,
    peak * steps / 50,
    peak * (0.01 + 0.99 * (1 + np.cos(np.pi * (steps - 50) / 950)) / 2),
  )
  rates = jax.jit(rate)(jnp.asarray(steps))
  np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-10)
  assert rate(0) == 0
  assert rate(50) == np.float32(peak)
  assert rate(1000) == rate(10**9) == rate(jnp.int32(10**9))
  np.testing.assert_allclose(rate(1000), peak * 0.01, rtol=1e-6)
  assert rates.dtype == jnp.float32
  assert "peak rate 0.0024 (learning_rate 0.00015 x batch 4096 / 256), 50 steps of" in report[0]


@pytest.mark.parametrize("warmup", [0, 1, 19, 20])
def test_any_warmup_length(warmup):
  rate = optimizer(PARAMS, **PLAIN, warmup_steps=warmup).rate
  values = np.asarray(rate(jnp.arange(21)))
  assert np.isfinite(values).all()
  assert values[warmup] == np.float32(0.05)
  assert (np.diff(values[: warmup + 1]) > 0).all()
  assert (np.diff(values[warmup:]) < 0).all()


@pytest.mark.parametrize(
  ("spec", "end", "expected"),
  [
    ("linear", 0.2, [1, 0.6, 0.2]),
    ("constant", 0.0, [1, 1, 1]),
    ("exponential", 0.01, [1, 0.1, 0.01]),
    ({"fn": "schedule.polynomial", "power": 2.0}, 0.0, [1, 0.25, 0]),
    ({"fn": "schedule.step", "values": [1.0, 0.1], "boundaries": [0.5]}, 0.0, [1, 0.1, 0.1]),
    ("maskjax.schedule:cosine", 0.0, [1, 0.5, 0]),
    (schedule.linear(0.5, 1.0), 0.0, [0.5, 0.75, 1.0]),
  ],
)
def test_schedules_by_name(spec, end, expected):
  rate = optimizer(PARAMS, **PLAIN, schedule=spec, end=end).rate
  np.testing.assert_allclose(rate(jnp.array([0, 10, 20])), 0.05 * np.array(expected), atol=1e-8)


def test_report_says_what_each_rule_matched():
  rules = {"decay_rules": [("bias", 0)], "rate_rules": [("embed", None)], "layer_decay": 0.5}
  report = optimizer(PARAMS, **PLAIN, **rules).report
  assert report == (
    "adamw: peak rate 0.05, 0 steps of warm-up, 20 in all",
    "weight decay: 'bias' = 0 → 10 parameters, 3 leaves",
    "weight decay: otherwise 1.0 → 52 parameters, 4 leaves",
    "rate: 'embed' = None → 12 parameters, 1 leaves",
    "rate: otherwise 1.0 → 50 parameters, 6 leaves",
    "layer decay: embeddings = 0.125 → 1 leaves",
    "layer decay: block 0 = 0.25 → 2 leaves",
    "layer decay: block 1 = 0.5 → 2 leaves",
    "layer decay: rest = 1 → 2 leaves",
  )


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"fn": "adamv"}, "unknown optimizer 'adamv'; did you mean 'adam"),
    ({"fn": "optax:adamwe"}, "'adamwe'"),
    ({"fn": "nowhere.at_all:adam"}, "cannot import"),
    ({"fn": "optax:scale_by_adam"}, "no optimizer with a learning_rate"),
    ({"fn": "maskjax.schedule:step", "values": 3}, "no optimizer with a learning_rate|unknown"),
    ({"fn": "optax:adamw", "beta1": 0.9}, "argument of optimizer optax:adamw 'beta1'"),
    ({"fn": "adam", "weight_decay": 0.1}, "adam takes coupled=True beside weight decay, got 0.1"),
    ({"weight_deacy": 0.1}, "'weight_deacy'; did you mean 'weight_decay'"),
    ({"momentun": 0.9, "fn": "sgd"}, "'momentun'; did you mean 'momentum'"),
    ({"momentum": 0.9}, "argument of optimizer adamw 'momentum'"),
    ({"decay": 0.9}, "argument of optimizer adamw 'decay'"),
    ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ({"schedule": {"fn": "schedule.polynomial", "powr": 2}}, "did you mean 'power'"),
    ({"schedule": "warmup"}, "needs schedule, fraction"),
    ({"schedule": "constant", "end": 0.1}, "takes no end, got end=0.1"),
    ({"schedule": schedule.constant(1.0), "end": 0.1}, "end must be 0"),
    ({"schedule": "exponential"}, "start and end must be positive"),
    ({"decay_rules": [("nothing", 0)]}, "'nothing' matches no parameter"),
    ({"decay_rules": [("head", -1)]}, "'head' must be None or a number .* got -1"),
    ({"rate_rules": [("head", "low")]}, "'head' must be None or a number .* got low"),
    ({"rate_rules": [("", 0)]}, "freeze every parameter"),
    ({"layer_decay": 1.5}, r"layer_decay must lie in \(0, 1\], got 1.5"),
    ({"layer_decay": 0.5, "embeddings": "tokn"}, "'tokn' matches no parameter"),
    ({"warmup_steps": 21}, "warmup_steps must be in 0 … 20, got 21"),
    ({"learning_rate": float("nan")}, "learning_rate must be not negative, got nan"),
    ({"batch_size": 0}, "batch_size must be positive, got 0"),
    ({"clip": -1.0}, "clip must be not negative"),
    ({"total_steps": 0}, "total_steps"),
  ],
)
def test_bad_input(options, message):
  with pytest.raises(BadInput, match=message) as error:
    optimizer(PARAMS, **{**PLAIN, **options})
  assert "\n" not in str(error.value)
