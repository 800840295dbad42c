"""Damages single files of a finished run at random, and watches what comes of it.

``python -m tests.soak.damages --count=500`` prints how often a damage was refused in a
sentence, mended, said or without effect, and every one that ended in a traceback or in
other numbers without a word; with any of those it exits with code 1. The same
``--seed`` does the same damages.
"""

import argparse
import collections
import contextlib
import io
import os
import pathlib
import shutil
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
from absl import flags

import hierjax
from experiments import compare, embed, evaluate, train
from experiments.cli import command_line
from hierjax.stored import read_json

TRACEBACK, SILENT = "traceback", "silently different"
REFUSED, MENDED, SAID, HARMLESS = "refused", "mended", "said", "without effect"
# By the first part of a file's path; of other files nobody reads anything.
READERS = {
    "checkpoints": ("evaluate", "continue"),
    "model": ("load", "embed"),
    "config.json": ("embed", "evaluate", "continue", "compare"),
    "data.json": ("evaluate", "continue"),
    "metrics.jsonl": ("evaluate", "continue", "compare"),
    "per_query.npz": ("compare",),
    "results.json": ("continue", "compare"),
}
OUTCOMES = (TRACEBACK, SILENT, REFUSED, MENDED, SAID, HARMLESS)


def make_data(path: pathlib.Path) -> None:
    """Writes 64 rows of four classes in two groups, with splits."""
    rng = np.random.default_rng(0)
    classes = np.arange(64) % 4
    names = [("air", "flute"), ("air", "horn"), ("string", "harp"), ("string", "viola")]
    centers = rng.normal(size=(2, 6))[[0, 0, 1, 1]] + rng.normal(size=(4, 6))
    np.savez(
        path,
        features=np.float32(centers[classes] + rng.normal(size=(64, 6))),
        labels=np.array(names)[classes],
        split=np.repeat(["train", "validation", "test"], [32, 16, 16]),
    )


