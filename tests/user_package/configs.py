"""Configs of a user, one for each rule of the graph; data and lengths are those of `small`."""

ME = "user_package.parts:"


def small(**more):
  """A masked autoencoder of 16 patches, as the others begin."""
  c = dict(task=dict(fn="task.masked"), batch_size=4, total_steps=10, data=dict(train="train"))
  c["optimizer"] = dict(fn="sgd", learning_rate=0.1, scale_by_batch=0, schedule="constant")
  c["over"] = dict(fn="over.patches", patch=(2, 2))
  c["model"] = dict(
    encoder=dict(fn="model.vit", size="mu", width=8, depth=1, heads=2),
    decoder=dict(fn="model.masked_decoder", width=8, depth=1, heads=2),
  )
  c["score"], c["select"] = dict(fn="score.uniform"), dict(fn="select.top", ratio=0.75)
  c["hide"] = dict(fn="hide.drop")
  c["target"] = dict(fn="recover.pixels", normalise=False)
  c["losses"] = dict(recover=dict(fn="recover.squared_error"))
  return {**c, **more}


def two_looks():
  """Two looks at an image, each of which is to agree with what a teacher sees of the whole."""
  c = small(target=None)
  del c["model"]["decoder"]
  c["teachers"] = dict(slow=dict(fn="task.ema", momentum=0.75))
  c["branches"] = dict(
    other=dict(draws=("score",)),
    whole=dict(encoder="slow.encoder", hidden="nothing"),
  )
  agree = lambda a: dict(fn=ME + "agree", of=dict(a=a, b="whole.out.tokens"))
  c["losses"] = dict(one=agree("out.tokens"), two=agree("other.out.tokens"))
  return c


def carried_mask():
  """A mask of pixels that goes through stages of strided convolutions."""
  c = small(target=None, over=dict(fn="over.pixels"), model=dict(fn=ME + "stages"))
  c["hide"] = dict(fn="hide.carry")
  c["score"] = dict(fn="score.blocks", size=(4, 4))
  c["let"] = dict(stages=dict(fn=ME + "carried"))
  c["losses"] = dict(energy=dict(fn=ME + "visible_energy"))
  return c


def critic():
  """A critic with an optimiser of its own, which climbs, each second step."""
  c = small()
  c["model"]["critic"] = dict(fn=ME + "critic")
  c["losses"]["recover"]["trains"] = ("encoder", "decoder")
  c["losses"]["judged"] = dict(fn=ME + "judged", scale=0.1)
  group = dict(match="critic", fn="adam", learning_rate=0.01, ascend=True, every=2)
  c["optimizer"]["groups"] = (group,)
  return c


def gated_heads():
  """The head that matters least, by the slope of a branch where all are open, is closed."""
  c = small()
  c["model"]["encoder"]["depth"] = 2
  c["gates"] = dict(heads=dict(at="encoder/1/heads", by="gate"))
  c["let"] = dict(
    ones=dict(fn=ME + "ones"),
    importance=dict(fn=ME + "importance"),
    gate=dict(fn=ME + "gate_of"),
  )
  c["branches"] = dict(open=dict(gate="ones"))
  return c


def queue():
  """Examples keep away from those of the steps before."""
  c = small(target=None)
  del c["model"]["decoder"]
  c["let"] = dict(queue=dict(fn=ME + "queue"))
  c["losses"] = dict(apart=dict(fn=ME + "apart_from"))
  return c


def only_a_state():
  """Nothing is learned: a queue is filled, and that is all."""
  c = queue()
  c["losses"] = {}
  return c


def worst_first():
  """What was predicted worst in the step before is hidden first."""
  c = small(let=dict(errors=dict(fn=ME + "errors")))
  c["score"] = dict(fn=ME + "worst")
  return c


def words_and_patches():
  """Words and patches in one row, hidden alike, each asked in its own way."""
  image, words = dict(fn="over.patches", patch=(2, 2)), dict(fn="over.tokens", field="caption")
  c = small(target=None, over=dict(fn="over.row", parts=dict(image=image, words=words)))
  c["model"] = dict(fn=ME + "row_network")
  c["select"], c["hide"] = dict(fn="select.top", ratio=0.5), ()
  of = lambda name: dict(fn="over.part", of=dict(x="hidden"), name=name)
  c["let"] = dict(told=dict(fn=ME + "of_row"), gone_image=of("image"), gone_words=of("words"))
  asked = lambda name: {"prediction": f"told.{name}", "target": f"values.{name}"}
  image = dict(asked("image"), asked="gone_image")
  words = dict(logits="told.words", target="values.words", asked="gone_words")
  c["losses"] = dict(
    image=dict(fn="recover.squared_error", of=image),
    words=dict(fn="recover.cross_entropy", of=words, scale=0.5),
  )
  return c


def frozen_features():
  """The encoder is to say what a frozen network says of the whole, in each of its layers."""
  c = small(target=None)
  c["model"] = dict(
    encoder=dict(fn="model.vit", size="mu", width=8, depth=2, heads=2, class_token=False),
    guide=dict(
      fn="model.vit", size="mu", width=8, depth=1, heads=2, class_token=False, frozen=True
    ),
  )
  c["select"] = dict(fn="select.top", ratio=0.5)
  c["hide"] = dict(fn="hide.fill", value=0.0)
  c["let"] = dict(features=dict(fn="task.apply", of=dict(network="guide", x="values")))
  c["taps"] = dict(outputs="encoder/*/output")
  layers = dict(tokens="out.layers")
  c["losses"] = dict(layer=dict(fn=ME + "match", of=layers, each="tokens", scale=(0.25, 1.0)))
  return c


def own_mask():
  """A gate of each patch of each example, learned with the network."""
  c = small(score=None, select=None, hide=dict(fn="hide.gate", mask="gate"))
  c["let"] = dict(gate=dict(fn=ME + "OwnGates", examples=8, n=16))
  c["losses"]["recover"]["of"] = dict(asked="visible")
  c["losses"]["few"] = dict(fn=ME + "few", scale=0.1)
  return c


def another_input():
  """Single pixels are hidden and asked for; they enter the encoder, and are predicted, in patches.

  The encoder is a residual network whose last maps are as fine as those.
  """
  c = small(over=dict(fn="over.pixels"), input=dict(fn="over.patches", patch=(4, 4)))
  c["model"] = dict(
    encoder=dict(fn="model.resnet", depth=8, width=4), decoder=dict(fn="model.linear_head")
  )
  # Maps of 2 x 2.
  c["let"] = dict(
    maps=dict(fn="encoder.maps", of=dict(image="shown")), out=dict(fn="task.map_tokens")
  )
  c["hide"] = dict(fn="hide.fill", value=0.0)
  return c


def merged_answer():
  """An answer of the user's own: every patch as it is predicted where it is hidden."""
  c = small()
  c["answers"] = dict(restored=dict(fn=ME + "merged"))
  return c
