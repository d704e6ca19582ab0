"""A config of a small masked autoencoder on data that are absent, for tests of plans."""


def tiny_mae(*, patch, width, decoder_width, batch_size, mesh=None, dtype="float32"):
  """An encoder and a decoder of one block and two heads each."""
  return dict(
    task=dict(fn="task.masked"),
    over=dict(fn="over.patches", patch=(patch, patch)),
    model=dict(
      encoder=dict(fn="model.vit", size="mu", width=width, depth=1, heads=2, dtype=dtype),
      decoder=dict(fn="model.masked_decoder", width=decoder_width, depth=1, heads=2),
    ),
    score=dict(fn="score.uniform"),
    select=dict(fn="select.top", ratio=0.75),
    hide=dict(fn="hide.drop"),
    target=dict(fn="recover.pixels", normalise=True),
    losses=dict(recover=dict(fn="recover.squared_error")),
    data=dict(name="absent", train="train"),
    optimizer=dict(fn="adamw", learning_rate=1e-3),
    mesh=mesh or {},
    batch_size=batch_size,
    total_steps=10,
  )  # fmt: skip
