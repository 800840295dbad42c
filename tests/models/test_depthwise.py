import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.models import depthwise

CASES = pytest.mark.parametrize(
    ("kernel", "strides", "shape"),
    [
        (3, 1, (2, 9, 6, 4)),
        (3, 2, (2, 8, 9, 3)),
        (5, 1, (2, 6, 1, 3)),
        (5, 2, (1, 9, 8, 3)),
        (5, 2, (2, 1, 2, 3)),
    ],
)


def arrays(kernel, shape):
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=shape).astype(np.float32),
        rng.normal(size=(kernel, kernel, 1, shape[-1])).astype(np.float32),
    )


@CASES
def test_values_and_gradients_are_those_of_a_convolution(kernel, strides, shape):
    x, weights = arrays(kernel, shape)
    expected = depthwise.convolution(x, weights, strides=strides)
    push = np.random.default_rng(1).normal(size=expected.shape).astype(np.float32)

    def pushed(conv, *inputs):
        return jnp.sum(conv(*inputs, strides=strides) * push)

    found = jax.jit(depthwise.depthwise_conv, static_argnames="strides")(
        x, weights, strides=strides
    )
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-6 * scale)
    gradients = (
        jax.jit(jax.grad(functools.partial(pushed, conv), argnums=(0, 1)))(x, weights)
        for conv in (depthwise.depthwise_conv, depthwise.convolution)
    )
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6 * np.abs(theirs).max())


def test_cpus_sum_products_and_others_convolve():
    """Also in the gradient, and in a program for several platforms."""
    x, weights = arrays(3, (2, 8, 8, 4))

    def loss(x, weights):
        return jnp.sum(depthwise.depthwise_conv(x, weights, strides=2) ** 2)

    for function in (loss, jax.grad(loss, argnums=(0, 1))):
        compiled = jax.jit(function).lower(x, weights).compile().as_text()
        assert "convolution" not in compiled and "conditional" not in compiled
        for platforms in (("cuda",), ("tpu",), ("cpu", "cuda", "tpu")):
            exported = jax.export.export(jax.jit(function), platforms=platforms)
            assert "stablehlo.convolution" in exported(x, weights).mlir_module()
    everywhere = exported(x, weights)
    again = jax.export.deserialize(everywhere.serialize()).call(x, weights)
    for ours, theirs in zip(again, jax.jit(function)(x, weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
