"""Inception-v3 as torchvision has it, without auxiliary head and input transform.

Source: Szegedy et al. 2016 (arXiv:1512.00567). Submodules carry torchvision's names.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from hierjax.errors import UserError
from hierjax.models.encoders import TORCH_UNIFORM, UniformDense
from hierjax.models.pretrainable import PretrainableEncoder

_SMALLEST = 75
"""Images of less height or width leave nothing to average."""


@dataclasses.dataclass(frozen=True)
class _Conv:
    """Convolution without bias, BatchNorm and ReLU; with `pad` a map keeps its size."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    strides: int = 1
    pad: bool = True
    init: nn.initializers.Initializer = nn.initializers.normal(0.1)


# A branch is a tuple of steps, one after the other. A step is a convolution, a pooling,
# or a tuple of branches side by side, whose channels are joined.
_AVERAGE, _MAX = "average", "max"

_STEM = (
    _Conv("Conv2d_1a_3x3", 32, (3, 3), 2, pad=False, init=TORCH_UNIFORM),
    _Conv("Conv2d_2a_3x3", 32, (3, 3), pad=False),
    _Conv("Conv2d_2b_3x3", 64, (3, 3)),
    _MAX,
    _Conv("Conv2d_3b_1x1", 80),
    _Conv("Conv2d_4a_3x3", 192, (3, 3), pad=False),
    _MAX,
)


def _mixed_5(pooled: int) -> tuple:
    return (
        (_Conv("branch1x1", 64),),
        (_Conv("branch5x5_1", 48), _Conv("branch5x5_2", 64, (5, 5))),
        (
            _Conv("branch3x3dbl_1", 64),
            _Conv("branch3x3dbl_2", 96, (3, 3)),
            _Conv("branch3x3dbl_3", 96, (3, 3)),
        ),
        (_AVERAGE, _Conv("branch_pool", pooled)),
    )


def _mixed_6(inner: int) -> tuple:
    return (
        (_Conv("branch1x1", 192),),
        (
            _Conv("branch7x7_1", inner),
            _Conv("branch7x7_2", inner, (1, 7)),
            _Conv("branch7x7_3", 192, (7, 1)),
        ),
        (
            _Conv("branch7x7dbl_1", inner),
            _Conv("branch7x7dbl_2", inner, (7, 1)),
            _Conv("branch7x7dbl_3", inner, (1, 7)),
            _Conv("branch7x7dbl_4", inner, (7, 1)),
            _Conv("branch7x7dbl_5", 192, (1, 7)),
        ),
        (_AVERAGE, _Conv("branch_pool", 192)),
    )


def _fork(name: str) -> tuple:
    return (_Conv(f"{name}a", 384, (1, 3)),), (_Conv(f"{name}b", 384, (3, 1)),)


_MIXED_7 = (
    (_Conv("branch1x1", 320),),
    (_Conv("branch3x3_1", 384), _fork("branch3x3_2")),
    (
        _Conv("branch3x3dbl_1", 448),
        _Conv("branch3x3dbl_2", 384, (3, 3)),
        _fork("branch3x3dbl_3"),
    ),
    (_AVERAGE, _Conv("branch_pool", 192)),
)

_BLOCKS = {
    "Mixed_5b": _mixed_5(32),
    "Mixed_5c": _mixed_5(64),
    "Mixed_5d": _mixed_5(64),
    "Mixed_6a": (
        (_Conv("branch3x3", 384, (3, 3), 2, pad=False),),
        (
            _Conv("branch3x3dbl_1", 64),
            _Conv("branch3x3dbl_2", 96, (3, 3)),
            _Conv("branch3x3dbl_3", 96, (3, 3), 2, pad=False),
        ),
        (_MAX,),
    ),
    "Mixed_6b": _mixed_6(128),
    "Mixed_6c": _mixed_6(160),
    "Mixed_6d": _mixed_6(160),
    "Mixed_6e": _mixed_6(192),
    "Mixed_7a": (
        (_Conv("branch3x3_1", 192), _Conv("branch3x3_2", 320, (3, 3), 2, pad=False)),
        (
            _Conv("branch7x7x3_1", 192),
            _Conv("branch7x7x3_2", 192, (1, 7)),
            _Conv("branch7x7x3_3", 192, (7, 1)),
            _Conv("branch7x7x3_4", 192, (3, 3), 2, pad=False),
        ),
        (_MAX,),
    ),
    "Mixed_7b": _MIXED_7,
    "Mixed_7c": _MIXED_7,
}


class _ConvNorm(nn.Module):
    """What a `_Conv` describes."""

    conv: _Conv
    norm: Callable[..., nn.Module]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        x = nn.Conv(
            conv.channels,
            conv.kernel,
            conv.strides,
            padding=[(size // 2,) * 2 if conv.pad else (0, 0) for size in conv.kernel],
            use_bias=False,
            kernel_init=conv.init,
            dtype=self.dtype,
            name="conv",
        )(x)
        return nn.relu(self.norm(name="bn")(x))


def _run(steps: tuple, x: jax.Array, make: Callable[..., nn.Module]) -> jax.Array:
    """Runs a branch; its convolutions belong to the module that calls this."""
    for step in steps:
        if isinstance(step, _Conv):
            x = make(step, name=step.name)(x)
        elif step == _AVERAGE:
            x = nn.avg_pool(x, (3, 3), padding=((1, 1), (1, 1)))
        elif step == _MAX:
            x = nn.max_pool(x, (3, 3), (2, 2))
        else:
            x = jnp.concatenate([_run(branch, x, make) for branch in step], axis=-1)
    return x


class _Mixed(nn.Module):
    """Branches side by side.

    Attributes:
      branches: as described above.
      make: makes a `_ConvNorm` from a `_Conv` and a name.
    """

    branches: tuple
    make: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _run((self.branches,), x, self.make)


class InceptionV3(PretrainableEncoder):
    """Inception-v3 with 2048 features, for images of 75 x 75 at least.

    Training drops half of the features before the head and needs
    ``rngs={'dropout': key}``. Average pooling counts the padding's zeros. The first
    convolution, which Kim et al. replace in the pretrained network, and the head start
    from U(±1/sqrt(fan_in)), the others from a truncated normal of scale 0.1.
    """

    def _make_head(self) -> nn.Module:
        return UniformDense(self.embed_dim)

    @property
    def last_stage(self) -> frozenset[str]:
        """The blocks on the smallest maps."""
        return frozenset(name for name in _BLOCKS if name.startswith("Mixed_7"))

    @nn.compact
    def extract(self, x: jax.Array, train: bool) -> jax.Array:
        """Mean-pooled channels ``[B, 2048]``, half of them dropped in training."""
        x = self._as_images(x)
        if min(x.shape[1:3]) < _SMALLEST:
            raise UserError(
                f"InceptionV3 takes images of {_SMALLEST} x {_SMALLEST} at least, got "
                f"{x.shape[1]} x {x.shape[2]}"
            )

        def make(module: str) -> Callable[..., nn.Module]:
            trained = train and not self.is_frozen(module)
            return functools.partial(
                _ConvNorm,
                norm=self._batch_norm(trained, momentum=0.9, epsilon=1e-3),
                dtype=self.dtype,
            )

        x = _run(_STEM, x, make("stem"))
        for name, branches in _BLOCKS.items():
            x = _Mixed(branches, make(name), name=name)(x)
        x = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        return nn.Dropout(0.5, deterministic=not train)(x)
