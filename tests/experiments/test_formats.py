"""Runs and tables that the first version wrote still open, go on and embed.

``format_1/runs.tar.gz`` holds two workdirs of 40 steps as it left them, without what
only that machine could say: a rank-based run that was cut off after 20 steps, and a
classifier with moving-average proxies and a dynamic scale.
"""

import json
import pathlib
import tarfile

import numpy as np
import pytest

from experiments import embed, evaluate, train
from experiments.papers.layout import Block, Row
from experiments.runs.files import read_json, write_json
from experiments.runs.former_names import current_results
from experiments.runs.workdir import read_experiment
from experiments.settings import formats
from experiments.settings.experiment import Experiment
from experiments.tables.jobs import Jobs
from hierjax import objectives, training
from hierjax.errors import UserError
from hierjax.options import changed

OLD = pathlib.Path(__file__).parent / "format_1" / "runs.tar.gz"
# Steps 20 and 40 as the first version went on to them.
LOSSES = [0.14925728738307953, 0.13590887188911438]


@pytest.fixture
def old(tmp_path):
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_run_that_was_cut_off_goes_on(old, run):
    flags = (old / "rank_based" / "flags.txt").read_text().split()
    assert run(train, *flags, f"--workdir={old}/rank_based") == 0
    records = training.read_records(old / "rank_based" / "metrics.jsonl")
    np.testing.assert_allclose([r["loss"] for r in records], LOSSES, rtol=1e-4)
    assert run(embed, f"--workdir={old}/rank_based") == 0
    with np.load(old / "rank_based" / "embeddings.npz") as arrays:
        assert arrays["embeddings"].shape == (1797, 3)


def test_a_finished_classifier_is_measured_again_and_embeds(old, run):
    folder = old / "classifier"
    before = current_results(read_json(folder / "results.json"))
    assert run(embed, f"--workdir={folder}") == 0
    assert run(evaluate, f"--workdir={folder}", "--report=none") == 0
    after = read_json(folder / "results.json")
    assert after["best_step"] == before["best_step"]
    for part in ("learned", "classes"):
        for name, entry in before[part]["measures"].items():
            if entry["value"] is not None:
                found = after[part]["measures"][name]["value"]
                # Labels with as many votes each share them since.
                votes = name.startswith(("knn/", "mistake_"))
                tolerance = 0.02 if votes else 1e-3
                np.testing.assert_allclose(
                    found, entry["value"], rtol=tolerance, atol=1e-4
                )


def test_other_settings_are_still_refused(old, fails):
    flags = (old / "classifier" / "flags.txt").read_text().split()
    arguments = [*flags, f"--workdir={old}/classifier", "--set=decay=0.5"]
    fails(train, arguments, "representatives.decay was 0.01 and is now 0.5")


def test_every_option_of_the_first_version_has_its_place(old):
    method = read_experiment(old / "classifier").method
    assert method == objectives.Classification(
        objectives.NormFace(), objectives.MovingAverage(), objectives.Dynamic()
    )
    record = read_json(old / "classifier" / "config.json")
    for loss, options, expected in (
        ("none", {"distance": "euclidean"}, objectives.Input()),
        ("triplet", {"margin": 0.3}, objectives.Triplet(distance="cosine", margin=0.3)),
        ("supcon", {"label_level": 0}, objectives.SupCon(label_level=0)),
        ("hmce", {"official": True}, objectives.HMCE(official=True)),
        (
            "proxydr",
            {"distance": "arccos", "scale": 20.0, "proxies": "learned"},
            objectives.Classification(
                objectives.ProxyDR("arccos"), scale=objectives.Constant(20.0)
            ),
        ),
        (
            "level_contrastive",
            {"masks": "gaussian_dim_stats", "balance": "none"},
            objectives.LevelContrastive(
                masks=objectives.GaussianMasks("dim_stats"), balance="none"
            ),
        ),
    ):
        plain = {"distance": "cosine", "dynamic_scale": False, "loss": loss}
        found = formats.from_record(record | plain | options)
        assert found.method == expected, loss
    official = record | {"loss": "corr", "proxies": "mds", "dynamic_scale": False}
    found = formats.from_record(official | {"official": True})
    assert found.official_measures and found.method.criterion.official


