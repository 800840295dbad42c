"""Edits inputs at random and reads them: a result or one sentence, within a second.

``python -m tests.soak.fuzz --count=100000`` goes round trees (edges, tables, Newick,
NEXUS, paths and labels as arrays), the user's own data (npz, tables), flags, stored
experiments and model files, all in this process. It prints how many of each kind were
read and refused, every input that fell with its number, and exits with 1 if any did.
``--only=NUMBER`` reads that one again and lets the traceback through.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import json
import pathlib
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags

from experiments import train
from experiments.cli import command_line
from experiments.papers import PRESETS
from experiments.runs.files import plain
from experiments.runs.workdir import read_experiment
from experiments.settings import formats
from hierjax import inference, losses, models, objectives, options, stored, training
from hierjax.data import Dataset
from hierjax.data.own import manifest, npz
from hierjax.data.own.tree_files import read_hierarchy
from hierjax.errors import DataNotice, UserError
from hierjax.hierarchy import Hierarchy

SECONDS = 1.0
"""Processor time that one input may take."""

SCRAPS = (
    *"()[]{},;:'\"/|>\\#=\t\n\r _-.@",
    "\0",
    "\ufeff",
    "\x1b[31m",
    "\u00e9",
    "e\u0301",
    "\u2028",
    "\U0001f986",
    "//",
    " / ",
    "''",
    '""',
    "\r\n",
    "[&&NHX:S=x]",
    "[comment",
    "#NEXUS\n",
    "begin trees;",
    "end;",
    "translate 1 a, 2 b;",
    "tree t = [&R] ",
    "parent,child\n",
    "kingdom,phylum,class\n",
    "path",
    "NA",
    "nan",
    "None",
    "-1",
    "1e999",
    "-inf",
    "0x10",
    "9" * 30,
    "9" * 5000,
    "a" * 70_000,
    "(" * 3000,
    "\u0661",
    "true",
    "null",
    "{}",
    "[]",
)
EDGES = "animal\tbird\nanimal\tcod\nbird\towl\nbird\then\nplant\toak\nlife\tanimal\n"
TABLES = (
    "top,low\nanimal,owl\nanimal,hen\nplant,oak\n",
    "path\nanimal/bird/owl\nanimal/cod\nplant/oak\n",
    "parent;child\nanimal;owl\nanimal;hen\nplant;oak\n",
    '"kingdom","phylum","species"\n"A","b","c, d"\n"A","","e"\n"P","q","r"\n',
)
NEWICK = "((owl:1,hen:2)bird,'sea cod'[x])animal,(oak)plant)life;"
NEXUS = (
    "#NEXUS\nbegin taxa; dimensions ntax=3; end;\nbegin trees;\n"
    " translate 1 owl, 2 'a hen', 3 cod;\n tree one = [&R] ((1:.1,2)bird,3)animal;\n"
    " tree two = (1,2,3);\nend;\n"
)
FLAGS = (
    "--experiment=rank_based/gm_notes/rbl --set=distance=euclidean --seed=3",
    "--experiment=class_hierarchies/gm_notes/proxydr --set scale.value=20",
    "--num_steps=40 --batch_size=16 --learning_rate=.01 --set=eval_every=20",
    "--dataset=digits --set model=mlp --set=embed_dim=8 --image_size=32",
    "--set=method=triplet --set=margin=.2 --label_fields=a,b",
)


class Source:
    """Random choices of one input, and the folder that it is written into."""

    def __init__(self, seed: int, number: int, folder: pathlib.Path):
        self.draw = np.random.default_rng((seed, number))
        self.folder = folder

    def pick(self, values: Sequence):
        """One of some values."""
        return values[self.draw.integers(len(values))]

    def edited(self, text: str, most: int = 6) -> str:
        """A text with one to ``most`` edits."""
        for _ in range(self.draw.integers(1, most + 1)):
            text = self._edit(text)
        return text

    def _edit(self, text: str) -> str:
        start, end = sorted(self.draw.integers(0, len(text) + 1, 2))
        near = min(end, start + int(self.draw.integers(1, 9)))
        before, piece, after = text[:start], text[start:near], text[near:]
        kind = self.draw.choice(7, p=(0.2, 0.3, 0.2, 0.1, 0.1, 0.05, 0.05))
        scrap = self.pick(SCRAPS)
        return (
            before + after,
            before + scrap + piece + after,
            before + scrap + after,
            before + piece * 2 + after,
            before + text[end:] + text[start:end],
            text[:end],
            text.swapcase(),
        )[kind]

    def encoded(self, text: str) -> bytes:
        """As a file has it, at times in another encoding or with a byte changed."""
        content = text.encode(self.pick(("utf-8",) * 9 + ("utf-16",)), "replace")
        if content and self.draw.random() < 0.1:
            place = self.draw.integers(len(content))
            other = bytes([self.draw.integers(256)])
            content = content[:place] + other + content[place + 1 :]
        return content

    def file(self, name: str, content: bytes) -> pathlib.Path:
        """Writes a file."""
        path = self.folder / name
        path.write_bytes(content)
        return path


def use_tree(tree: Hierarchy) -> None:
    """What can be done with any tree; Newick has to give it back."""
    again = Hierarchy.from_newick(tree.to_newick(), allow_internal_classes=True)
    # It gives the classes depth first.
    assert sorted(again.paths) == sorted(tree.paths), "another tree after to_newick"
    np.testing.assert_array_equal(
        tree.encode(tree.decode(tree.ancestors)), tree.ancestors
    )


def edges(source: Source) -> None:
    """A list of pairs."""
    content = source.encoded(source.edited(EDGES.replace("\t", source.pick("\t,; "))))
    path = source.file(f"tree{source.pick(('.txt', '.edges'))}", content)
    rule = source.pick(("error", "first", "deepest", "shallowest"))
    use_tree(read_hierarchy(path, rule))


def table(source: Source) -> None:
    """A tree in a table."""
    content = source.encoded(source.edited(source.pick(TABLES)))
    use_tree(
        read_hierarchy(source.file(f"tree.{source.pick(('csv', 'tsv'))}", content))
    )


def newick(source: Source) -> None:
    """A tree in brackets."""
    content = source.encoded(source.edited(source.pick((NEWICK, NEXUS))))
    use_tree(
        read_hierarchy(source.file(f"tree.{source.pick(('nwk', 'nex'))}", content))
    )


VALUES = (
    "owl",
    "",
    " ",
    "owl ",
    "a/b",
    "\0",
    None,
    -1,
    0,
    2**40,
    2**70,
    1.5,
    float("nan"),
    float("inf"),
    True,
    b"owl",
    b"\xff",
    (),
    ("a",),
    np.str_("hen"),
    np.float32(2),
    np.datetime64("NaT"),
    1j,
    {},
)


def labels(source: Source) -> None:
    """Paths, pairs or labels a level as Python values and arrays."""
    rows = [("a", "b", "c"), ("a", "b", "d"), ("a", "e"), ("f", "g", "h")]
    rows = [list(row) for row in rows]
    for _ in range(source.draw.integers(1, 5)):
        row = source.pick(rows)
        place = source.draw.integers(len(row) + 1)
        row[place : place + source.draw.integers(2)] = [source.pick(VALUES)]
    if source.draw.random() < 0.2:
        rows[source.draw.integers(len(rows))] = source.pick(VALUES)
    given = rows
    if source.draw.random() < 0.4:
        widest = max(len(r) if isinstance(r, list) else 1 for r in rows)
        given = np.empty((len(rows), widest), object)
        for i, row in enumerate(rows):
            for j, value in enumerate(row if isinstance(row, list) else [row]):
                given[i, j] = value
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            given = given.astype(source.pick(("U", "S", object, "f4", "i8", "M8[D]")))
    make = source.pick(
        (Hierarchy.from_paths, Hierarchy.from_level_labels, Hierarchy.from_edges)
    )
    use_tree(make(given))


JSON_VALUES = (
    *(None, True, -1, 0, 1, 3, 2**40, 1e308, float("nan"), float("inf"), -0.5),
    *("", "owl", "Linear", "\0", "9" * 5000, [], {}, [1], ["a"], [[]], {"a": 1}),
    *([3] * 50, {"name": "triplet"}, "float16", "features", [2**31], [[["a"]]]),
)
DTYPES = (
    "i1",
    "u1",
    "i4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    "c8",
    "?",
    "U3",
    "S3",
    "M8[s]",
)
NUMBERS = (-1, 0, 1, 255, 4096, 2**31, -(2**63), np.nan, np.inf, 1e300, 0.5)


def arrays(source: Source) -> None:
    """An npz, of other arrays or with bytes changed."""
    names = np.array(["a", "b", "c", "d"])[np.arange(12) % 4]
    content = {
        "features": source.draw.normal(size=(12, 3)),
        "labels": source.pick((np.stack([names, names], 1), np.arange(12) % 4, names)),
        "split": np.repeat(["train", "validation", "test"], 4),
        "groups": np.arange(12) // 2,
        "sizes": np.full((12, 2), 32.0),
        "names": np.array([f"row{i}" for i in range(12)]),
        "level_names": np.array(["top", "low"]),
    }
    for _ in range(source.draw.integers(1, 5)):
        key = source.pick(list(content))
        array = np.array(content[key])
        with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError):
            content[key] = (
                lambda a: a.astype(source.pick(DTYPES)),
                lambda a: a[: source.draw.integers(len(a) + 1)],
                lambda a: a[..., None],
                lambda a: a.reshape(-1),
                lambda a: a.reshape((*a.shape[:1], 1, *a.shape[1:]))[..., :0],
                lambda a: _put(a, source),
                lambda a: np.array(source.pick(VALUES)),
                lambda a: a[0],
            )[source.draw.integers(8)](array)
        if source.draw.random() < 0.1 and len(content) > 1:
            del content[key]
        if source.draw.random() < 0.05:
            content[source.pick(SCRAPS[:20]).replace("/", "") + "x"] = np.zeros(3)
    file = io.BytesIO()
    with contextlib.suppress(ValueError):
        np.savez(file, **content)
    whole = file.getvalue()
    if source.draw.random() < 0.2:
        start = source.draw.integers(len(whole) + 1)
        whole = source.pick(
            (whole[:start], whole[:start] + b"\xff" + whole[start + 1 :])
        )
    npz.load(source.file("own.npz", whole))


def _put(array: np.ndarray, source: Source) -> np.ndarray:
    array = array.copy()
    value = source.pick(
        NUMBERS if array.dtype.kind in "iuf" else ("", "NA", "train", "x")
    )
    array.flat[source.draw.integers(array.size)] = value
    return array


def rows(source: Source) -> None:
    """A table of labelled rows, its features beside it."""
    text = "path,split,group\n" if source.draw.random() < 0.5 else "top,low,split\n"
    for i in range(12):
        split = ("train", "validation", "test")[i // 4]
        text += (
            f"a/{'bc'[i % 2]},{split},{i // 2}\n"
            if text[0] == "p"
            else (f"a,{'bc'[i % 2]},{split}\n")
        )
    features = source.folder / "features.npz"
    if not features.exists():
        np.savez(features, features=np.arange(36.0).reshape(12, 3))
    path = source.file("rows.csv", source.encoded(source.edited(text, 2)))
    fields = ("top", "low") if source.draw.random() < 0.2 else ()
    manifest.load(path, label_fields=fields)


def settings(source: Source) -> None:
    """Values of ``--set``."""
    start = source.pick(list(PRESETS.values())).experiment
    flat = dict(options.flat(start))
    changes = {}
    for _ in range(source.draw.integers(1, 4)):
        key = source.pick(list(flat))
        value = str(source.pick((*flat.values(), *VALUES, *NUMBERS)))
        key, value = (
            source.edited(text, 2) if source.draw.random() < chance else text
            for text, chance in ((key, 0.1), (value, 0.5))
        )
        changes[key] = options.Text(value)
    changed = options.changed(start, changes)
    assert formats.from_record(formats.to_record(changed)) == changed or (
        "nan" in repr(changed)
    ), "another experiment after its record"


def command(source: Source) -> None:
    """Flags of a command line, up to the experiment that they choose."""
    line = source.edited(source.pick(FLAGS), 3)
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split(" ")
    # The system passes none that hold NUL.
    before, said = sys.argv, io.StringIO()
    sys.argv = ["command", *(word for word in words if "\0" not in word)]
    try:
        with contextlib.redirect_stderr(said):
            command_line.run(_choose, train.define_flags)
    except SystemExit as stop:
        if stop.code == 2:
            raise UserError(said.getvalue().removeprefix("error: ").strip()) from None
        assert not stop.code, f"exit code {stop.code}"
    finally:
        sys.argv = before
        known = flags.FLAGS.flags_by_module_dict()
        own = [name for name in known if name.startswith("experiments.")]
        flags.FLAGS.remove_flag_values([f.name for name in own for f in known[name]])


def _choose() -> None:
    command_line.experiment_from_flags()


def _edited_json(source: Source, content: dict) -> str:
    """Other values in it, or another text."""
    text = json.dumps(content, indent=1)
    if source.draw.random() < 0.3:
        return source.edited(text)
    content = json.loads(text)
    for _ in range(source.draw.integers(1, 4)):
        place = content
        while isinstance(place, (dict, list)) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key, outer = source.pick(keys), place
            place = place[key]
            if source.draw.random() < 0.3:
                break
        outer[key] = source.pick(JSON_VALUES)
        if source.draw.random() < 0.1:
            del outer[key]
    return json.dumps(content)


def record(source: Source) -> None:
    """The stored experiment of a run."""
    start = source.pick(list(PRESETS.values())).experiment
    text = _edited_json(source, plain(formats.to_record(start)))
    path = source.file("config.json", source.encoded(text))
    read_experiment(path.parent)


def model(source: Source) -> None:
    """The files of a trained model."""
    whole = source.folder / "whole"
    if not whole.exists():
        inference.save(_small_model(), whole)
    name = source.pick(("model.json", "model.json", "arrays.msgpack"))
    (source.folder / "model").mkdir(exist_ok=True)
    for path in (whole / "model").iterdir():
        content = path.read_bytes()
        if path.name == name == "model.json":
            settings = json.loads(content)
            # What a digest would find has to be found without it too.
            settings.pop(stored.SEAL, None)
            content = source.encoded(_edited_json(source, settings))
        elif path.name == name:
            start = int(source.draw.integers(len(content)))
            other = bytes([source.draw.integers(256)])
            rest = source.pick((content[start + 1 :], content[start:], b""))
            content = content[:start] + other + rest
        source.file(f"model/{path.name}", content)
    inference.load(source.folder)


def _small_model() -> inference.TrainedModel:
    tree = Hierarchy.from_paths([("a", "b"), ("a", "c"), ("d",)])
    labels = tree.labels_of(np.arange(12) % 3)
    rows = np.random.default_rng(0).normal(size=(12, 3))
    splits = {"train": np.arange(9), "test": np.arange(9, 12)}
    dataset = Dataset("small", rows, labels, tree, splits)
    encoder = models.Linear(embed_dim=2)
    state = training.create_state(
        encoder,
        objectives.from_loss(losses.rank_based_loss),
        training.make_optimizer(training.Config(batch_size=4, num_steps=1)),
        training.example_inputs(dataset),
        seed=0,
    )
    return inference.TrainedModel.from_state(encoder, state, dataset)


KINDS: dict[str, Callable[[Source], None]] = {
    read.__name__: read
    for read in (edges, table, newick, labels, arrays, rows, settings, command, record)
}
KINDS |= {"model": model}


@dataclasses.dataclass
class Findings:
    """What came of inputs: how many of each kind and end, and what fell."""

    ends: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    fallen: list[str] = dataclasses.field(default_factory=list)
    slowest: float = 0.0


def fuzz(
    numbers: Sequence[int],
    seed: int = 0,
    kinds: Sequence[str] = tuple(KINDS),
    *,
    let_through: bool = False,
) -> Findings:
    """Reads inputs by their numbers; the same seed and number give the same input.

    Args:
      numbers: which; their kinds take turns.
      seed: of all random choices.
      kinds: names in `KINDS`.
      let_through: exceptions are raised.
    """
    found = Findings()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # What NumPy warns of somebody would read under a command.
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", DataNotice)
        for number in numbers:
            kind = kinds[number % len(kinds)]
            place = pathlib.Path(folder) / kind
            place.mkdir(exist_ok=True)
            source = Source(seed, number, place)
            end, why = "read", ""
            start = time.process_time()
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    KINDS[kind](source)
            except UserError as error:
                end = "refused"
                if "\n" in str(error).strip() or not str(error):
                    end, why = "fell", f"no sentence: {str(error)[:80]!r}"
            except Exception as error:
                if let_through:
                    raise
                place = traceback.extract_tb(error.__traceback__)[-1]
                said = str(error).split("\n")[0][:100]
                end = "fell"
                why = (
                    f"{type(error).__name__}: {said} ({place.filename}:{place.lineno})"
                )
            seconds = time.process_time() - start
            found.slowest = max(found.slowest, seconds)
            if end != "fell" and seconds > SECONDS:
                end, why = "slow", f"{seconds:.1f} s"
            found.ends[kind, end] += 1
            if why:
                found.fallen.append(f"{number} {kind} {why}")
    return found


def main() -> None:
    """Reads as many as the flags say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number to begin with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="read this one alone")
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    kinds = given.kinds.split(",")
    if given.only is not None:
        fuzz([given.only], given.seed, kinds, let_through=True)
        return
    numbers = range(given.first, given.first + given.count)
    start = time.process_time()
    found = fuzz(numbers, given.seed, kinds)
    for kind in kinds:
        ends = {end: count for (of, end), count in found.ends.items() if of == kind}
        print(f"{kind:9} {', '.join(f'{end} {n}' for end, n in sorted(ends.items()))}")
    print(
        f"{given.count} inputs, {time.process_time() - start:.0f} s of processor time"
    )
    print(f"slowest {found.slowest:.2f} s; fell or slow: {len(found.fallen)}")
    print(*found.fallen[:100], sep="\n")
    sys.exit(bool(found.fallen))


if __name__ == "__main__":
    main()
