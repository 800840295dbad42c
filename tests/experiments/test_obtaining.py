"""What is measured of a run is embedded once; what a grid says takes effect."""

import collections

import numpy as np
import pytest

from experiments.papers.layout import Block, Row
from experiments.runs import measuring, obtaining
from experiments.runs.files import read_json
from experiments.settings.loading import load_data
from experiments.settings.presets import make_experiment
from experiments.tables.jobs import Jobs
from hierjax.errors import UserError

SHORT = {"dataset": "digits", "num_steps": 4, "eval_every": 2, "batch_size": 24}


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "classifier", "sampler": "uniform", "selection": "accuracy"},
        {"method": "supcon", "sampler": "uniform", "measured": "features"},
        {"method": "untrained"},
    ],
    ids=lambda fields: fields["method"],
)
def test_every_row_is_embedded_once(fields, monkeypatch):
    asked = collections.defaultdict(list)
    original = obtaining.training.embedder

    def counting(*args, method="embeddings", **kwargs):
        embed = original(*args, method=method, **kwargs)
        return lambda rows: asked[method].append(np.array(rows)) or embed(rows)

    experiment = make_experiment(SHORT, {"embed_dim": 4}, fields)
    dataset = load_data(experiment)
    with monkeypatch.context() as patch:
        # The loop's own evaluations, before there is a best state, are its affair.
        patch.setattr(obtaining.training, "embedder", counting)
        obtained = obtaining.obtain(experiment, dataset, num_devices=1)
        findings = measuring.measure(obtained)
        assert findings.results["queries"] == len(dataset.rows("test"))
        assert (findings.model is not None) == experiment.method.trains
    measured = asked[experiment.measured]
    rows = np.concatenate(measured)
    assert len(rows) == len(set(rows.tolist()))
    assert set(dataset.rows("train")) | set(dataset.rows("test")) <= set(rows.tolist())


@pytest.fixture
def block():
    return Block("small", {"dataset": "digits"}, seeds=1, scales={"cpu": SHORT})


def test_a_grid_over_an_option_of_the_method_takes_effect(block, tmp_path):
    grid = ({"distance": "euclidean"}, {"distance": "cosine"})
    row = Row("triplet", {"method": "triplet", "sampler": "balanced"}, grid)
    jobs = Jobs(tmp_path, "cpu", "")
    jobs.run(block, row, [0])
    first, second = read_json(jobs.tuning_path(block, row, 0))["trials"]
    assert first["value"] != second["value"]
    result = read_json(jobs.result_path(block, row, 0, 0))
    chosen = max((first, second), key=lambda trial: trial["value"])["overrides"]
    method = result["settings"]["experiment"]["method"]
    assert method["distance"] == chosen["distance"]


@pytest.mark.parametrize(
    ("method", "key"), [("hap", "distance"), ("input", "margin"), ("triplet", "scale")]
)
def test_a_grid_over_what_a_row_does_not_use_is_refused(block, tmp_path, method, key):
    grid = ({key: 0.1}, {key: 0.2})
    row = Row("row", {"method": method}, grid)
    with pytest.raises(UserError, match=f"small/row: no field '{key}'"):
        Jobs(tmp_path, "cpu", "").run(block, row, [0])
