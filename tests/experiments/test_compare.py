"""Runs side by side: finished runs in, tables and a page out."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from experiments import compare, train
from experiments.report import comparison
from hierjax import metrics
from tests.experiments.browser import ask
from tests.experiments.test_train import make_npz

WORSE = "noisy & <b>"


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    """Two inputs on the same queries, one much noisier, and one on other data."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    names = [("a", "b"), ("a", "c"), ("d", "e"), ("d", "f")]
    classes = np.arange(160) % 4
    features = 4 * rng.normal(size=(4, 6))[classes] + rng.normal(size=(160, 6))
    np.savez(folder / "one.npz", features=features, labels=np.array(names)[classes])
    make_npz(folder / "two.npz")
    return folder


@pytest.fixture(scope="module")
def runs_of(workdirs):
    """A callable that runs the command once a module and keeps its workdirs."""
    made = {}

    def make(run):
        if not made:
            for name, data, more in (
                ("plain", "one", []),
                (WORSE, "one", ["--set=noise=4"]),
                ("other", "two", []),
            ):
                arguments = ["--experiment=rank_based/npz/init", *more]
                arguments += [f"--data_path={workdirs}/{data}.npz"]
                arguments += [f"--workdir={workdirs}/{name}"]
                assert run(train, *arguments) == 0
                made[name] = f"{workdirs}/{name}"
            curve = [{"step": s, "loss": 1 / s, "x": None} for s in (1, 2, 3)]
            lines = "".join(json.dumps(record) + "\n" for record in curve)
            for name in ("plain", WORSE):
                (workdirs / name / "metrics.jsonl").write_text(lines)
        return made

    return make


def run_compare(run, *arguments):
    return run(compare, *arguments, positional=True)


def test_two_runs_on_the_same_queries(run, capsys, runs_of, tmp_path):
    made = runs_of(run)
    capsys.readouterr()
    out = tmp_path / "out"
    arguments = [made["plain"], made[WORSE], f"--out={out}"]
    assert run_compare(run, *arguments) == 0
    printed = capsys.readouterr().out
    written = (out / "compare.md").read_text()
    assert set(printed.splitlines()[:-1]) <= set(written.splitlines())
    assert "| knn/level_1 |" in printed and "silhouette" not in printed
    assert "| silhouette/level_1 |" in written and "Warning" not in printed

    first, second = (
        comparison.load_run(p, "x") for p in map(pathlib.Path, arguments[:2])
    )
    values = second.per_query["knn/level_1"] - first.per_query["knn/level_1"]
    assert first.measures["knn/level_1"]["value"] == np.mean(
        first.per_query["knn/level_1"]
    )
    interval = metrics.bootstrap_interval(
        values, units=first.per_query["units"], num_resamples=2000
    )
    assert interval.high < 0
    shown = f"{interval.mean:+.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    assert f"| knn/level_1 | {shown} |" in printed
    assert re.search(r"\| knn/level_1 \| \*\*[01]\.\d{3} \[.*\]\*\* \| 0\.\d", printed)
    # No interval of a difference, no mark.
    assert re.search(r"\| mistake_hops/all \| [\d-]", printed)
    assert "| noise | 0.0 | 4.0 |" in printed
    assert "seed" not in printed.split("Fields that differ")[1]

    lines = (out / "compare.csv").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("knn/level_1,plain,")]
    assert line.split(",")[5] == "1"
    assert r"\textbf{" in (out / "compare.tex").read_text()
    assert r"noisy \& \textless{}b\textgreater{}" in (out / "compare.tex").read_text()

    text = (out / "index.html").read_text("utf-8")
    assert "<b>" not in text.split("<main>")[1].split("</main>")[0]
    assert 'class="warning"' not in text
    answer = ask(text, tmp_path, CURVES)
    assert answer["choices"] == ["loss", "x"]
    assert answer["names"] == ["plain", "noisy &amp; &lt;b&gt;"]
    assert answer["lines"] == 2 and answer["none"] == 0
    assert answer["wide"], "the page is wider than the window"


CURVES = """
const choice = document.getElementById("curve");
const plot = document.getElementById("curve-plot");
const lines = () => plot.querySelectorAll(".scatterlayer .js-line").length;
const found = {
  choices: [...choice.options].map((option) => option.textContent),
  names: plot.data.map((trace) => trace.name), lines: lines(),
  wide: document.documentElement.scrollWidth <= innerWidth,
};
choice.value = "x";
choice.dispatchEvent(new Event("change"));
await pause(300);
return { ...found, none: lines() };
"""