def call(command, *arguments: str, positional: bool = False) -> tuple[int, str, str]:
    """A command in this process: exit code, and what it prints on both streams.

    A traceback counts as exit code 1, with its text on standard error.
    """
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["command", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            command_line.run(command.main, command.define_flags, arguments=positional)
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        code = 1
        err.write(traceback.format_exc())
    finally:
        sys.argv = before
        _forget_flags()
    return code, out.getvalue(), err.getvalue()


def _forget_flags() -> None:
    of_modules = flags.FLAGS.flags_by_module_dict()
    flags.FLAGS.remove_flag_values(
        {
            flag.name
            for module, own in of_modules.items()
            if module.startswith("experiments.")
            for flag in own
        }
    )


class Bench:
    """A finished run, and fresh copies of it to be damaged.

    Args:
      folder: an empty one.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder, self.workdir = folder, folder / "run"
        self._whole, data = folder / "whole", folder / "data.npz"
        make_data(data)
        self._flags = (
            f"--data_path={data}",
            f"--workdir={self.workdir}",
            "--report=none",
            "--num_steps=12",
            "--batch_size=8",
            "--set=eval_every=4",
            "--set=checkpoint_every=4",
            "--set=steps_per_call=4",
        )
        code, _, err = call(train, *self._flags)
        assert code == 0, err
        shutil.copytree(self.workdir, self._whole)
        self._rows = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)
        self.uses: dict[str, Callable[[], tuple]] = {
            "load": self._load,
            "embed": self._embed,
            "evaluate": self._evaluate,
            "continue": self._continue,
            "compare": self._compare,
        }
        self._expected = {}
        for name, use in self.uses.items():
            self.restore()
            code, self._expected[name], said = use()
            assert code == 0 and not said, said

    def restore(self) -> None:
        """Makes the workdir what it was."""
        shutil.rmtree(self.workdir, ignore_errors=True)
        shutil.copytree(self._whole, self.workdir)

    def files(self) -> list[pathlib.Path]:
        """Of the workdir, in order."""
        return sorted(path for path in self.workdir.rglob("*") if path.is_file())

    def outcome(self, name: str) -> tuple[str, str]:
        """What a use makes of the workdir as it is, and what it says."""
        code, found, said = self.uses[name]()
        if "Traceback" in said or code not in (0, 2):
            return TRACEBACK, said
        if code == 2:
            lines = [
                x
                for x in said.splitlines()
                if not x.startswith(("step ", "note:", "measuring "))
            ]
            whole = len(lines) == 1 and lines[0].startswith("error: ")
            return (REFUSED if whole else TRACEBACK), said
        same = found == self._expected[name]
        if said:
            return (MENDED if same else SAID), said
        return (HARMLESS if same else SILENT), said

    def _load(self):
        try:
            model = hierjax.load(self.workdir)
        except hierjax.errors.UserError as error:
            return 2, None, f"error: {error}"
        except Exception:
            return 1, None, traceback.format_exc()
        found = model.predict(self._rows)
        arrays = model.embed(self._rows), found.labels, found.confidences
        return 0, (*(x.tobytes() for x in arrays), model.hierarchy.paths), ""

    def _embed(self):
        out = self._folder / "embedded.npz"
        code, text, err = call(embed, f"--workdir={self.workdir}", f"--out={out}")
        found = None
        if code == 0:
            with np.load(out) as arrays:
                found = {key: arrays[key].tobytes() for key in arrays}
        return code, found, _notes(text) + err

    def _evaluate(self):
        code, text, err = call(evaluate, f"--workdir={self.workdir}", "--report=none")
        err = _without_progress(err)
        return code, self._measured() if code == 0 else None, _notes(text) + err

    def _continue(self):
        code, text, err = call(train, *self._flags)
        err = _without_progress(err)
        if code:
            return code, None, _notes(text) + err
        records = (self.workdir / "metrics.jsonl").read_bytes()
        return 0, (*self._measured(), records), _notes(text) + err

    def _compare(self):
        code, text, err = call(
            compare,
            str(self.workdir),
            str(self._whole),
            f"--out={self._folder / 'compared'}",
            positional=True,
        )
        if code:
            return code, None, err
        page = (self._folder / "compared" / "index.html").read_bytes()
        lines = [x for x in text.splitlines() if not x.startswith("note: ")]
        return 0, (lines, page), _notes(text) + err

    def _measured(self):
        results = read_json(self.workdir / "results.json")
        results.pop("environment")
        arrays = (self.workdir / "model" / "arrays.msgpack").read_bytes()
        model = (self.workdir / "model" / "model.json").read_bytes()
        with zipfile.ZipFile(self.workdir / "per_query.npz") as archive:
            queries = {name: archive.read(name) for name in archive.namelist()}
        return results, arrays, model, queries


def _without_progress(text):
    lines = text.splitlines(True)
    return "".join(x for x in lines if not x.startswith(("step ", "measuring ")))


def _notes(text: str) -> str:
    """What a command says of the files, beside its results."""
    said = ("note: ", "- Warning: ")
    return "".join(line for line in text.splitlines(True) if line.startswith(said))


def damage(
    path: pathlib.Path, others: list[pathlib.Path], rng: np.random.Generator
) -> str:
    """Damages one file, and says how.

    Args:
      path: what to damage.
      others: files of which one may change places with it.
      rng: decides.
    """
    content = path.read_bytes()
    kinds = ["empty", "delete", "append", "swap"] + 2 * (
        ["cut", "flip"] if content else []
    )
    how = str(rng.choice(kinds))
    if how == "delete":
        path.unlink()
        return how
    if how == "swap":
        other = others[rng.integers(len(others))]
        there = other.read_bytes()
        other.write_bytes(content)
        path.write_bytes(there)
        return f"swap with {other.name}"
    place = int(rng.integers(max(len(content), 1)))
    if how == "flip":
        bit = int(rng.integers(8))
        flipped = bytes([content[place] ^ 1 << bit])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        return f"flip of bit {bit} of byte {place}"
    new = {
        "empty": b"",
        "cut": content[:place],
        "append": content + rng.bytes(int(rng.integers(1, 60))),
    }
    path.write_bytes(new[how])
    return f"{how} at {place}" if how == "cut" else how


def damages(bench: Bench, count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Does random damages one after the other, each followed by a use of the run.

    Every checkpoint, folder and single file of the run is hit alike.

    Args:
      bench: gives the run.
      count: how many.
      seed: of the choices.

    Yields:
      The outcome, what was done, and what was said.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        bench.restore()
        files = bench.files()
        groups = collections.defaultdict(list)
        for path in files:
            groups[path.relative_to(bench.workdir).parts[:2]].append(path)
        of_group = groups[list(groups)[rng.integers(len(groups))]]
        path = of_group[rng.integers(len(of_group))]
        place = path.relative_to(bench.workdir)
        done = damage(path, [p for p in files if p != path], rng)
        readers = READERS.get(place.parts[0], tuple(bench.uses))
        use = readers[rng.integers(len(readers))]
        kind, said = bench.outcome(use)
        yield kind, f"{place}: {done}; {use}", said


def main() -> int:
    """Does the damages that the command line asks for; 1 where any is bad."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every damage")
    given = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(pathlib.Path(folder))
        for kind, done, said in damages(bench, given.count, given.seed):
            counts[kind] += 1
            if given.verbose or kind in (TRACEBACK, SILENT):
                print(f"{kind}: {done}\n  {said.strip()}", flush=True)
    print(", ".join(f"{kind} {counts[kind]}" for kind in OUTCOMES))
    return int(bool(counts[TRACEBACK] or counts[SILENT]))


if __name__ == "__main__":
    sys.exit(main())
