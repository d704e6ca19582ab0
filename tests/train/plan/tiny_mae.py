"""A config of a small masked autoencoder on data that are absent, for tests of plans."""


def tiny_mae(*, patch, width, decoder_width, batch_size, mesh=None, dtype="float32"):
  """An encoder and a decoder of one block and two heads each."""
  return dict(
    task=dict(fn="reconstruct"),
    model=dict(
      fn="masked_autoencoder", size="mu", patch=(patch, patch), width=width, depth=1, heads=2,
      decoder_width=decoder_width, decoder_depth=1, decoder_heads=2, dtype=dtype,
    ),
    score=dict(fn="white"),
    select=dict(fn="top", ratio=0.75),
    target=dict(fn="pixels", normalise=True),
    recover=dict(fn="squared_error"),
    data=dict(name="absent", train="train"),
    optimizer=dict(fn="adamw", learning_rate=1e-3),
    mesh=mesh or {},
    batch_size=batch_size,
    total_steps=10,
  )  # fmt: skip
