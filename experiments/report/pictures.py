"""Pictures in a page, as data URIs: rows, and files of the report."""

import base64
import io
import pathlib

import numpy as np
from PIL import Image

from hierjax import plotting
from hierjax.data import Dataset

_IMAGE_SIDE = 112
_LARGEST_SIDE = 224
_WHITE = 255
_WIDEST = 1600


def kind_of(dataset: Dataset) -> str:
    """What rows can be drawn as: 'image', 'spectrogram', 'points', or '' for vectors.

    Args:
      dataset: as it was loaded, before inputs were standardised or projected.

    Returns:
      'image' for ``[N, H, W]`` and ``[N, H, W, 1 or 3]`` of bytes, and for floats from
      0 to 1 with such channels; 'points' for floats ``[N, P, 3]`` of more than three
      points; 'spectrogram' for other floats ``[N, frames, bands]``.
    """
    features = dataset.features
    channels = features.ndim == 4 and features.shape[-1] in (1, 3)
    if features.dtype == np.uint8:
        return "image" if features.ndim == 3 or channels else ""
    if channels:
        return "image" if features.min() >= 0 and features.max() <= 1 else ""
    if features.ndim != 3 or 0 in features.shape:
        return ""
    return "points" if features.shape[2] == 3 < features.shape[1] else "spectrogram"


def row_picture(dataset: Dataset, row: int) -> str:
    """One row as a data URI, '' where it cannot be drawn."""
    kind = kind_of(dataset)
    if not kind:
        return ""
    values = dataset.float_features(np.array([row]))[0]
    if kind == "points":
        buffer = io.BytesIO()
        plotting.point_cloud(values).savefig(buffer, format="png")
        return _data_uri(Image.open(buffer).convert("RGB"))
    if kind == "spectrogram":
        # Bands upwards, on the range of this recording alone.
        low, high = values.min(), values.max()
        values = (values.T[::-1] - low) / ((high - low) or 1.0)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    image = Image.fromarray(np.round(values * _WHITE).astype(np.uint8))
    longest = max(image.size)
    if longest > _LARGEST_SIDE:
        image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
        return _data_uri(image, lossless=False)
    if longest < _IMAGE_SIDE:
        factor = _IMAGE_SIDE // longest
        image = image.resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
    return _data_uri(image)


def file_uri(path: pathlib.Path) -> str:
    """A picture of the report's folder as a data URI, no wider than a page shows.

    Lossless or not, whichever is shorter: flat colours are so without loss, clouds of
    points with some.
    """
    image = Image.open(path).convert("RGB")
    if image.width > _WIDEST:
        height = round(image.height * _WIDEST / image.width)
        image = image.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    return min(_data_uri(image), _data_uri(image, lossless=False), key=len)


def _data_uri(image: Image.Image, *, lossless: bool = True) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=lossless, quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
