"""What a data set's features went through, kept for new data."""

from typing import Any, NamedTuple, Protocol

import numpy as np


class FrozenEncoder(Protocol):
    """A network that is not trained here, see `models.frozen_encoder`.

    Attributes:
      name: Of the network.
      weights: Path of their file, '' for those of an installed package.
      digest: Of the weights.
      side: To which it resizes images, in pixels.
      num_features: F.
    """

    name: str
    weights: str
    digest: str
    side: int
    num_features: int

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """From bytes ``[B, H, W]`` or ``[B, H, W, 1 or 3]`` to float32 ``[B, F]``."""

    def forward(self, images: Any) -> Any:
        """The same of JAX's arrays, all at once and without checks."""


class ImageEncoding(NamedTuple):
    """Images replaced by what a frozen encoder makes of them, before all other maps.

    Attributes:
      encoder: Of them.
      input_shape: Of one image, ``[H, W]`` or ``[H, W, C]``.
    """

    encoder: FrozenEncoder
    input_shape: tuple[int, ...]

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one row of what this makes."""
        del shape
        return (self.encoder.num_features,)

    def __call__(self, images):
        """Maps bytes ``[N, *input_shape]`` of JAX."""
        return self.encoder.forward(images)


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

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.offset.shape

    def shape_after(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one row of what this makes of rows of a shape."""
        return shape if self.components is None else self.components.shape[:1]

    def __call__(self, features):
        """Maps features ``[N, ...]``, of numpy or of JAX."""
        features = features - self.offset[None]
        if self.scale is not None:
            features = features / self.scale[None]
        if self.components is not None:
            features = features.reshape(features.shape[0], -1) @ self.components.T
        return features
