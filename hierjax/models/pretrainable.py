"""What encoders share of which pretrained weights exist."""

import jax
import numpy as np

from hierjax.errors import UserError
from hierjax.models.encoders import ImageEncoder

TRAINABLE = ("all", "last", "head")
"""What may be trained of such a network, from most to least."""

_HEADS = ("head", "size_head")


class PretrainableEncoder(ImageEncoder):
    """Encoder of images that takes them as pretrained weights want, and can be frozen.

    What is frozen keeps its BatchNorm statistics too, and normalises by them. The
    training step leaves the parameters out that `is_frozen` names: they have no
    gradient, no moments and no weight decay.

    Attributes:
      pixel_mean: of every channel, subtracted from images, for weights that were
        trained so; grey images then become as many equal channels. Empty: images are
        taken as they are.
      pixel_std: of every channel; divides what is left.
      side: to which images are first resized, whatever their aspect, as
        `resized` does; 0: they are taken in their own size.
      trainable: 'all'; 'last', the last stage and the head; or 'head'.
    """

    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    side: int = 0
    trainable: str = "all"

    def __post_init__(self):
        """Checks ``trainable``.

        Raises:
          UserError: it is none of `TRAINABLE`, or a setting of the head is wrong.
        """
        if self.trainable not in TRAINABLE:
            raise UserError(
                f"trainable must be one of {', '.join(TRAINABLE)}, got "
                f"{self.trainable!r}"
            )
        super().__post_init__()

    @property
    def last_stage(self) -> frozenset[str]:
        """Outermost modules of the last stage and what follows it before the head."""
        raise NotImplementedError

    def is_frozen(self, module: str) -> bool:
        """Whether an outermost module is not trained.

        Args:
          module: its name among the parameters.
        """
        trained = {
            "all": (module,),
            "last": (*_HEADS, *self.last_stage),
            "head": _HEADS,
        }
        return module not in trained[self.trainable]

    def _as_images(self, x: jax.Array) -> jax.Array:
        x = super()._as_images(x)
        if self.side:
            x = resized(x, self.side)
        if not self.pixel_mean:
            return x
        if x.shape[-1] not in (1, len(self.pixel_mean)):
            raise UserError(
                f"{type(self).__name__} takes images of 1 or {len(self.pixel_mean)} "
                f"channels, got {x.shape[-1]}"
            )
        mean, std = np.array([self.pixel_mean, self.pixel_std], np.float32)
        return (x - mean[None, None, None]) / std[None, None, None]


def resized(images: jax.Array, side: int) -> jax.Array:
    """Images in another size, bilinearly; what becomes smaller is averaged.

    Args:
      images: ``[B, H, W, C]`` of one pixel at least.
      side: height and width of the result ``[B, side, side, C]``.
    """
    batch, _, _, channels = images.shape
    return jax.image.resize(images, (batch, side, side, channels), "linear")
