"""Pictures in a page, as data URIs: rows, and files of the report."""

import base64
import io
import pathlib

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from hierjax.data import Dataset

_IMAGE_SIDE = 112
_VALUES_OF_BYTES = 255


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
        return _points_picture(values)
    if kind == "spectrogram":
        # Bands upwards, on the range of this recording alone.
        low, high = values.min(), values.max()
        values = (values.T[::-1] - low) / ((high - low) or 1.0)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    pixels = np.round(values * _VALUES_OF_BYTES).astype(np.uint8)
    image = Image.fromarray(pixels)
    longest = max(image.size)
    if longest > 2 * _IMAGE_SIDE:
        image.thumbnail((2 * _IMAGE_SIDE, 2 * _IMAGE_SIDE))
    elif longest < _IMAGE_SIDE:
        factor = _IMAGE_SIDE // longest
        image = image.resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
    return _data_uri(image)


def _points_picture(points: np.ndarray) -> str:
    """A cloud from the front and a little above, near points dark."""
    turn, tilt = np.deg2rad([35.0, 20.0])
    x, up, z = points.T
    right = np.cos(turn) * x + np.sin(turn) * z
    depth = np.cos(turn) * z - np.sin(turn) * x
    height = np.cos(tilt) * up - np.sin(tilt) * depth
    near = np.cos(tilt) * depth + np.sin(tilt) * up
    reach = max(np.abs(right).max(), np.abs(height).max()) or 1.0
    figure = Figure((1.4, 1.4), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    order = np.argsort(near)
    axes.scatter(
        right[order], height[order], s=1.5, c=near[order], cmap="Blues", linewidths=0
    )
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return _data_uri(Image.open(buffer).convert("RGB"))


def file_uri(path: pathlib.Path) -> str:
    """A picture of the report's folder as a data URI."""
    return _data_uri(Image.open(path).convert("RGB"))


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=True, quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
