"""Results of other settings, data or code are told apart and not averaged."""

import ast
import dataclasses
import pathlib
import shutil
import sys
import types

import numpy as np
import pytest

from experiments import reproduce
from experiments.papers.layout import Block, Row, Table
from experiments.runs.files import read_json, write_json
from experiments.settings import loading
from experiments.settings.presets import make_experiment
from experiments.tables import fingerprints
from hierjax import data
from hierjax.hierarchy import Hierarchy

ROOT = pathlib.Path(__file__).parents[2]


def imported(path):
    """Files of these packages that a file imports, inside functions too."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{x.name}" for x in node.names)]
        else:
            continue
        for place in (pathlib.Path(*name.split(".")) for name in names):
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if (ROOT / file).exists():
                    yield file


def test_what_a_job_imports_is_part_of_its_code():
    """But rows, whose settings are stored, and what keeps results or trained models."""
    counted = set(fingerprints.source_files())
    found = set()
    waiting = [pathlib.Path("experiments/tables/jobs.py")]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported(path)
    missing = {path for path in found - counted if path.name != "__init__.py"}
    kept = {path for path in missing if path.parts[1] not in ("papers", "inference")}
    assert {path.as_posix() for path in kept} == {
        "experiments/runs/files.py",
        "experiments/tables/fingerprints.py",
        "experiments/tables/scheduling.py",
        "experiments/tables/stored.py",
        "hierjax/locking.py",
    }
    names = {path.as_posix() for path in counted}
    assert {"hierjax/losses/rank.py", "experiments/tables/measured.py"} < names
    assert not any("plotting" in name or "report" in name for name in names)


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """A file of the code, and a callable that gives the code's fingerprint."""
    file = tmp_path / "hierjax" / "loss.py"
    file.parent.mkdir()
    (tmp_path / "hierjax" / "plotting").mkdir()
    monkeypatch.setattr(fingerprints, "_ROOT", tmp_path)
    monkeypatch.setattr(fingerprints, "_WITH_EFFECT", ("hierjax",))
    return file, fingerprints.of_code.__wrapped__


def test_code_is_what_it_does(sources):
    file, code = sources
    file.write_text('"""Doc."""\n\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    first = code()
    for same in (
        "def f(x): return (x+1)  # Why.\n",
        "def f(x):\n\n    'A.'\n    return x + 1",
    ):
        file.write_text(same)
        assert code() == first
    (file.parent / "plotting" / "curves.py").write_text("COLOR = 'red'")
    assert code() == first
    for other in (
        "def f(x): return x + 2",
        "def f(x):\n    'A.'\n    'B.'\n    return x+1",
    ):
        file.write_text(other)
        assert code() != first
    file.write_text("def f(x): return x + 1")
    (file.parent / "new.py").touch()
    assert code() != first


def test_another_package_is_other_code(sources, monkeypatch):
    _, code = sources
    first = code()
    versions = {"jax": "99.0"}
    monkeypatch.setattr(
        fingerprints.importlib.metadata, "version", lambda x: versions.get(x, "1.0")
    )
    monkeypatch.setattr(fingerprints, "of_code", lambda: first)
    assert "jax 99.0 then" in fingerprints.difference(code())


def test_own_methods_are_told_by_their_file(tmp_path, monkeypatch):
    def loaded(text):
        path = tmp_path / "own.py"
        path.write_text(text)
        module = types.ModuleType("own_for_fingerprints")
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(text, path, "exec"), vars(module))
        experiment = make_experiment({"method": "triplet"})
        method = module.Own(**vars(experiment.method))
        return fingerprints.of(dataclasses.replace(experiment, method=method), "d")

    start = "import dataclasses\nfrom hierjax.objectives import Triplet\n"
    start += "@dataclasses.dataclass(frozen=True)\nclass Own(Triplet):\n"
    first = loaded(start + "    x = 1\n")
    assert first["own methods"].startswith("own.py ")
    assert loaded(start + "    x = 1  # One.\n") == first
    assert loaded(start + "    x = 2\n") != first
    assert not fingerprints.of(make_experiment({"method": "triplet"}), "d")[
        "own methods"
    ]


