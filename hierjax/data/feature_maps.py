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
