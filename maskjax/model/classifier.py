"""The vision transformer as a classifier of images."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from maskjax import bind, reduce
from maskjax.errors import BadInput, unknown
from maskjax.model.vit import ViT, vit
from maskjax.over.cut import patch_grid, patchify

POOLS = ("mean", "class")


class ViTClassifier(nn.Module):
  """A vision transformer and a linear head on its pooled tokens; built by `vit_classifier`.

  `grid` says what the positions of `hidden` are: the patches.
  """

  encoder: ViT
  classes: int
  pool: str = "mean"

  @property
  def grid(self) -> tuple[int, ...]:
    """Patches along each axis."""
    return self.encoder.grid

  def setup(self) -> None:
    """Binds the head."""
    self.head = nn.Dense(self.classes, kernel_init=nn.initializers.normal(0.01))

  def __call__(
    self,
    image: Float[Array, "*b_space c"],
    hidden: Bool[Array, "*b n"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "*b classes"]:
    """Logits in float32; hidden patches, NaN too, change neither them nor a gradient.

    Training and evaluation are the same here: `train` is there for networks where they are not.
    """
    return self.head(self.encode(image, hidden, train=train)[self.pool])

  def encode(
    self,
    image: Float[Array, "*b_space c"],
    hidden: Bool[Array, "*b n"] | None = None,
    *,
    train: bool = False,
  ) -> dict[str, Float[Array, "..."]]:
    """Features in float32, after the last normalisation: "tokens" `[*b n d]`, zero where hidden.

    Their "mean" `[*b d]` over what is visible, and where there is a class token "class" `[*b d]`.
    """
    patch, extra = self.encoder.patch, int(self.encoder.class_token)
    grid = patch_grid(image.shape[-len(patch) - 1 : -1], patch)
    patches = patchify(image, patch)
    if hidden is None:
      x = self.encoder(patches, grid=grid).astype(jnp.float32)
      tokens = x[..., extra:, :]
      features = {"mean": tokens.mean(axis=-2), "tokens": tokens}
    else:
      seen = jnp.where(hidden[..., None], 0.0, patches)
      x = self.encoder(seen, valid=~hidden, grid=grid).astype(jnp.float32)
      tokens = jnp.where(hidden[..., None], 0.0, x[..., extra:, :])
      features = {"mean": reduce.mean(tokens, ~hidden[..., None], axis=-2), "tokens": tokens}
    return {**features, "class": x[..., 0, :]} if extra else features


@bind.least(width=16, depth=1, heads=2)
def vit_classifier(
  *,
  record_shape: Sequence[int],
  classes: int,
  patch: Sequence[int],
  size: str = "B",
  width: int | None = None,
  depth: int | None = None,
  heads: int | None = None,
  mlp: int | None = None,
  pool: str = "mean",
  class_token: bool = True,
  dtype: str = "float32",
  norm_eps: float = 1e-6,
  remat: bool = False,
  scan: bool = False,
) -> ViTClassifier:
  """A classifier of examples of `record_shape`, `(*space, channels)`, around an MAE's encoder.

  Its parameters lie under `encoder/` as in a masked autoencoder of the same `patch`, size and
  `class_token`, whose weights it can begin from. `pool` is the "mean" of the patches' tokens or the
  "class" token. `BadInput` as there, and if the pool is unknown or there is no token for it.

  >>> vit_classifier(record_shape=(32, 48, 3), classes=10, patch=(4, 8), size="Ti").grid
  (8, 6)

  Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1.
  """
  if pool not in POOLS:
    raise unknown("pool", pool, POOLS)
  if pool == "class" and not class_token:
    raise BadInput("pool='class' needs class_token=True")
  encoder = vit(
    record_shape=record_shape,
    patch=patch,
    size=size,
    width=width,
    depth=depth,
    heads=heads,
    mlp=mlp,
    class_token=class_token,
    dtype=dtype,
    norm_eps=norm_eps,
    remat=remat,
    scan=scan,
  )
  return ViTClassifier(encoder, classes, pool)
