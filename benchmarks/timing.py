"""Timing, batches and tables that the benchmarks share."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np


def unit_batch(batch_size: int, *, dim: int = 128, seed: int = 0) -> np.ndarray:
    """Random unit vectors ``float32 [B, D]``."""
    rows = np.random.default_rng(seed).normal(size=(batch_size, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def compiled(function: Callable, *args: Any) -> tuple[Callable, float]:
    """Compiles a function for these arguments; also gives the seconds it took."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    return program, time.perf_counter() - start


def interleaved(
    functions: Sequence[Callable[[], Any]], *, seconds: float = 10.0, least: int = 5
) -> list[list[float]]:
    """Milliseconds of every call, the functions taking turns after one warm-up each.

    Taking turns spreads whatever else the machine does over all of them. There are at
    least ``least`` turns, and more until ``seconds`` are over.
    """
    for function in functions:
        jax.block_until_ready(function())
    times: list[list[float]] = [[] for _ in functions]
    begin = time.perf_counter()
    while len(times[0]) < least or time.perf_counter() - begin < seconds:
        for function, record in zip(functions, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function())
            record.append(1e3 * (time.perf_counter() - start))
    return times


def best_and_median(milliseconds: Sequence[float]) -> str:
    """The two as ``1.23 / 1.50``."""
    median = statistics.median(milliseconds)
    return f"{min(milliseconds):.3g} / {median:.3g}"


def relative_error(value: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference relative to the largest entry of the reference."""
    value, reference = np.asarray(value), np.asarray(reference)
    return float(np.abs(value - reference).max() / np.abs(reference).max())


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a Markdown table, each row as soon as it is there."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header), flush=True)
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def tree_labels(num_examples: int, seed: int = 0) -> np.ndarray:
    """Labels ``int32 [B, 3]`` under 5, 20 and 100 nodes, uniform over the leaves."""
    leaf = np.random.default_rng(seed).integers(0, 100, num_examples)
    return np.stack([leaf // 20, leaf // 5, leaf], axis=1).astype(np.int32)
