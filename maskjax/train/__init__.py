"""Training: optimisers, the state, the loop, checkpoints, metrics, evaluators."""