def test_what_is_written_is_read_back():
    written = json.loads(json.dumps(formats.to_record(Experiment())))
    assert written["format"] == formats.FORMAT
    assert formats.from_record(written) == Experiment()
    # Written before there was this field.
    del written["official_measures"]
    assert formats.from_record(written) == Experiment()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "format 99 was written by a newer version"),
        ({"colour": "red"}, "no field 'colour'"),
        ({"method": {"name": "mine"}}, "no method 'mine'"),
        ({"method": {"name": "triplet", "margin": -1.0}}, "margin must be at least 0"),
        ({"num_steps": "ten"}, "num_steps must be of type int"),
    ],
)
def test_records_that_nobody_wrote(change, words):
    with pytest.raises(UserError, match=words):
        formats.from_record(formats.to_record(Experiment()) | change)


def test_half_a_table_of_the_first_version_goes_on(tmp_path):
    scales = {"cpu": {"num_steps": 4, "eval_every": 2, "batch_size": 24}}
    block = Block("digits", {"dataset": "digits"}, seeds=1, refit=False, scales=scales)
    rows = [
        Row("init", {"method": "input"}, ({"distance": "euclidean"},) * 2),
        Row(
            "classes",
            {"method": "classifier", "sampler": "uniform"},
            ({"scale.value": 20.0}, {"scale.value": 5.0}),
        ),
    ]
    flat = json.loads((read_flat(tmp_path) / "config.json").read_text())
    jobs = Jobs(tmp_path / "jobs", "cpu", "")
    for row, loss, grid in (
        (rows[0], "none", [{"distance": "euclidean"}] * 2),
        (rows[1], "proxydr", [{"scale": 20.0}, {"scale": 5.0}]),
    ):
        base = flat_of(flat, jobs._experiment(block, row, 0, {}), loss)
        chosen = {"overrides": grid[0], "value": 0.5}
        tuning = {
            "trials": [chosen],
            "chosen": chosen,
            "neighbors": [1, 1],
            "settings": {"grid": grid, "base": base},
            "seconds": 1.0,
        }
        path = jobs.tuning_path(block, row, 0)
        path.parent.mkdir(parents=True)
        write_json(path, tuning)
        jobs.run(block, row, [0])
        result = read_json(jobs.result_path(block, row, 0, 0))
        made = formats.from_record(result["settings"]["experiment"])
        expected = {"distance": "euclidean"} if loss == "none" else {"value": 20.0}
        assert made == changed(jobs._experiment(block, row, 0, {}), expected)
        # A result of that version is taken as it is.
        result["settings"]["experiment"] = flat_of(flat, made, loss) | (
            {"distance": "cosine"} if loss == "none" else {"scale": 20.0}
        )
        write_json(jobs.result_path(block, row, 0, 0), result)
        jobs.run(block, row, [0])
        result["settings"]["experiment"]["num_steps"] = 5
        write_json(jobs.result_path(block, row, 0, 0), result)
        with pytest.raises(UserError, match="computed with other settings"):
            jobs.run(block, row, [0])


def read_flat(folder):
    with tarfile.open(OLD) as archive:
        archive.extractall(folder / "old", filter="data")
    return folder / "old" / "classifier"


def flat_of(flat, experiment, loss):
    """The record of format 1 of an experiment whose method has its defaults."""
    own = {key: value for key, value in vars(experiment).items() if key in flat}
    defaults = {"distance": "cosine", "scale": 10.0, "proxies": "learned"}
    if loss != "none":
        defaults["distance"] = "euclidean"
    return flat | own | defaults | {"dynamic_scale": False, "loss": loss}
