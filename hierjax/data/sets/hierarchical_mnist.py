"""Hierarchical MNIST: a large digit, the class, and a small one, the category.

The picture is that of "Hierarchical contrastive learning with attention and Gaussian
masks" (arXiv 2510.00837, caption of Fig. 3): a central digit enlarged to 192 x 192
pixels is the class, a digit of 32 x 32 pixels somewhere around it the category. All
else (one small digit, where exactly, which pairs, how many) the paper leaves open, and
is ours. `load_digits` is the same in miniature, from data that come with scikit-learn.
"""

import functools
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader
from hierjax.data.reading.prepared import (
    find_prepared,
    fingerprint,
    open_prepared,
    read_examples,
)
from hierjax.data.splitting import split_rows
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

_SEED = 0
_CHUNK_BYTES = 2**24


class Geometry(NamedTuple):
    """Where the two digits lie on a square canvas; all numbers are pixels.

    Attributes:
      canvas: Side of the picture.
      digit: Side of the digits as they come.
      padding: Zeros put around them on every side first.
      central: Side of the enlarged central digit, in the middle of the canvas.
      patch: Side of the category digit.
      margin: How far a patch may lie from the nearest edge of the canvas.
    """

    canvas: int
    digit: int
    padding: int
    central: int
    patch: int
    margin: int


def _of_mnist(canvas: int, central: int, patch: int, margin: int) -> Geometry:
    return Geometry(canvas, 28, 2, central, patch, margin)


