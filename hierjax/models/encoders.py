"""Small encoders for embedded data, spectrograms and images.

Every encoder has two methods: ``features(inputs, train)``, what comes before the head,
and ``__call__(inputs, train)``, the embeddings ``[B, embed_dim]`` after the head, unit
vectors if ``normalize`` (the losses on pairs expect those).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from hierjax import distances


def _flatten(inputs: jax.Array) -> jax.Array:
    return inputs.reshape(inputs.shape[0], -1).astype(jnp.float32)


class _Encoder(nn.Module):
    """Head and normalisation shared by all encoders; subclasses give ``features``.

    Attributes:
      embed_dim: size D of the embedding.
      normalize: return unit vectors; a zero embedding stays zero.
    """

    embed_dim: int
    normalize: bool = True

    def setup(self):
        self.head = nn.Dense(self.embed_dim)

    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Embeddings ``[B, embed_dim]``."""
        embeddings = self.head(self.features(inputs, train))
        return distances.unit_normalize(embeddings) if self.normalize else embeddings


class Linear(_Encoder):
    """One affine layer on the flattened input, the network of Nolasco & Stowell."""

    def features(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """The flattened input ``[B, F]``."""
        del train
        return _flatten(inputs)


class MLP(_Encoder):
    """Hidden ReLU layers on the flattened input.

    Attributes:
      hidden_sizes: width of each hidden layer.
    """

    hidden_sizes: Sequence[int] = (256,)

    @nn.compact
    def features(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """The last hidden layer ``[B, hidden_sizes[-1]]``."""
        del train
        x = _flatten(inputs)
        for size in self.hidden_sizes:
            x = nn.relu(nn.Dense(size)(x))
        return x


class ConvNet(_Encoder):
    """Convolution, BatchNorm and ReLU with strides, then the mean over positions.

    Takes ``[B, H, W]`` (one channel) or ``[B, H, W, C]``.

    Attributes:
      channels: channels of each stage; every stage halves height and width.
      axis_name: mapped axis over which BatchNorm takes its statistics in training, so
        that N devices see the statistics of the whole batch; None: this device's.
    """

    channels: Sequence[int] = (32, 64, 128)
    axis_name: str | None = None

    @nn.compact
    def features(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Mean-pooled channels ``[B, channels[-1]]``."""
        x = inputs.astype(jnp.float32)
        if x.ndim == 3:
            x = x[..., None]
        if x.ndim != 4:
            raise ValueError(f"ConvNet takes [B, H, W(, C)], got {inputs.shape}")
        for channels in self.channels:
            x = nn.Conv(channels, (3, 3), strides=2, use_bias=False)(x)
            x = nn.BatchNorm(
                use_running_average=not train,
                axis_name=self.axis_name if train else None,
            )(x)
            x = nn.relu(x)
        return jnp.mean(x, axis=(1, 2))
