"""Time and memory of the rank-based loss, value and gradient, by batch size.

A second table puts the rank of every pair, as we compute it from label columns, beside
the published way: a path string per row, split anew for every pair.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from hierjax import masks
from hierjax.losses import rank_based_loss

BATCH_SIZES = (256, 1024, 2048)
RANK_BATCH_SIZES = (12, 64, 256)


def two_levels(batch_size: int) -> np.ndarray:
    """Random labels ``int32 [B, 2]`` of 3 nodes with 3 classes each."""
    classes = np.random.default_rng(0).integers(0, 9, batch_size)
    return np.stack([classes // 3, classes], axis=1).astype(np.int32)


def time_loss(batch_size: int, target: str, block_size: int | None) -> tuple:
    """One row of the table of losses."""
    arguments = jax.device_put((timing.unit_batch(batch_size), two_levels(batch_size)))
    loss = functools.partial(rank_based_loss, target=target, block_size=block_size)
    program, seconds = timing.compiled(jax.value_and_grad(loss), *arguments)
    (times,) = timing.interleaved([lambda: program(*arguments)], seconds=5)
    return (
        batch_size,
        target,
        block_size or "none",
        timing.best_and_median(times),
        f"{program.memory_analysis().temp_size_in_bytes / 2**20:.1f}",
        f"{seconds:.2f}",
        len(times),
    )


def ranks_by_strings(paths: list[str]) -> list[int]:
    """Rank of every pair of rows, pair by pair, from paths such as ``2/7``."""
    ranks = []
    for one, other in itertools.combinations(paths, 2):
        pairs = zip(one.split("/"), other.split("/"), strict=True)
        differ = [a != b for a, b in pairs]
        ranks.append(2 * (len(differ) - differ.index(True)) if any(differ) else 0)
    return ranks


def ranks_of_columns(labels: jax.Array) -> jax.Array:
    """The same for all pairs at once, ``int32 [B, B]``."""
    return 2 * (labels.shape[1] - masks.shared_levels(labels, labels))


def time_ranks(batch_size: int) -> tuple:
    """One row of the table of rank maps."""
    labels = two_levels(batch_size)
    paths = ["/".join(map(str, row)) for row in labels.tolist()]
    program, seconds = timing.compiled(ranks_of_columns, labels)
    ours = np.asarray(program(labels))[np.triu_indices(batch_size, 1)]
    if ours.tolist() != ranks_by_strings(paths):
        raise SystemExit(f"B = {batch_size}: the ranks differ")
    on_device = jnp.asarray(labels)
    string_times, our_times = timing.interleaved(
        [lambda: ranks_by_strings(paths), lambda: program(on_device)], seconds=2
    )
    return (
        batch_size,
        timing.best_and_median(string_times),
        timing.best_and_median(our_times),
        f"{seconds:.2f}",
        len(our_times),
    )


def main() -> None:
    """Prints both tables."""
    timing.print_table(
        (
            "B",
            "target",
            "block size",
            "ms (best / median)",
            "temporary memory, MiB",
            "compilation, s",
            "repeats",
        ),
        itertools.starmap(
            time_loss,
            itertools.product(BATCH_SIZES, ("rank_index", "block_edge"), (None, 256)),
        ),
    )
    print()
    timing.print_table(
        ("B", "strings, ms (best / median)", "ours, ms", "compilation, s", "repeats"),
        map(time_ranks, RANK_BATCH_SIZES),
    )


if __name__ == "__main__":
    main()
