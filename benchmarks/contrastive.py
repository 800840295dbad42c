"""The hierarchical contrastive losses: against bare products, and the published way.

Value and gradient at 512 examples of two views in 128 dimensions, three levels.

*Products* are the matrix products that a plain implementation cannot do without: one of
N x D by D x N for the similarities and two of N x N by N x D for the gradient, without
anything else. *The published way* is PyTorch's autograd through the steps of the
published code of HMC as its description in Zhang et al. 2022 and our notes have them,
written anew: at each level a mask filled row by row, a Gram matrix and a softmax of its
own over the examples that are left, then one example kept a class. Its value must agree
with ``official=True`` before anything is timed.
"""

import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import timing
from hierjax import losses, mixtures

NUM_EXAMPLES, NUM_VIEWS, DIM = 512, 2, 128
TEMPERATURE, BASE_TEMPERATURE = 0.1, 0.07
TOLERANCE = 1e-4
LARGE_ROWS, LARGE_BLOCK = 65_536, 128


def one_level(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """SupCon of one level: features ``[B, V, D]``, positives ``mask [B, B]``."""
    num_examples, num_views = features.shape[:2]
    rows = features.transpose(0, 1).reshape(num_examples * num_views, -1)
    similarity = rows @ rows.T / TEMPERATURE
    similarity = similarity - similarity.max(dim=1, keepdim=True).values.detach()
    others = 1 - torch.eye(len(rows))
    positives = mask.repeat(num_views, num_views) * others
    total = (torch.exp(similarity) * others).sum(1, keepdim=True)
    log_probability = similarity - torch.log(total)
    means = (positives * log_probability).sum(1) / positives.sum(1)
    return -(TEMPERATURE / BASE_TEMPERATURE) * means.mean()


def published_way(
    features: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """HMCE level by level, on labels with a column of instances behind them."""
    features = features.detach().requires_grad_()
    columns = torch.cat([labels, torch.arange(len(labels))[:, None]], dim=1)
    kept, total, highest = features, 0.0, None
    for place in range(1, columns.shape[1]):
        paths = columns[:, : columns.shape[1] - place]
        mask = torch.zeros(len(paths), len(paths))
        for row in range(len(paths)):
            mask[row] = (paths == paths[row]).all(dim=1).float()
        loss = one_level(kept, mask)
        if highest is not None:
            loss = torch.maximum(loss, highest)
        highest = loss
        total = total + np.exp(1 / place) * loss
        unique, inverse = torch.unique(paths, dim=0, return_inverse=True)
        first = torch.full((len(unique),), len(paths))
        first.scatter_reduce_(0, inverse, torch.arange(len(paths)), "amin")
        kept, columns = kept[first], columns[first]
    total = total / (labels.shape[1] + 1)
    total.backward()
    return total.detach(), features.grad


def products(rows: jax.Array, weights: jax.Array) -> tuple[jax.Array, ...]:
    """The three products, of numbers that do not depend on each other."""
    highest = jax.lax.Precision.HIGHEST
    return (
        jnp.matmul(rows, rows.T, precision=highest),
        jnp.matmul(weights, rows, precision=highest),
        jnp.matmul(weights.T, rows, precision=highest),
    )


def hmce(embeddings: jax.Array, labels: jax.Array) -> jax.Array:
    """Ours, at the temperature that is compared."""
    return losses.hmce_loss(embeddings, labels, temperature=TEMPERATURE)


def hmce_official(embeddings: jax.Array, labels: jax.Array) -> jax.Array:
    """The published value."""
    return losses.hmce_loss(embeddings, labels, temperature=TEMPERATURE, official=True)


def supcon(embeddings: jax.Array, labels: jax.Array) -> jax.Array:
    """SupCon on the leaves."""
    return losses.supcon_loss(embeddings, labels[:, -1])


def masked(mode: str | None):
    """`level_contrastive_loss` with masks of a kind; None: all ones."""

    def loss(embeddings, labels):
        num_levels = labels.shape[1]
        masks = jnp.ones((num_levels, embeddings.shape[-1]))
        if mode is not None:
            masks = mixtures.gaussian_level_masks(embeddings, num_levels, mode=mode)
        return losses.level_contrastive_loss(embeddings, masks, labels)

    return loss


def compare() -> None:
    """Prints value and gradient of every loss, relative to the bare products."""
    embeddings = timing.unit_batch(NUM_EXAMPLES * NUM_VIEWS, dim=DIM)
    rows = jnp.asarray(embeddings)
    embeddings = jnp.asarray(embeddings.reshape(NUM_EXAMPLES, NUM_VIEWS, DIM))
    complete = timing.tree_labels(NUM_EXAMPLES)
    incomplete = complete.copy()
    incomplete[::3, -1] = -1
    ours = jax.jit(jax.value_and_grad(hmce_official))(embeddings, complete)
    theirs = published_way(torch.tensor(np.asarray(embeddings)), torch.tensor(complete))
    found = [timing.relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
    if max(found) > TOLERANCE:
        raise SystemExit(f"value and gradient differ by {found}")
    print(f"published way and official=True differ by {found}")

    cases = {
        "HMCE": (hmce, complete),
        "HMCE, a third of the leaves unknown": (hmce, incomplete),
        "HMCE, official": (hmce_official, complete),
        "SupCon": (supcon, complete),
        "unmasked, three levels": (masked(None), complete),
        "G-HMLC mean, three levels": (masked("mean"), complete),
        "G-HMLC sample, three levels": (masked("sample"), complete),
    }
    bare = jax.jit(products)
    weights = rows @ rows.T
    functions = {"products": lambda: bare(rows, weights)}
    for name, (loss, labels) in cases.items():
        program = jax.jit(jax.value_and_grad(loss))
        functions[name] = functools.partial(program, embeddings, jnp.asarray(labels))
    torch_embeddings = torch.tensor(np.asarray(embeddings))
    torch_labels = torch.tensor(complete)
    functions["published way, PyTorch"] = lambda: published_way(
        torch_embeddings, torch_labels
    )
    times = timing.interleaved(list(functions.values()), seconds=40)
    reference, flat = times[0], times[list(functions).index("SupCon")]
    timing.print_table(
        ("value and gradient", "ms (best / median)", "/ products", "/ SupCon", "turns"),
        (
            (
                name,
                timing.best_and_median(record),
                f"{np.median(np.divide(record, reference)):.2f}",
                f"{np.median(np.divide(record, flat)):.2f}",
                len(record),
            )
            for name, record in zip(functions, times, strict=True)
        ),
    )


def compare_blocks(num_rows: int = 2048) -> None:
    """Prints the dense form against blocks of anchors."""
    embeddings = timing.unit_batch(num_rows, dim=DIM)
    embeddings = jnp.asarray(embeddings.reshape(-1, NUM_VIEWS, DIM))
    labels = jnp.asarray(timing.tree_labels(num_rows // NUM_VIEWS))
    sizes = (None, 128, 256, 512, 1024)
    programs = []
    for size in sizes:
        loss = jax.value_and_grad(
            lambda z, y, size=size: losses.hmce_loss(z, y, block_size=size)
        )
        programs.append(jax.jit(loss))
    times = timing.interleaved(
        [lambda program=program: program(embeddings, labels) for program in programs]
    )
    timing.print_table(
        ("HMCE, 2,048 rows, block", "ms (best / median)", "/ dense"),
        (
            (
                size or "dense",
                timing.best_and_median(record),
                f"{np.median(np.divide(record, times[0])):.2f}",
            )
            for size, record in zip(sizes, times, strict=True)
        ),
    )


_LARGE = f"""
import json, time, jax, jax.numpy as jnp, numpy as np
from benchmarks import timing
from hierjax import losses
z = timing.unit_batch({LARGE_ROWS}).reshape(-1, 2, 128)
y = timing.tree_labels(len(z))
# What getrusage says is inherited from the process that started this one.
status = lambda: dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = lambda: int(status()["VmHWM"].split()[0]) / 1024
before = peak()
f = jax.jit(jax.value_and_grad(
    lambda z, y: losses.hmce_loss(z, y, block_size={LARGE_BLOCK})))
program = f.lower(z, y).compile()
start = time.perf_counter()
value, gradient = jax.block_until_ready(program(z, y))
seconds = time.perf_counter() - start
memory = program.memory_analysis().temp_size_in_bytes / 2**20
print(json.dumps([float(value), seconds, memory, before, peak()]))
"""


def large_batch() -> None:
    """Prints time and memory of 65,536 rows in blocks, in a process of its own."""
    printed = subprocess.run(
        [sys.executable, "-c", _LARGE], capture_output=True, text=True, check=True
    ).stdout
    value, seconds, memory, before, peak = json.loads(printed)
    timing.print_table(
        (
            f"HMCE, {LARGE_ROWS:,} rows, blocks of {LARGE_BLOCK}",
            "s",
            "temporary, MiB",
            "resident before, MiB",
            "peak, MiB",
        ),
        [
            (
                f"loss {value:.4f}",
                f"{seconds:.1f}",
                f"{memory:.0f}",
                f"{before:.0f}",
                f"{peak:.0f}",
            )
        ],
    )


def main() -> None:
    """Prints the tables."""
    compare()
    print()
    compare_blocks()
    print()
    large_batch()


if __name__ == "__main__":
    main()
