"""Arrays of features as people save them, brought to the one form that is meant."""

import numpy as np

from hierjax.errors import UserError, notice

_CHANNELS = (1, 3)


def as_features(name: str, features: np.ndarray) -> np.ndarray:
    """Returns features ``[N, ...]``, images with their channels last.

    ``[N, 3, H, W]`` and ``[N, 1, H, W]`` are turned to ``[N, H, W, channels]``, by
    their shape alone, so that new data of a model are turned alike. A `DataNotice` says
    so, and warns of images of 0 to 255 that are no bytes.

    Raises:
      UserError: They are no numbers, or there are no rows or no numbers in a row.
    """
    if features.dtype.kind not in "fiub":
        raise UserError(f"{name}: features must be numbers, got {features.dtype}")
    if features.ndim and not features.size:
        raise UserError(
            f"{name}: features have the shape {features.shape}; needed are one row and "
            "one number a row at least"
        )
    if features.ndim != 4:
        return features
    if features.shape[1] in _CHANNELS and features.shape[3] not in _CHANNELS:
        notice(
            f"{name}: features {list(features.shape)} are taken for images with their "
            "channels first and turned to [N, H, W, channels]"
        )
        features = np.ascontiguousarray(np.moveaxis(features, 1, 3))
    is_image = features.shape[3] in _CHANNELS and features.dtype != np.uint8
    # Resizing overshoots 1 a little.
    if is_image and features.min() >= 0 and 2 < features.max() <= 255:
        notice(
            f"{name}: features look like images of 0 to 255 and are {features.dtype}, "
            "whose values are taken as they are; bytes (uint8) stand for 0 to 1"
        )
    return features
