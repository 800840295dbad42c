"""Depthwise convolutions, each channel with a kernel of its own, fast on CPUs too.

XLA's own depthwise convolution runs on CPUs several ten times slower than it need be;
the same as a sum of shifted products, one a tap of the kernel, becomes one fused loop.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike


def depthwise_conv(x: jax.Array, kernel: jax.Array, *, strides: int) -> jax.Array:
    """Convolves every channel with its own kernel, padded as TensorFlow's 'SAME'.

    Programs lowered for a CPU sum shifted products, all others take XLA's convolution;
    one exported for several platforms holds both.

    Args:
      x: ``[B, H, W, C]``.
      kernel: ``[k, k, 1, C]``, as `flax.linen.Conv` keeps it.
      strides: of both axes.

    Returns:
      ``[B, ceil(H / strides), ceil(W / strides), C]``.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(shifted_products, strides=strides),
        default=functools.partial(convolution, strides=strides),
    )


def convolution(x: jax.Array, kernel: jax.Array, *, strides: int) -> jax.Array:
    """`depthwise_conv` as XLA has it, whatever the platform."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def shifted_products(x: jax.Array, kernel: jax.Array, *, strides: int) -> jax.Array:
    """`depthwise_conv` as a sum over the taps of the kernel, whatever the platform."""
    heights, widths = (
        _padding(size, width, strides)
        for size, width in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    )
    padded = jnp.pad(x, ((0, 0), heights, widths, (0, 0)))
    batch, height, width, channels = padded.shape
    # Pixels that a tap meets are neighbours in one of these grids.
    grids = padded.reshape(
        batch, height // strides, strides, width // strides, strides, channels
    )
    rows, columns = (-(-size // strides) for size in x.shape[1:3])
    total = 0
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            top, left = i // strides, j // strides
            shifted = grids[
                :,
                top : top + rows,
                i % strides,
                left : left + columns,
                j % strides,
            ]
            total += shifted * kernel[i : i + 1, j : j + 1]
    return total


def _padding(size: int, width: int, strides: int) -> tuple[int, int]:
    """Zeros before and behind an axis, whole strides of them with the axis."""
    taken = (math.ceil(size / strides) - 1) * strides + width
    before = max(taken - size, 0) // 2
    length = max(taken, size + before)
    return before, math.ceil(length / strides) * strides - size - before


class DepthwiseConv(nn.Module):
    """`depthwise_conv` with a kernel that is learned, He normal at first, no bias.

    Attributes:
      kernel_size: width of the kernel.
      strides: of both axes.
      dtype: of the computation.
    """

    kernel_size: int
    strides: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[B, H, W, C]`` to ``[B, ceil(H / strides), ceil(W / strides), C]``."""
        shape = (self.kernel_size, self.kernel_size, 1, x.shape[-1])
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return depthwise_conv(
            x.astype(self.dtype), kernel.astype(self.dtype), strides=self.strides
        )
