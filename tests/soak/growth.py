"""Trains, evaluates and embeds again and again in one process, and weighs it.

``python -m tests.soak.growth --minutes=30`` prints the resident memory after every
round, and at the end by how much the median of the last fifth of the rounds is above
that of the first fifth after the warm-up; it exits with 1 if that is 2 % or more.
"""

import argparse
import gc
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import numpy as np

from experiments import embed, evaluate, train
from tests.soak.calling import call

ALLOWED = 0.02
_WARM_UP = 5
"""Rounds that are not counted: what is compiled and imported once is kept."""
_SHARE = 5


def resident() -> float:
    """Memory of this process now, in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def make_data(path: pathlib.Path) -> None:
    """Writes 96 rows of four classes in two groups, with splits."""
    draw = np.random.default_rng(0)
    classes = np.arange(96) % 4
    names = [("air", "flute"), ("air", "horn"), ("string", "harp"), ("string", "viola")]
    np.savez(
        path,
        features=draw.normal(size=(4, 16))[classes] + draw.normal(size=(96, 16)),
        labels=np.array(names)[classes],
        split=np.repeat(["train", "validation", "test"], [48, 24, 24]),
    )


def one_round(folder: pathlib.Path, data: pathlib.Path, number: int) -> None:
    """Trains in a new folder, evaluates that and embeds the data with its model."""
    workdir = folder / f"run{number}"
    steps = ("--num_steps=20", "--set=eval_every=10", "--set=checkpoint_every=10")
    of_run = ("--report=none", f"--workdir={workdir}")
    for command, arguments in (
        (train, (f"--data_path={data}", f"--seed={number}", *steps, *of_run)),
        (evaluate, of_run),
        (embed, (f"--data_path={data}", f"--workdir={workdir}")),
    ):
        code, said = call(command, *arguments)
        if code:
            raise RuntimeError(f"{command.__name__} ended with {code}: {said}")


def grow(minutes: float, least_rounds: int = 2 * _SHARE) -> list[float]:
    """Memory in MB after every round but those of the warm-up."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        make_data(folder / "data.npz")
        end = time.monotonic() + 60 * minutes
        number = 0
        while time.monotonic() < end or len(found) < least_rounds:
            one_round(folder, folder / "data.npz", number)
            number += 1
            gc.collect()
            if number > _WARM_UP:
                found.append(resident())
                print(f"round {number}: {found[-1]:.1f} MB", flush=True)
    return found


def growth(memory: list[float]) -> float:
    """By what share the end lies above the beginning."""
    count = max(1, len(memory) // _SHARE)
    first, last = (statistics.median(x) for x in (memory[:count], memory[-count:]))
    return last / first - 1


def main() -> None:
    """Goes on for as long as the flags say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    memory = grow(parser.parse_args().minutes)
    grown = growth(memory)
    print(f"{len(memory)} rounds after the warm-up, grown by {grown:.2%}")
    sys.exit(grown >= ALLOWED)


if __name__ == "__main__":
    main()