def test_data_are_features_labels_splits_and_names():
    tree = Hierarchy.from_paths([("a", "b"), ("a", "c")])
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    labels, splits = tree.labels_of(np.array([0, 1, 0, 1])), {"train": np.arange(4)}
    first = fingerprints.of_data(data.Dataset("x", rows, labels, tree, splits))
    assert first == fingerprints.of_data(data.Dataset("x", rows, labels, tree, splits))
    moved = rows.copy()
    moved[3, 1] = np.nextafter(moved[3, 1], 9)
    found = {
        fingerprints.of_data(data.Dataset("x", *changed))
        for changed in (
            (moved, labels, tree, splits),
            (rows, labels[::-1], tree, splits),
            (rows, labels, Hierarchy.from_paths([("a", "b"), ("a", "d")]), splits),
            (rows, labels, tree, {"train": np.arange(3)}),
        )
    }
    assert len(found) == 4 and first not in found


@pytest.fixture
def table(monkeypatch, tmp_path):
    """A table of inputs, which take no training, on data of the user's own."""
    draw = np.random.default_rng(0)
    labels = np.arange(24) % 4
    np.savez(
        tmp_path / "own.npz",
        features=draw.normal(size=(24, 3)),
        labels=np.stack([labels // 2, labels], 1).astype(str),
        splits=np.repeat(["train", "validation", "test"], 8),
    )
    fields = {"dataset": "npz", "data_path": str(tmp_path / "own.npz")}
    block = Block("own", fields, seeds=2, scales={"cpu": {"num_steps": 1}})
    rows = [
        Row(name, {"method": "input", "distance": distance}, ({},))
        for name, distance in (("init", "cosine"), ("far", "euclidean"))
    ]
    small = Table("rank_based", "small", (block,), tuple(rows))
    monkeypatch.setitem(reproduce.TABLES, "rank_based", small)
    loading._load_as_given.cache_clear()
    return small


@pytest.fixture
def reproduced(run, capsys, table, tmp_path):
    """A callable that runs the table; gives exit code, what was said and the table."""

    def start(*arguments):
        place = tmp_path / "w"
        code = run(reproduce, "--table=rank_based", f"--workdir={place}", *arguments)
        said = capsys.readouterr()
        file = place / "rank_based.json"
        return code, said.out, said.err, read_json(file) if file.exists() else None

    return start


def results(folder):
    return sorted(folder.joinpath("w", "jobs").rglob("*.json"))


def test_results_say_what_they_rest_on(reproduced, tmp_path):
    assert reproduced()[0] == 0
    assert len(results(tmp_path)) == 6
    for path in results(tmp_path):
        held = read_json(path)["fingerprint"]
        assert held["code"] == fingerprints.of_code() and held["own methods"] == ""
        assert len(held["data"]) == 16


def test_a_changed_setting_is_refused_or_run_again(reproduced, table, tmp_path):
    assert reproduced("--rows=init")[0] == 0
    table.blocks[0].scales["cpu"]["num_steps"] = 2
    # Rows that are not asked for stand in the table too.
    for rows in ("init", "far"):
        code, _, error, _ = reproduced(f"--rows={rows}")
        assert code == 2
        assert error.startswith("error: own/init: computed with other settings than")
    assert "--stale=rerun" in error
    assert reproduced("--rows=far", "--stale=rerun")[0] == 2
    assert reproduced("--rows=init", "--stale=mix")[0] == 2
    assert len(results(tmp_path)) == 3
    code, said, *_ = reproduced("--stale=rerun")
    assert code == 0 and said.count("own/init/fold0/") == 3
    for path in results(tmp_path):
        if path.name != "tuning.json":
            assert read_json(path)["settings"]["experiment"]["num_steps"] == 2


def test_changed_data_are_refused_or_run_again(reproduced, tmp_path):
    assert reproduced()[0] == 0
    with np.load(tmp_path / "own.npz") as arrays:
        arrays = dict(arrays)
    arrays["features"] = arrays["features"] * 1.5
    np.savez(tmp_path / "own.npz", **arrays)
    loading._load_as_given.cache_clear()
    for more in ((), ("--stale=mix",), ("--jobs=0",)):
        code, _, error, _ = reproduced(*more)
        assert code == 2
        assert error.startswith("error: own/init, own/far: computed with other data")
    code, said, *_ = reproduced("--stale=rerun")
    assert code == 0 and said.count("/fold0/") == 6
    assert reproduced()[0] == 0


def of_other_code(path, code="sources 123456, jax 0.1"):
    held = read_json(path)
    held["fingerprint"]["code"] = code
    write_json(path, held)


def test_changed_code_is_refused_run_again_or_mixed_with_a_word(reproduced, tmp_path):
    assert reproduced("--rows=init")[0] == 0
    for path in results(tmp_path):
        of_other_code(path)
    before = {path: path.read_text() for path in results(tmp_path)}
    code, _, error, _ = reproduced()
    assert code == 2
    assert error.startswith("error: own/init: computed by other code (sources 123456 ")
    assert "jax 0.1 then and" in error and "--stale=mix" in error
    # All that there is of one code is a table of that code, and says so.
    code, said, _, content = reproduced("--jobs=0")
    assert code == 0 and "All of it was computed by other code: sources 1234" in said
    assert reproduced("--rows=init")[0] == 0
    assert {path: path.read_text() for path in results(tmp_path)} == before
    code, said, _, content = reproduced("--stale=mix")
    assert code == 0 and said.count("/fold0/") == 3
    assert "By other code (sources 123456 then" in content["run"]["code"]
    assert content["run"]["code"].endswith(": own/init.")
    # Without the word it is no table.
    assert reproduced()[0] == 2
    code, said, _, content = reproduced("--stale=rerun")
    assert code == 0 and said.count("own/init/fold0/") == 3
    assert "own/far/fold0" not in said and content["run"]["code"] == ""


def test_a_final_run_rests_on_its_tuning(reproduced, tmp_path):
    assert reproduced()[0] == 0
    of_other_code(tmp_path / "w/jobs/own/init/fold0/tuning.json")
    code, said, *_ = reproduced("--stale=rerun")
    assert code == 0 and said.count("own/init/fold0/") == 3


def test_seeds_of_one_row_by_different_code_are_not_averaged(reproduced, tmp_path):
    assert reproduced()[0] == 0
    of_other_code(tmp_path / "w/jobs/own/init/fold0/seed1.json")
    for more in ((), ("--jobs=0",), ("--rows=far",)):
        assert reproduced(*more)[0] == 2
    _, _, _, content = reproduced("--stale=mix")
    assert "own/init" in content["run"]["code"]


def test_jobs_of_before_are_taken_as_a_whole(reproduced, tmp_path):
    assert reproduced()[0] == 0
    for path in results(tmp_path):
        held = read_json(path)
        del held["fingerprint"]
        write_json(path, held)
    code, said, _, content = reproduced()
    assert code == 0 and "/fold0/" not in said
    assert "from before jobs kept what they rest on" in content["run"]["code"]
    shutil.rmtree(tmp_path / "w/jobs/own/far")
    code, _, error, _ = reproduced()
    assert code == 2 and "own/init: computed by other code (from before" in error


def test_a_row_that_fails_is_named_and_stops_no_other(reproduced, table, tmp_path):
    before = table.rows[0].fields
    bad = ({"distance": "cosine"}, {"distance": "none"})
    rows = dataclasses.replace(table.rows[0], grid=bad), table.rows[1]
    object.__setattr__(table, "rows", rows)
    code, said, error, content = reproduced()
    assert code == 2
    assert "1 failed: own/init/fold0/tuning (UserError: own/init: " in error
    assert "the same command tries again" in error
    block = content["blocks"][0]
    assert block["rows"].keys() == {"far"} and block["failed"].keys() == {"init"}
    shown = (tmp_path / "w" / "rank_based.md").read_text()
    assert "- init failed in fold0/tuning: UserError: own/init: " in shown
    # The table of what is finished still names it, though nothing fails anew.
    assert reproduced("--rows=far")[0] == 0
    assert "init failed" in (tmp_path / "w" / "rank_based.md").read_text()
    rows = dataclasses.replace(rows[0], fields=before, grid=({},)), rows[1]
    object.__setattr__(table, "rows", rows)
    code, _, _, content = reproduced()
    assert code == 0 and content["blocks"][0]["failed"] == {}
    assert content["blocks"][0]["rows"].keys() == {"init", "far"}