def test_other_data_are_not_compared_query_by_query(run, capsys, runs_of, tmp_path):
    made = runs_of(run)
    capsys.readouterr()
    assert run_compare(run, made["plain"], made["other"], f"--out={tmp_path}") == 0
    printed = capsys.readouterr().out
    assert "Warning: other and plain differ in data_path; no paired test." in printed
    assert "**" not in printed and "Paired differences" not in printed
    assert 'class="warning"' in (tmp_path / "index.html").read_text("utf-8")


def test_runs_that_kept_no_queries(run, capsys, runs_of, tmp_path):
    made = runs_of(run)
    old = tmp_path / "old"
    shutil.copytree(made["plain"], old)
    (old / "per_query.npz").unlink()
    capsys.readouterr()
    assert run_compare(run, str(old), made[WORSE], f"--out={tmp_path}/o") == 0
    printed = capsys.readouterr().out
    assert "old kept no values of single queries: evaluate again" in printed
    assert "**" not in printed


def test_only_some_measures(run, capsys, runs_of, tmp_path):
    made = runs_of(run)
    capsys.readouterr()
    arguments = [made["plain"], made[WORSE], f"--out={tmp_path}", "--measures=^knn/"]
    assert run_compare(run, *arguments) == 0
    table = capsys.readouterr().out.split("Brackets")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if "knn" in line]
    assert rows == ["| knn/level_0", "| knn/level_1", "| knn/average"]
    assert "silhouette" not in table


def test_the_best_must_beat_every_other_run():
    rows = np.arange(50)
    same = {"rows": rows, "units": rows, "labels": rows[:, None]}
    noise = np.random.default_rng(0).normal(size=50)

    def make(name, shift):
        values = 0.2 * noise + shift
        return comparison.Run(
            name,
            {},
            {"split": "test"},
            {"knn/a": {"value": float(values.mean())}},
            same | {"knn/a": values, "mistake_hops/all": -values},
            [],
        )

    low, middle, high = make("low", 0), make("middle", 0.5), make("high", 0.9)
    assert comparison.best([low, high, middle], "knn/a") == 1
    level = make("level", 0.9)
    level.per_query["knn/a"] = level.per_query["knn/a"] + 0.01 * noise[::-1]
    assert comparison.best([high, level, low], "knn/a") is None
    assert comparison.best([high, low], "mean_angle/all/means") is None
    # Where lower is better, the lowest is the best.
    for run in (low, high):
        run.measures["mistake_hops/all"] = {
            "value": float(run.per_query["mistake_hops/all"].mean())
        }
    assert comparison.best([low, high], "mistake_hops/all") == 1
    other = make("other", 0)
    other.per_query["labels"] = rows[:, None] + 1
    assert comparison.best([high, other], "knn/a") is None


def test_values_of_queries_that_were_cut_short(run, capsys, runs_of, tmp_path):
    made = runs_of(run)
    shutil.copytree(made["plain"], tmp_path / "cut")
    file = tmp_path / "cut" / "per_query.npz"
    file.write_bytes(file.read_bytes()[:200])
    capsys.readouterr()
    assert run_compare(run, str(tmp_path / "cut"), made[WORSE]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "per_query.npz" in error and "evaluate the run again" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["two or more workdirs", "found 0"]),
        (["plain"], ["two or more workdirs", "found 1"]),
        (["plain", "plain"], ["twice"]),
        (["plain", "empty"], ["empty", "config.json", "experiments.evaluate"]),
        (["plain", "other", "--measures=knnn"], ["knnn", "knn/level_0"]),
        (["plain", "other", "--measures=("], ["regular expression"]),
        (["plain", "other", "--out=/dev/null/x"], ["/dev/null/x", "cannot be written"]),
        (["plain", "damaged"], ["results.json", "damaged"]),
    ],
)
def test_mistakes_are_one_sentence(run, capsys, runs_of, workdirs, arguments, words):
    runs_of(run)
    (workdirs / "empty").mkdir(exist_ok=True)
    if not (workdirs / "damaged").exists():
        shutil.copytree(workdirs / "plain", workdirs / "damaged")
        (workdirs / "damaged" / "results.json").write_text("{")
    arguments = [a if a.startswith("-") else f"{workdirs}/{a}" for a in arguments]
    capsys.readouterr()
    assert run_compare(run, *arguments) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    for word in words:
        assert word in error
