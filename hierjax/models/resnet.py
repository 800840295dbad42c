"""Residual networks: torchvision's, those for 32 x 32 images, and one for CPUs.

Paddings are symmetric and given as numbers: Flax's 'SAME' pads strided convolutions on
one side only, and PyTorch's weights would see shifted images. Submodules carry
torchvision's names, with ``layer1.0`` written ``layer1_0``.

Source: He et al. 2016 (arXiv:1512.03385); a bottleneck has its stride in the 3 x 3
convolution, as torchvision's do.
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hierjax.models.encoders import TORCH_UNIFORM, UniformDense
from hierjax.models.pretrainable import PretrainableEncoder

_HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _conv(
    channels: int,
    kernel: int,
    strides: int,
    *,
    dtype: DTypeLike,
    name: str,
    kernel_init: nn.initializers.Initializer = _HE_NORMAL,
) -> nn.Conv:
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=kernel_init,
        dtype=dtype,
        name=name,
    )


class _Block(nn.Module):
    """Convolutions beside a shortcut.

    Attributes:
      channels: of the 3 x 3 convolutions.
      strides: of the first of them, and of the shortcut.
      bottleneck: 1 x 1, 3 x 3, and 1 x 1 to four times the channels; else twice 3 x 3.
      conv: makes a convolution of given channels, kernel, strides and name.
      norm: makes a BatchNorm of given name.
    """

    channels: int
    strides: int
    bottleneck: bool
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.bottleneck:
            layers = (
                (self.channels, 1, 1),
                (self.channels, 3, self.strides),
                (4 * self.channels, 1, 1),
            )
        else:
            layers = (self.channels, 3, self.strides), (self.channels, 3, 1)
        y = x
        for number, layer in enumerate(layers, 1):
            y = self.conv(*layer, name=f"conv{number}")(y)
            y = self.norm(name=f"bn{number}")(y)
            if number < len(layers):
                y = nn.relu(y)
        if x.shape != y.shape:
            x = self.conv(y.shape[-1], 1, self.strides, name="downsample_0")(x)
            x = self.norm(name="downsample_1")(x)
        return nn.relu(x + y)


class ResNet(PretrainableEncoder):
    """Stem, stages of residual blocks, then the mean over positions.

    Convolutions start He normal over the outputs, as torchvision's do; stem and head,
    which Kim et al. replace in the pretrained network, from U(±1/sqrt(fan_in)).
    BatchNorm keeps running averages of the biased variance, PyTorch of the unbiased.

    Attributes:
      blocks: number of residual blocks of each stage; every stage but the first halves
        height and width.
      channels: of each stage; with bottlenecks features are four times the last.
      bottleneck: blocks of three convolutions, not two.
      stem_kernel: width of the first convolution.
      stem_strides: its strides.
      stem_pool: 3 x 3 max-pooling with strides 2 behind it.

    Example:
      Shapes alone; nothing is computed.

      >>> net = ResNet(embed_dim=8, blocks=(1, 1), channels=(16, 32), bottleneck=False)
      >>> images = jnp.ones((2, 32, 32, 3))
      >>> embeddings, variables = jax.eval_shape(
      ...     net.init_with_output, jax.random.key(0), images
      ... )
      >>> embeddings.shape, variables["params"]["head"]["kernel"].shape
      ((2, 8), (32, 8))
    """

    blocks: Sequence[int] = (3, 4, 6, 3)
    channels: Sequence[int] = (64, 128, 256, 512)
    bottleneck: bool = True
    stem_kernel: int = 7
    stem_strides: int = 2
    stem_pool: bool = True

    def _make_head(self) -> nn.Module:
        return UniformDense(self.embed_dim)

    @property
    def last_stage(self) -> frozenset[str]:
        """Its residual blocks."""
        stage = len(self.blocks)
        return frozenset(f"layer{stage}_{block}" for block in range(self.blocks[-1]))

    @nn.compact
    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """Mean-pooled channels ``[B, F]``."""
        conv = functools.partial(_conv, dtype=self.dtype)

        def norm(module: str) -> Callable[..., nn.Module]:
            return self._batch_norm(
                train and not self.is_frozen(module), momentum=0.9, epsilon=1e-5
            )

        x = conv(
            self.channels[0],
            self.stem_kernel,
            self.stem_strides,
            name="conv1",
            kernel_init=TORCH_UNIFORM,
        )(self._as_images(x))
        x = nn.relu(norm("bn1")(name="bn1")(x))
        if self.stem_pool:
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        stages = zip(self.channels, self.blocks, strict=True)
        for stage, (channels, blocks) in enumerate(stages, 1):
            for block in range(blocks):
                name = f"layer{stage}_{block}"
                x = _Block(
                    channels,
                    strides=2 if stage > 1 and block == 0 else 1,
                    bottleneck=self.bottleneck,
                    conv=conv,
                    norm=norm(name),
                    name=name,
                )(x)
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)


_CIFAR_STEM = {"stem_kernel": 3, "stem_strides": 1, "stem_pool": False}

ResNet50 = functools.partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True)
"""torchvision's ResNet-50; 32 x 32 images end in a 1 x 1 map."""

CifarResNet18 = functools.partial(
    ResNet, blocks=(2, 2, 2, 2), bottleneck=False, **_CIFAR_STEM
)
"""ResNet-18 that keeps 32 x 32 images at full size through its first stage."""

CifarResNet50 = functools.partial(
    ResNet, blocks=(3, 4, 6, 3), bottleneck=True, **_CIFAR_STEM
)
"""ResNet-50 that keeps 32 x 32 images at full size through its first stage."""

SmallResNet = functools.partial(
    ResNet,
    blocks=(1, 1, 1),
    channels=(32, 64, 128),
    bottleneck=False,
    stem_kernel=3,
    stem_strides=2,
    stem_pool=True,
)
"""ResNet-8 whose stem leaves a quarter of height and width, for CPUs."""
