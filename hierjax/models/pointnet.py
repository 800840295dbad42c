"""PointNet: an encoder of unordered point sets.

Source: Qi et al. 2017 (arXiv:1612.00593). Left out are its two transformation networks
(T-Nets) and what follows the maximum (two wide layers and dropout): the head sees the
maximum itself. The shared layers are narrower (64, 128 and 256 channels, there 64, 64,
64, 128 and 1024) and have no bias, which the BatchNorm behind them would remove.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from hierjax.errors import UserError
from hierjax.models.encoders import BatchNormEncoder


class PointNet(BatchNormEncoder):
    """The same layers for every point, then the maximum over points.

    Takes ``[B, P, 3]``, any number of points P; their order does not matter, nor do
    points given twice in evaluation.

    Attributes:
      channels: of each layer.

    Example:
      Shapes alone; nothing is computed.

      >>> clouds = jnp.ones((2, 100, 3))
      >>> embeddings, _ = jax.eval_shape(
      ...     PointNet(embed_dim=8).init_with_output, jax.random.key(0), clouds
      ... )
      >>> embeddings.shape
      (2, 8)
    """

    channels: Sequence[int] = (64, 128, 256)

    @nn.compact
    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """Largest value of every channel ``[B, channels[-1]]``."""
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != 3:
            raise UserError(
                f"PointNet takes points [B, P, 3] with at least one point, got "
                f"{x.shape}; the models linear and mlp take any shape"
            )
        norm = self._batch_norm(train)
        for channels in self.channels:
            x = nn.Dense(channels, use_bias=False, dtype=self.dtype)(x)
            x = nn.relu(norm()(x))
        return jnp.max(x, axis=1)
