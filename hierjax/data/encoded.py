"""Images as the features of a frozen encoder, computed once and kept on disk."""

import dataclasses
import functools
import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.data.augmentation import AUGMENTATIONS
from hierjax.data.augmentation.views import Augmentation
from hierjax.data.dataset import Dataset
from hierjax.data.feature_maps import FrozenEncoder, ImageEncoding
from hierjax.data.reading import cache
from hierjax.data.reading.row_cache import remember_rows
from hierjax.errors import UserError

_VERSION = 1
"""Of the numbers that come out of pixels, encoders' code included: raised with them."""

_BLOCK = 64
"""Images made features between two writes."""


def encode_images(
    images: Dataset, encoder: FrozenEncoder, cache_dir: str | pathlib.Path = ""
) -> Dataset:
    """Replaces images by what an encoder makes of them.

    What was computed is kept in a file in float16, named by a digest of the pixels of
    all rows in their order, of the encoder's weights and size, and of the version of
    this code, and is found there the next time, what a process computed before it was
    ended included. The file may be deleted at any time.

    Args:
      images: Bytes ``[N, H, W]`` or ``[N, H, W, 1 or 3]``, as they were read.
      encoder: What to apply.
      cache_dir: Folder of the file; '' is the user's cache, ``$XDG_CACHE_HOME/hierjax``
        or ``~/.cache/hierjax``.

    Returns:
      The data set with features float32 ``[N, F]`` that are numbers of float16.

    Raises:
      UserError: The features are no images, or the file cannot be written.
    """
    check_images(images)
    pixels = images.features

    features = remember_rows(
        _file(cache_dir, encoder, pixels, "features"),
        (len(pixels), encoder.num_features),
        np.arange(len(pixels)),
        lambda rows: encoder(pixels[rows]),
        block=_BLOCK,
        what=f"{encoder.name}: images",
    )
    return dataclasses.replace(
        images,
        features=features.astype(np.float32),
        feature_maps=(ImageEncoding(encoder, pixels.shape[1:]),),
    )


def add_views(
    encoded: Dataset,
    images: Dataset,
    augmentation: str,
    count: int,
    cache_dir: str | pathlib.Path = "",
) -> Dataset:
    """Adds features of changed copies of every training image, see `Dataset.views`.

    Copy k of row n is the same whenever it is made. Copies are kept as the features of
    `encode_images` are; only those of rows that were a training row once are made.

    Args:
      encoded: What `encode_images` made; its splits may have changed since, its
        features not.
      images: What it was made of.
      augmentation: One of `AUGMENTATIONS`, of images ``[H, W, C]`` of 0 to 1; what it
        gives is cut to that range and rounded to bytes.
      count: K.
      cache_dir: See `encode_images`.

    Raises:
      UserError: The augmentation does not take such images, or the file cannot be
        written.
    """
    (encoding,) = encoded.feature_maps
    encoder, pixels = encoding.encoder, images.features
    block = max(_BLOCK // count, 1)

    def make(rows: np.ndarray) -> np.ndarray:
        # Always as many, so that one program does.
        padded = np.pad(rows, (0, block - len(rows)), mode="edge")
        copies = np.asarray(
            _copies(AUGMENTATIONS[augmentation], count, pixels[padded], padded)
        )[: len(rows)]
        features = encoder(copies.reshape(-1, *pixels.shape[1:]))
        return features.reshape(len(rows), count, -1)

    views = remember_rows(
        _file(cache_dir, encoder, pixels, f"{augmentation}-{count}"),
        (len(pixels), count, encoder.num_features),
        encoded.rows("train"),
        make,
        block=block,
        what=f"{encoder.name}: images with {count} copies each",
    )
    return dataclasses.replace(encoded, views=views)


def check_images(dataset: Dataset) -> None:
    """Requires bytes in the shape of images.

    Raises:
      UserError: The features are something else.
    """
    features = dataset.features
    shape = list(features.shape[1:])
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if features.dtype != np.uint8 or not is_image:
        raise UserError(
            f"{dataset.name}: an encoder takes images, bytes (uint8) [H, W] or "
            f"[H, W, 1 or 3], and these are {features.dtype} {shape}; leave encoder out"
        )


def _file(
    cache_dir: str | pathlib.Path, encoder: FrozenEncoder, pixels: np.ndarray, what: str
) -> pathlib.Path:
    """Where the numbers of these pixels lie."""
    text = hashlib.sha256(
        repr((_VERSION, encoder.digest, encoder.side, pixels.shape)).encode()
    )
    text.update(np.ascontiguousarray(pixels))
    folder = pathlib.Path(cache_dir) if cache_dir else cache.folder()
    return folder / f"{encoder.name}-{encoder.side}-{text.hexdigest()[:32]}-{what}.npy"


@functools.partial(jax.jit, static_argnums=(0, 1))
def _copies(
    augment: Augmentation, count: int, images: jax.Array, rows: jax.Array
) -> jax.Array:
    """Bytes ``[n, K, ...]`` of images ``[n, ...]``, by their numbers in the data."""

    def of_row(image: jax.Array, row: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(0), row)
        return jax.vmap(augment, (0, None))(jax.random.split(key, count), image)[:, 0]

    copies = jax.vmap(of_row)(images / jnp.float32(255), rows)
    return jnp.rint(255 * jnp.clip(copies, 0, 1)).astype(jnp.uint8)