GEOMETRIES = {
    "digits": Geometry(24, digit=8, padding=0, central=12, patch=6, margin=0),
    **{
        str(side): _of_mnist(side, side, side // 6, side // 48)
        for side in (48, 96, 192)
    },
    **{f"48/{patch}": _of_mnist(48, 32, patch, 1) for patch in (16, 12, 8)},
}
"""By protocol of `load`; 'digits' is that of `load_digits`."""


def load(
    data_dir: str | pathlib.Path, protocol: str = "48", *, seed: int = _SEED
) -> Dataset:
    """Loads 70,000 images ``[N, S, S]``, uint8: category (10) -> class (10 each).

    The central digit, MNIST padded to 32 x 32 and enlarged to S x S, is the class; an
    independent MNIST image S/6 pixels wide, at most S/48 from the edge of the canvas,
    is the category; the brighter pixel wins. With '48/16', '48/12' and '48/8' the
    canvas has 48 pixels, the central digit 32 in its middle and the category digit as
    many as the second number says. See `render` and `corners`. Leaf
    10 * category + class has the path (category, class), so that each digit occurs as
    a class under all ten categories.

    Row i has the i-th image of MNIST in its centre, the 60,000 training images first;
    its category digit is the same at all S. Both digits of a row are from the same
    split: the 10,000 test images are the test split, the last 5,000 of a seeded
    permutation of the others the validation split. The bootstrap unit is the image.

    TensorFlow is not needed. A process decodes and renders once for each S and seed;
    the features take 0.16 GB at 48, 0.65 GB at 96 and 2.6 GB at 192 pixels.

    Args:
      data_dir: The folder of TFDS with ``mnist/`` in it.
      protocol: The side S of the canvas, '48', '96' or '192', or '48/16', '48/12' or
        '48/8'; with ',swapped' behind it, the class is the upper level and the category
        the lower one, of the same images.
      seed: Chooses category digits, their places and the validation split.

    Raises:
      UserError: The prepared set is missing or in a format that takes TensorFlow;
        unknown protocol.
    """
    names = [name for name in GEOMETRIES if name != "digits"]
    accepted = [f"{name}{order}" for name in names for order in ("", ",swapped")]
    if protocol not in accepted:
        raise UserError(
            f"hierarchical_mnist: protocol must be one of {accepted}, got {protocol!r}"
        )
    geometry, _, order = protocol.partition(",")
    command = (
        "pip install 'hierjax[prepare]' and then python -m hierjax.data.prepare mnist "
        f"--data_dir={data_dir}"
    )
    folder = find_prepared("mnist", data_dir, command)
    source = folder, command, fingerprint(folder)
    return _dataset(
        "hierarchical_mnist", _mnist(*source, geometry, seed), order == "swapped"
    )


def load_digits(protocol: str = "", *, seed: int = _SEED) -> Dataset:
    """Loads 1,797 images ``[N, 24, 24]``, uint8: category (10) -> class (10 each).

    Hierarchical MNIST in miniature, from scikit-learn's 8 x 8 digits: the central digit
    is enlarged to 12 x 12 pixels, which leaves a border of 6 pixels all around; the
    category digit is shrunk to 6 x 6 and touches the edge of the canvas, so that the
    two never overlap. Split 60/20/20, seeded, stratified by the central digit; both
    digits of a row are from the same split. All else is as in `load`.

    Args:
      protocol: '' or 'swapped', the class as the upper level of the same images.
      seed: Chooses category digits and their places; the split is always the same.

    Raises:
      UserError: Unknown protocol.
    """
    if protocol not in ("", "swapped"):
        raise UserError(
            f"hierarchical_digits: protocol must be '' or 'swapped', got {protocol!r}"
        )
    return _dataset("hierarchical_digits", _digits(seed), protocol == "swapped")


def corners(name: str) -> np.ndarray:
    """Returns all places of the category digit, int ``[K, 2]``, row by row.

    Each is the (row, column) of the upper left pixel of a patch that lies at most
    `Geometry.margin` pixels from an edge of the canvas.

    Args:
      name: One of `GEOMETRIES`.
    """
    geometry = GEOMETRIES[name]
    last = geometry.canvas - geometry.patch
    places = np.arange(last + 1)
    near = (places <= geometry.margin) | (places >= last - geometry.margin)
    return np.argwhere(near[:, None] | near[None, :])


def draw(count: int, seed: int) -> np.ndarray:
    """Returns float64 ``[count, 2]`` in [0, 1), the chance in the first `count` rows.

    Column 0 chooses the category digit, column 1 its place. Row i depends on the seed
    and i alone.
    """
    # Row by row, one 64-bit word a number: a longer draw begins with the shorter one.
    # Another stream than that of the validation split.
    return np.random.default_rng([seed, 1]).random((count, 2))


def render(
    central: np.ndarray, category: np.ndarray, corners: np.ndarray, name: str
) -> np.ndarray:
    """Draws images of two digits.

    Both are padded and resized bilinearly (pixel centres at halves; a triangular filter
    as wide as the reduction where the category digit shrinks) and rounded to bytes;
    where they meet the brighter pixel wins. Everything is exact arithmetic on integers
    up to the rounding, so that all machines draw the same bytes.

    Args:
      central: ``[n, h, h]`` uint8, h the `Geometry.digit` of this canvas.
      category: ``[n, h, h]`` uint8.
      corners: ``[n, 2]`` int, row and column of the upper left pixel of the category
        digit.
      name: One of `GEOMETRIES`; 'digits' takes scikit-learn's digits, the others
        MNIST's.

    Returns:
      ``[n, canvas, canvas]`` uint8.
    """
    geometry = GEOMETRIES[name]
    size = geometry.canvas
    offset = (size - geometry.central) // 2
    middle = slice(offset, offset + geometry.central)
    patch = np.arange(geometry.patch)
    rows = (corners[:, :1] + patch)[:, :, None]
    columns = (corners[:, 1:] + patch)[:, None, :]
    images = np.zeros((len(central), size, size), np.uint8)
    # The largest numbers in between are mostly float32 of this size.
    step = max(1, _CHUNK_BYTES // (4 * size**2))
    for start in range(0, len(images), step):
        chunk = slice(start, start + step)
        drawn = images[chunk]
        drawn[:, middle, middle] = _resize(
            central[chunk], geometry.padding, geometry.central
        )
        small = _resize(category[chunk], geometry.padding, geometry.patch)
        place = np.arange(len(drawn))[:, None, None], rows[chunk], columns[chunk]
        drawn[place] = np.maximum(drawn[place], small)
    return images


def _resize(images: np.ndarray, padding: int, side: int) -> np.ndarray:
    """Pads bytes ``[n, h, h]`` with zeros and resizes them to ``[n, side, side]``."""
    weights, total = _weights(images.shape[-1], padding, side)
    length = images.shape[-1]
    resized = images.astype(weights.dtype)
    for _ in range(2):
        # As one matrix: BLAS is far slower at as many small products.
        columns = np.swapaxes(resized, 1, 2).reshape(-1, length)
        resized = (columns @ weights.T).reshape(len(images), -1, side)
    resized /= weights.dtype.type(total**2)
    return np.rint(resized, out=resized).astype(np.uint8)


@functools.cache
def _weights(length: int, padding: int, side: int) -> tuple[np.ndarray, int]:
    """Resizing as integer weights ``[side, length]`` and what to divide by.

    They are of the type that holds all sums exactly, in any order.
    """
    padded = length + 2 * padding
    # Distances of pixel centres, in units in which all of them are integers.
    source = (2 * np.arange(padded) + 1) * side
    target = (2 * np.arange(side) + 1) * padded
    reach = 2 * max(padded, side)
    weights = np.maximum(reach - abs(target[:, None] - source[None, :]), 0)
    sums = weights.sum(axis=1)
    weights = weights[:, padding : padding + length]
    common = np.gcd(np.gcd.reduce(weights, axis=1), sums)
    weights, sums = weights // common[:, None], sums // common
    total = int(np.lcm.reduce(sums[weights.any(axis=1)]))
    weights = weights * total // sums[:, None]
    exact = np.float32 if 255 * total**2 <= 2**24 else np.float64
    return weights.astype(exact), total


class _Drawn(NamedTuple):
    """Images ``[N, S, S]``, both digits ``[N]`` and the rows of the splits."""

    images: np.ndarray
    category: np.ndarray
    digit: np.ndarray
    splits: dict[str, np.ndarray]


def _compose(
    images: np.ndarray,
    digit: np.ndarray,
    splits: dict[str, np.ndarray],
    name: str,
    seed: int,
) -> _Drawn:
    """Gives every image a category digit from its own split."""
    chance = draw(len(images), seed)
    partner = np.empty(len(images), np.intp)
    for rows in splits.values():
        partner[rows] = rows[(chance[rows, 0] * len(rows)).astype(np.intp)]
    places = corners(name)
    place = places[(chance[:, 1] * len(places)).astype(np.intp)]
    drawn = render(images, images[partner], place, name)
    drawn.flags.writeable = False
    return _Drawn(drawn, digit[partner], digit, splits)


# 192 x 192 takes 2.6 GB: only the last one is kept. A changed source is another key.
@functools.lru_cache(maxsize=1)
def _mnist(
    folder: pathlib.Path, command: str, source: str, name: str, seed: int
) -> _Drawn:
    images, digit, num_train = _decode(folder, command, source)
    order = np.random.default_rng(seed).permutation(num_train)
    # 5,000 of 60,000.
    cut = num_train - num_train // 12
    splits = {
        "train": np.sort(order[:cut]),
        "validation": np.sort(order[cut:]),
        "test": np.arange(num_train, len(images)),
    }
    return _compose(images, digit, splits, name, seed)


@functools.lru_cache(maxsize=1)
def _decode(
    folder: pathlib.Path, command: str, source: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Images ``[N, 28, 28]``, digits ``[N]``, and how many are for training."""
    examples, sizes = read_examples(open_prepared(folder, command), ("train", "test"))
    side = GEOMETRIES["48"].digit
    pixels = b"".join(
        Image.open(io.BytesIO(example["image"])).tobytes() for example in examples
    )
    images = np.frombuffer(pixels, np.uint8).reshape(len(examples), side, side)
    digit = np.array([example["label"] for example in examples], np.int32)
    return images, digit, sizes[0]


@functools.lru_cache(maxsize=1)
def _digits(seed: int) -> _Drawn:
    from sklearn import datasets

    images, digit = datasets.load_digits(return_X_y=True)
    images = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    splits = split_rows(digit, np.arange(len(digit)))
    return _compose(images, digit, splits, "digits", seed)


def _dataset(name: str, drawn: _Drawn, swapped: bool) -> Dataset:
    names: Sequence[str] = ("category", "class")
    upper, lower = drawn.category, drawn.digit
    if swapped:
        names, upper, lower = names[::-1], lower, upper
    hierarchy = Hierarchy.from_paths(
        [(above, below) for above in range(10) for below in range(10)],
        level_names=names,
    )
    return Dataset(
        name=name,
        features=drawn.images,
        labels=hierarchy.labels_of(10 * upper + lower),
        hierarchy=hierarchy,
        splits=drawn.splits,
        unit_name="image",
    )


LOADERS = {
    "hierarchical_digits": Loader(load_digits, has_protocols=True),
    "hierarchical_mnist": Loader(
        load, "data_dir", "the folder of TFDS with mnist/ in it", has_protocols=True
    ),
}
"""By name."""
