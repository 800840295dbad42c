"""EfficientNet-Lite0 against PyTorch: equal features, then images a second.

PyTorch's side is the package ``efficientnet-lite-pytorch`` with the same weights in
channels-last order. Of a list of block sizes each side takes the one that suits it
best. Depthwise convolutions alone stand in a second table: XLA's own, ours, PyTorch's.

``--golden=FILE`` writes PyTorch's features of the images of ``tests/models/golden.py``
instead, which the tests compare ours with.
"""

import argparse
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

from benchmarks import timing
from hierjax.models import depthwise, frozen
from hierjax.models.imagenet import packaged_weights
from tests.models import golden

TOLERANCE = 1e-4
NUM_IMAGES = 64
SIDES = (128, 224)
BLOCKS = (8, 16, 32, 64)
SHAPE = (32, 32, 32, 96)


def torch_features(variant: int, block: int) -> Callable[[np.ndarray], np.ndarray]:
    """Features ``[B, F]`` of bytes ``[B, S, S, 3]``, so many images at once.

    Built for no image size, the package pads by the size at hand, as TensorFlow does.
    """
    name = f"efficientnet-lite{variant}"
    net = EfficientNet.from_name(name, image_size=None).eval()
    path = packaged_weights(f"efficientnet_lite{variant}")
    net.load_state_dict(torch.load(path, weights_only=True))
    net = net.to(memory_format=torch.channels_last)

    def features(images: np.ndarray) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), block):
                x = torch.from_numpy(images[start : start + block])
                x = ((x.float() - 127) / 128).permute(0, 3, 1, 2)
                parts.append(net.extract_features(x).mean((2, 3)).numpy())
        return np.concatenate(parts)

    return features


def our_features(side: int, block: int) -> Callable[[np.ndarray], np.ndarray]:
    """The same of ours, with its resizing, which finds nothing to do."""
    encoder = frozen.frozen_encoder("efficientnet_lite0", side=side)

    def features(images: np.ndarray) -> np.ndarray:
        frozen._BLOCKS["cpu"] = block
        return encoder(images)

    return features


def write_golden(path: str) -> None:
    """Features of both images at each network's own size, and of Lite0 at 97."""
    cases = {
        "efficientnet_lite0": (0, 224),
        "efficientnet_lite1": (1, 240),
        "efficientnet_lite2": (2, 260),
        "efficientnet_lite0_at_97": (0, 97),
    }
    found = {
        name: torch_features(variant, 2)(golden.images(side))
        for name, (variant, side) in cases.items()
    }
    np.savez_compressed(path, **found)


def whole_network(side: int) -> tuple[object, ...]:
    """One row of the first table."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (NUM_IMAGES, side, side, 3), dtype=np.uint8)
    theirs = [functools.partial(torch_features(0, block), images) for block in BLOCKS]
    ours = [functools.partial(our_features(side, block), images) for block in BLOCKS]
    error = timing.relative_error(ours[0](), theirs[0]())
    if not error < TOLERANCE:
        raise ValueError(f"features differ by {error:.1e}")
    times = timing.interleaved([*theirs, *ours], seconds=30)
    theirs, ours = times[: len(BLOCKS)], times[len(BLOCKS) :]
    best_theirs, best_ours = min(map(min, theirs)), min(map(min, ours))
    per_block = (
        " / ".join(f"{1e3 * NUM_IMAGES / min(record):.0f}" for record in side_times)
        for side_times in (theirs, ours)
    )
    return side, f"{error:.0e}", *per_block, f"{best_theirs / best_ours:.2f}"


def one_convolution(kernel: int, strides: int) -> tuple[object, ...]:
    """One row of the second table."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=SHAPE).astype(np.float32)
    weights = rng.normal(size=(kernel, kernel, 1, SHAPE[-1])).astype(np.float32)
    ours, native = (
        functools.partial(jax.jit(functools.partial(conv, strides=strides)), x, weights)
        for conv in (depthwise.depthwise_conv, depthwise.convolution)
    )
    channels_first = torch.from_numpy(x).permute(0, 3, 1, 2)
    taps = torch.from_numpy(weights).permute(3, 2, 0, 1)
    taps = taps.contiguous(memory_format=torch.channels_last)

    def theirs() -> torch.Tensor:
        """Padded alike on both sides, which takes no copy."""
        with torch.inference_mode():
            return torch.nn.functional.conv2d(
                channels_first,
                taps,
                stride=strides,
                padding=kernel // 2,
                groups=SHAPE[-1],
            )

    error = timing.relative_error(ours(), native())
    times = timing.interleaved([native, ours, theirs])
    best = [min(record) for record in times]
    return (
        f"{kernel} x {kernel}, strides {strides}",
        f"{error:.0e}",
        *map(timing.best_and_median, times),
        f"{best[0] / best[1]:.1f} / {best[2] / best[1]:.1f}",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables, or writes the golden features."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", help="file to write")
    options = parser.parse_args(arguments)
    if options.golden:
        write_golden(options.golden)
        return
    blocks = ", ".join(map(str, BLOCKS))
    timing.print_table(
        (
            "side",
            "difference",
            f"theirs, images a second in blocks of {blocks}",
            "ours",
            "ratio of the best",
        ),
        map(whole_network, SIDES),
    )
    print()
    timing.print_table(
        (
            f"depthwise on {list(SHAPE)}",
            "difference",
            "XLA's, ms (best / median)",
            "ours",
            "PyTorch's",
            "XLA's / ours, PyTorch's / ours",
        ),
        (one_convolution(kernel, strides) for kernel in (3, 5) for strides in (1, 2)),
    )


if __name__ == "__main__":
    main()
