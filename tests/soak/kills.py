"""Kills runs at random moments and while they write checkpoints, and compares the end.

``python -m tests.soak.kills --count=200 --aimed=100`` takes four presets in turn. Every
run is killed one to four times by SIGKILL, continued with the same command, and at last
left to finish: its checkpoint, records, results, values of queries and model must be
those of a run that was never killed, to the bit. Exits with 1 if any differs.

The processes are forked from this one, which has imported everything and has not yet
started JAX: that costs a third of starting them anew. They share a cache of compiled
programs, so that a kill does not mostly hit the compiler.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import signal
import sys
import tempfile
import time
import traceback

import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments import train
from experiments.cli import command_line

PRESETS = (
    "rank_based/gm_notes/rbl",
    "class_hierarchies/digits/proxydr+ema+dynamic",
    "class_hierarchies/digits/normface+mds",
    "hierarchical_contrastive/hierarchical_digits/ahmlc",
)
SHORT = (
    "--num_steps=40",
    "--batch_size=12",
    "--report=none",
    "--set=eval_every=4",
    "--set=checkpoint_every=4",
)
_MOST_KILLS = 4
_MOST_SECONDS_AFTER = 0.1
_SECONDS_TO_FINISH = 600


def start(preset: str, workdir: pathlib.Path, log: pathlib.Path) -> int:
    """Forks a process that trains, or continues, in a workdir."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        arguments = [f"--experiment={preset}", f"--workdir={workdir}", *SHORT]
        sys.argv = ["train", *arguments]
        command_line.run(train.main, train.define_flags)
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(preset: str, workdir: pathlib.Path, log: pathlib.Path) -> float:
    """Lets a run come to its end; gives the seconds that it took."""
    before = time.monotonic()
    _, status = os.waitpid(start(preset, workdir, log), 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise RuntimeError(f"{preset} ended with {code}: {log.read_text()[-2000:]}")
    return time.monotonic() - before


def is_over(pid: int) -> bool:
    """Whether a process has ended by itself, without an error."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended and os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"it ended with {os.waitstatus_to_exitcode(status)}")
    return bool(ended)


def unfinished(workdir: pathlib.Path) -> set[tuple[str, int]]:
    """Checkpoints that are being written, or were when the process was killed."""
    try:
        with os.scandir(workdir / "checkpoints") as entries:
            return {(x.name, x.inode()) for x in entries if "tmp" in x.name}
    except FileNotFoundError:
        return set()


def wait_for_checkpoint(pid: int, workdir: pathlib.Path, n: int) -> bool:
    """Waits until a process writes its n-th checkpoint; False if it ends first."""
    seen = unfinished(workdir)
    while not is_over(pid):
        found = unfinished(workdir) - seen
        n -= len(found)
        seen |= found
        if n <= 0:
            return True
        time.sleep(0.0005)
    return False


def contents(workdir: pathlib.Path) -> dict:
    """All that a run leaves behind and another run of it must leave the same."""
    steps = [path for path in (workdir / "checkpoints").iterdir() if path.is_dir()]
    last = max(steps, key=lambda path: int(path.name))
    results = json.loads((workdir / "results.json").read_text())
    found = {
        "step": last.name,
        "metrics.jsonl": (workdir / "metrics.jsonl").read_bytes(),
        "results.json": json.dumps(results, sort_keys=True),
        "config.json": (workdir / "config.json").read_bytes(),
    }
    for path in (workdir / "model").iterdir():
        found[f"model/{path.name}"] = path.read_bytes()
    with np.load(workdir / "per_query.npz") as arrays:
        found |= {f"per_query/{key}": arrays[key].tobytes() for key in arrays.files}
    with ocp.StandardCheckpointer() as reader:
        for part in ("last", "best"):
            state = reader.restore(last.resolve() / part)
            found |= dict(_arrays(part, state))
    return found


def _arrays(place: str, state):
    if isinstance(state, dict):
        for key, value in state.items():
            yield from _arrays(f"{place}/{key}", value)
    elif isinstance(state, (list, tuple)):
        for key, value in enumerate(state):
            yield from _arrays(f"{place}/{key}", value)
    elif state is not None:
        yield place, np.asarray(state).tobytes()


@dataclasses.dataclass
class Count:
    """How often, and what came of it."""

    random: int = 0
    aimed: int = 0
    in_checkpoint: int = 0
    compared: int = 0
    differing: list[str] = dataclasses.field(default_factory=list)


def kill_and_compare(
    presets: tuple[str, ...], count: int, aimed: int, seed: int, folder: pathlib.Path
) -> Count:
    """Kills until there were ``count`` kills, ``aimed`` of them at checkpoints."""
    draw = np.random.default_rng(seed)
    done = Count()
    ends: dict[str, dict] = {}
    seconds: dict[str, float] = {}
    for preset in presets:
        place = folder / preset.replace("/", "_")
        place.mkdir()
        # The first fills the cache of compiled programs.
        for name in ("first", "whole"):
            seconds[preset] = finish(preset, place / name, place / "log.txt")
        print(f"{preset}: {seconds[preset]:.1f} s without a kill", flush=True)
    runs = []
    while done.random + done.aimed < count:
        preset = presets[len(runs) % len(presets)]
        place = folder / preset.replace("/", "_")
        workdir, log = place / str(len(runs)), place / f"{len(runs)}.txt"
        for _ in range(draw.integers(1, _MOST_KILLS + 1)):
            if done.random + done.aimed == count:
                break
            pid = start(preset, workdir, log)
            left = count - done.random - done.aimed
            at_checkpoint = draw.random() < (aimed - done.aimed) / left
            if at_checkpoint:
                if not wait_for_checkpoint(pid, workdir, draw.integers(1, 5)):
                    break
                time.sleep(draw.uniform(0, _MOST_SECONDS_AFTER))
            else:
                time.sleep(draw.uniform(0, seconds[preset]))
            if is_over(pid):
                break
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            done.in_checkpoint += bool(unfinished(workdir))
            done.aimed += at_checkpoint
            done.random += not at_checkpoint
        finish(preset, workdir, log)
        runs.append((preset, workdir))
        print(f"{done.random} at random, {done.aimed} aimed", flush=True)
    # Only now: reading checkpoints starts JAX, after which no process may be forked.
    for preset in presets:
        ends[preset] = contents(folder / preset.replace("/", "_") / "whole")
        runs.append((preset, folder / preset.replace("/", "_") / "first"))
    for preset, workdir in runs:
        found, expected = contents(workdir), ends[preset]
        keys = found.keys() | expected.keys()
        other = sorted(key for key in keys if found.get(key) != expected.get(key))
        done.compared += 1
        if other:
            done.differing.append(f"{workdir.relative_to(folder)}: {', '.join(other)}")
    return done


def main() -> None:
    """Kills as often as the flags say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="kills in all")
    parser.add_argument("--aimed", type=int, default=100, help="of them at checkpoints")
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", f"{folder}/cache")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        done = kill_and_compare(
            tuple(given.presets.split(",")),
            given.count,
            given.aimed,
            given.seed,
            pathlib.Path(folder),
        )
    print(
        f"{done.random} kills at random, {done.aimed} aimed at checkpoints, "
        f"{done.in_checkpoint} of all in the middle of one; {done.compared} ends "
        f"compared, {len(done.differing)} differ"
    )
    print(*done.differing, sep="\n")
    sys.exit(bool(done.differing))


if __name__ == "__main__":
    main()
