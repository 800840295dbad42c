"""What a data set's features went through, kept for new data."""

from typing import NamedTuple

import numpy as np


class FeatureMap(NamedTuple):
    """An affine map of features, fitted on training rows.

    Attributes:
      offset: Subtracted from the features, ``[...]`` as one row.
      scale: They are divided by it, ``[...]``; infinite makes a feature 0; None: 1.
      components: ``[d, F]``: the rows are then flattened and projected on these; None:
        they are not.

    Example:
      >>> centred = FeatureMap(np.array([1.0, 2.0]), scale=np.array([1.0, np.inf]))
      >>> centred(np.array([[3.0, 4.0]])).tolist()
      [[2.0, 0.0]]
    """

    offset: np.ndarray
    scale: np.ndarray | None = None
    components: np.ndarray | None = None

    def __call__(self, features):
        """Maps features ``[N, ...]``, of numpy or of JAX."""
        features = features - self.offset[None]
        if self.scale is not None:
            features = features / self.scale[None]
        if self.components is not None:
            features = features.reshape(features.shape[0], -1) @ self.components.T
        return features
