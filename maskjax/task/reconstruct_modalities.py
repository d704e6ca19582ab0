"""Reconstruction of several modalities: hide some patches of each, ask for them back."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from maskjax import bind, reduce
from maskjax.errors import BadInput, unknown
from maskjax.keys import keys, stream
from maskjax.modalities import Modality
from maskjax.record import Record
from maskjax.recover import Target, patchify, unpatchify
from maskjax.reduce import Term
from maskjax.task.answers import offered
from maskjax.task.base import Aux, Batch, Task, Variables
from maskjax.task.buckets import hidden_of
from maskjax.task.scorer import scorer

OFFERS = ("keys", "grid", "sizes", "keep", "step")
IMAGE = "image"
FITTED = "modalities"  # the collection of what is known of the training images
ASK = ("of", "target", "recover")


class Asked(NamedTuple):
  """What one decoder is asked: which modality, as what, and what a wrong answer costs."""

  of: str
  target: Target
  recover: Callable[..., Term]


def reconstruct_modalities(
  *,
  record: Record,
  model: Callable[..., Any],
  score: functools.partial[Float[Array, "b n"]],
  select: functools.partial[Bool[Array, "b n"]],
  target: Callable[..., Target],
  recover: Callable[..., Term],
  modalities: Mapping[str, Mapping[str, Any]] | None = None,
  asks: Mapping[str, Mapping[str, Any]] | None = None,
  features: Iterable[str] = (IMAGE,),
  examples: int = 1024,
) -> Task:
  """Scores and selects patches of all modalities in a row, and asks for the hidden ones of each.

  The first modality is the "image"; the others are made of it as `modalities` say, sections for
  functions of `maskjax.modalities` or of one's own that give such a `Modality`; what they need to
  know of the training images they are told before step 0, from so many `examples`. All have the
  grid of patches of the image.
  `score` may name `keys` (one per example), `sizes` (patches of each modality), `keep` (how many
  `select` leaves to see, the same for every example), `grid` (all patches, in one row) and `step`;
  `select` names `sizes` and `grid`.
  `asks` are the decoders, one a modality unless said: of each the modality it is `of` (its own name
  unless said), arguments of `target` that differ, and the name of another loss than `recover`; of
  labels the loss is the cross-entropy.
  Terms: one an ask, the mean over the examples with something asked of each one's own mean.
  Features are those of the modalities named in `features`, whole and without the others.
  Views of the image are those of `reconstruct`; "modalities" holds of each, by name, its "input",
  "prediction" (of labels the logits), and "hidden" for every pixel, of labels "colors" if known.
  They take a mask of the caller's own, `hidden`, of all patches, or of the image's alone, with
  which nothing else is seen; `keep` then promises that no more are visible, None nothing.

  Raises:
    BadInput: data other than images, an unknown modality, a word needs what is not offered, or
      `select` hides no fixed number, all or nothing.
  """
  if record.kind != IMAGE:
    raise BadInput(f"reconstruct_modalities takes images, the data set holds {record.kind}")
  made = {name: _modality(name, spec) for name, spec in (modalities or {}).items()}
  *space, channels = record.shape
  of_maps = lambda m: (*(s // m.stride for s in space), m.channels)
  shapes = {IMAGE: (tuple(record.shape), 0)}
  shapes |= {name: (of_maps(m), m.classes) for name, m in made.items()}
  asked = _asked({name: {} for name in shapes} if asks is None else asks, shapes, target, recover)
  network = model(shapes=shapes, asks={name: ask.of for name, ask in asked.items()})
  kinds, n = network.modalities, math.prod(network.grid)
  sizes, total = (n,) * len(shapes), n * len(shapes)
  around = {"grid": (total,), "sizes": sizes}
  keep = total - hidden_of(bind.at(select, 0), around, total)
  if not 0 < keep < total:
    raise BadInput(f"{keep} of {total} patches would be left visible: some must be, and some not")
  scores_of, shown = scorer(score, OFFERS, "reconstruct_modalities"), tuple(features)
  for name in shown:
    if name not in shapes:
      raise unknown("modality for features", name, shapes)

  def maps(variables: Variables, batch: Batch) -> dict[str, Array]:
    """Every modality as a picture; labels without channels."""
    image = batch[IMAGE]
    plain = jnp.clip(image * jnp.asarray(record.std) + jnp.asarray(record.mean), 0, 1)
    known = variables.get(FITTED, {})
    return {IMAGE: image, **{name: m.make(known[name], plain) for name, m in made.items()}}

  def read(found: Mapping[str, Array]) -> dict[str, Array]:
    wide = lambda name: found[name][..., None] if kinds[name].classes else found[name]
    return {name: patchify(wide(name), kinds[name].patch) for name in found}

  def choose(drawn: Key[Array, "b"], step: Any) -> Bool[Array, "b n"]:
    scores = scores_of.apply({}, {"keys": drawn, "keep": keep, "step": step, **around})
    return bind.call(bind.at(select, step), around, scores)

  def init(key: Key[Array, ""], batch: Batch) -> Variables:
    fitted = {FITTED: {name: m.unfitted(channels) for name, m in made.items()}} if made else {}
    patches = read(maps(fitted, batch))
    hidden = jnp.zeros((len(batch[IMAGE]), total), bool)
    return {**network.init(stream(key, "init"), patches, hidden, keep=keep), **fitted}

  def prepare(variables: Variables, batches: Iterable[Batch]) -> Variables:
    found, count = [], 0
    for batch in batches:
      found.append(np.asarray(batch[IMAGE]))
      count += len(found[-1])
      if count >= examples:
        break
    scale, shift = np.asarray(record.std, np.float32), np.asarray(record.mean, np.float32)
    plain = np.clip(np.concatenate(found)[:examples] * scale + shift, 0, 1)
    fitted = {name: jax.tree.map(jnp.asarray, dict(m.fit(plain))) for name, m in made.items()}
    return {**variables, FITTED: fitted}

  def loss(
    variables: Variables, batch: Batch, key: Key[Array, ""], step: Any
  ) -> tuple[Mapping[str, Term], Aux]:
    patches = read(maps(variables, batch))
    hidden = choose(keys(stream(key, "mask", step), batch["position"]), step)
    found = network.apply(_learned(variables), patches, hidden, keep=keep, exact=True)
    parts = dict(zip(shapes, jnp.split(hidden, len(shapes), axis=-1), strict=True))
    terms = {}
    for name, ask in asked.items():
      guess, truth, where = found[name], patches[ask.of], parts[ask.of]
      if classes := kinds[ask.of].classes:
        guess = guess.reshape(*truth.shape, classes)
        where = jnp.broadcast_to(where[..., None], truth.shape)
      else:
        truth = ask.target.encode(truth)
      terms[name] = per_example(ask.recover, guess, truth, where)
    return terms, Aux()

  def encode(
    variables: Variables, batch: Batch, hidden: Bool[Array, "b n"] | None = None
  ) -> Mapping[str, Array]:
    patches = read({k: v for k, v in maps(variables, batch).items() if k in shown})
    holes = {} if hidden is None else {"valid": ~hidden}
    return network.apply(_learned(variables), patches, **holes, method="encode")

  def views(
    variables: Variables,
    batch: Batch,
    key: Key[Array, ""],
    step: Any = 0,
    hidden: Array | None = None,
    keep: int | None = keep,
  ) -> Mapping[str, Any]:
    whole = maps(variables, batch)
    patches = read(whole)
    if given := hidden is not None:
      rest = jnp.ones((*hidden.shape[:-1], total - hidden.shape[-1]), bool)
      hidden = jnp.broadcast_to(jnp.concatenate([hidden, rest], -1), (len(batch[IMAGE]), total))
    else:
      hidden = choose(keys(stream(key, "mask"), batch["position"]), step)
    limit = total if keep is None else keep
    guesses = network.apply(_learned(variables), patches, hidden, keep=limit, exact=not given)
    parts = dict(zip(shapes, jnp.split(hidden, len(shapes), axis=-1), strict=True))
    show = lambda name, x, d: unpatchify(x, kinds[name].patch, network.grid, d)

    def area(name: str) -> Bool[Array, "b h w 1"]:
      """Which pixels of a modality are hidden."""
      wide = jnp.repeat(parts[name][..., None], math.prod(kinds[name].patch), axis=-1)
      return show(name, wide, 1)

    shown = {}
    for name, ask in asked.items():
      if ask.of != name:
        continue
      kind, truth = kinds[name], patches[name]
      guess = guesses[name] if kind.classes else ask.target.decode(guesses[name], truth)
      shown[name] = {
        "input": whole[name],
        "prediction": show(name, guess, kind.classes or kind.channels),
        "hidden": area(name)[..., 0],
        **{k: v for k, v in variables.get(FITTED, {}).get(name, {}).items() if k == "colors"},
      }
    gone = area(IMAGE)
    pictures = {"input": whole[IMAGE], "seen": jnp.where(gone, jnp.nan, whole[IMAGE])}
    if IMAGE in shown:
      prediction = shown[IMAGE]["prediction"]
      pasted = jnp.where(gone, prediction, whole[IMAGE])
      pictures |= {"prediction": prediction, "pasted": pasted}
    return {**pictures, "modalities": shown}

  return Task(
    init=init,
    loss=loss,
    network=network,
    prepare=prepare if made else None,
    answers=offered(features=encode, views=views),
  )


def per_example(
  loss: Callable[..., Term], prediction: Array, target: Array, asked: Bool[Array, "b ..."]
) -> Term:
  r"""The mean over examples of each one's own: $\sum_b S_b / C_b$, counted where $C_b > 0$.

  >>> from maskjax.recover import squared_error
  >>> asked = jnp.array([[True, True], [True, False], [False, False]])
  >>> error = jnp.array([[1.0, 3.0], [4.0, 9.0], [9.0, 9.0]])[..., None] ** 0.5
  >>> t = per_example(squared_error, error, 0 * error, asked)
  >>> round(float(t.sum), 4), int(t.count)
  (6.0, 2)
  """
  each = jax.vmap(loss)(prediction, target, asked)
  return reduce.term(each.sum / jnp.maximum(each.count, 1), each.count > 0)


def _learned(variables: Variables) -> Variables:
  """What the network itself takes."""
  return {name: value for name, value in variables.items() if name != FITTED}


def _modality(name: str, spec: Mapping[str, Any]) -> Modality:
  if name == IMAGE:
    raise BadInput("task.modalities are those beside the image: call them otherwise")
  found = bind.bind(spec, "maskjax.modalities")
  bind.check(found, (), f"modality {name!r}")
  return found()


def _asked(
  asks: Mapping[str, Mapping[str, Any]],
  shapes: Mapping[str, tuple[Any, int]],
  target: Callable[..., Target],
  recover: Callable[..., Term],
) -> dict[str, Asked]:
  """The decoders that a config asks for."""
  result = {}
  for name, spec in asks.items():
    for key in spec:
      if key not in ASK:
        raise unknown(f"key of task.asks.{name}", key, ASK)
    of = spec.get("of", name)
    if of not in shapes:
      raise unknown(f"modality that task.asks.{name} is of", of, shapes)
    named = spec.get("recover", "cross_entropy" if shapes[of][1] else None)
    loss = bind.resolve(named, "maskjax.recover") if named else recover
    result[name] = Asked(of, target(**spec.get("target", {})), loss)
  if not result:
    raise BadInput("task.asks is empty: nothing would be asked")
  return result
