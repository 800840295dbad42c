"""A small network of images that sees what is large and what is small."""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from hierjax.models.encoders import ImageEncoder


class PooledConvNet(ImageEncoder):
    """Convolutions of stride 1, maximum early, maximum and mean in the end.

    The mean over positions hides a small thing in one place: a tenth of the image has a
    tenth of the weight. The maximum keeps it, wherever it is.

    Attributes:
      channels: of each convolution, 3 x 3 with BatchNorm and ReLU.
      num_pooled: after so many of the first ones height and width are halved.
      hidden: width of the layer over the two kinds of pooling.

    Example:
      Shapes alone; nothing is computed.

      >>> net = PooledConvNet(embed_dim=8)
      >>> images = jnp.ones((2, 16, 16))
      >>> embeddings, variables = jax.eval_shape(
      ...     net.init_with_output, jax.random.key(0), images
      ... )
      >>> embeddings.shape, sorted(variables)
      ((2, 8), ['batch_stats', 'params'])
    """

    channels: Sequence[int] = (16, 32, 32, 64)
    num_pooled: int = 2
    hidden: int = 128

    @nn.compact
    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """The hidden layer ``[B, hidden]``."""
        x = self._as_images(x)
        conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = self._batch_norm(train, momentum=0.9)
        for index, channels in enumerate(self.channels):
            x = nn.relu(norm()(conv(channels, (3, 3))(x)))
            if index < self.num_pooled:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
        mean = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        largest = jnp.max(x, axis=(1, 2)).astype(jnp.float32)
        pooled = jnp.concatenate([largest, mean], axis=-1)
        return nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(pooled))
