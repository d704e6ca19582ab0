"""bandana as a graph."""

from graphs.sections import qualified, without

SOFT = ("shares", "sigmoid", "softmax")  # selections that give gates


def graph(config):
  """The sections of the masked task for a config of `reconstruct_edges`."""
  c = without(config, "recover")
  c["task"], c["over"] = dict(fn="masked"), dict(fn="over.edges")
  c["model"] = qualified(config["model"], "model")
  soft = config["select"]["fn"] in SOFT
  views = config["model"]["depth"] if config["task"].get("layerwise", True) else 1
  shared = lambda x: dict(fn="task.per_view", of=dict(x=x))
  c["let"] = dict(
    layer_keys=dict(fn="task.own_keys", views=views, stream="mask"),
    dropout=dict(fn="task.own_keys"),
    there=shared("allowed"),
    ends=dict(fn="task.edge_ends"),
    nodes=dict(fn="task.node_count"),
    gate="hidden" if soft else dict(fn="task.open_gate"),
    asked=dict(fn="task.broadcast_like", of=dict(x="there", other="gate")) if soft else "hidden",
    layers=dict(fn="task.node_layers"),
    negatives=dict(fn="task.negative_pairs", stream="strangers"),
    pairs=dict(fn="task.pair_logits"),
  )
  of_score, of_select = dict(keys="layer_keys"), dict(allowed="there")
  if config["score"]["fn"] == "words":
    c["let"]["units"], of_score["unit"] = shared("batch.unit"), "units"
  if config["select"]["fn"] == "shares":
    of_select |= dict(segment="ends", segments="nodes")
  c["score"] = dict(qualified(config["score"], "score"), of=of_score)
  c["select"] = dict(qualified(config["select"], "select"), of=of_select)
  recover = qualified(config["recover"], "recover")
  edges = dict(logits="pairs.edges", target="pairs.edge", asked="asked")
  others = dict(logits="pairs.negatives", target="pairs.none", asked="pairs.found")
  c["losses"] = dict(
    edges=dict(recover, of=edges | (dict(weight="gate") if soft else {})),
    strangers=dict(recover, of=others),
  )
  c["answers"] = dict(features=dict(fn="task.node_features"), views=dict(fn="task.edge_views"))
  return c
