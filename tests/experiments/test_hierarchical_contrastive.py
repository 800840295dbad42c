"""Presets of hierarchical contrastive learning, from their flags to their report."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import evaluate, reproduce, train
from experiments.papers import PRESETS, hierarchical_contrastive, own_data
from experiments.papers.tables import TABLES, cell_rows, scaled_experiment, trials
from experiments.runs.files import read_json
from experiments.settings import methods
from experiments.settings.experiment import Experiment
from experiments.settings.loading import load_data
from experiments.tables import figures
from experiments.tables.jobs import Jobs
from hierjax import training
from tests.experiments.test_train import make_npz

SHORT = ["--num_steps=6", "--set=eval_every=3", "--set=warmup_steps=1"]
SHORT += ["--num_devices=1", "--batch_size=16"]
QUICK = ("cross_entropy", "simclr", "hmce_pairwise", "heads", "ahmlc")
TRAINED = [row for row in hierarchical_contrastive.rows() if row != "input"]


def preset(name):
    return f"--experiment=hierarchical_contrastive/{name}", *SHORT


@pytest.mark.parametrize(
    "row",
    [
        row if row in QUICK else pytest.param(row, marks=pytest.mark.slow)
        for row in TRAINED
    ],
)
def test_every_method_trains_a_step(row):
    chosen = PRESETS[f"hierarchical_contrastive/hierarchical_digits/{row}"].experiment
    small = dataclasses.replace(
        chosen,
        model="linear",
        augment="shift_jitter_noise",
        num_steps=2,
        warmup_steps=1,
        eval_every=2,
        batch_size=16,
        embed_dim=8,
    )
    result = methods.fit(small, load_data(small), num_devices=1)
    assert np.isfinite(result.records[-1]["loss"])
    # Features of a linear model are its input, whatever was trained.
    assert result.embed(np.arange(4)).shape == (4, 24 * 24)
    guarded = "guarded" in result.records[-1]
    assert guarded == row.startswith("ghmlc")


@pytest.mark.parametrize(
    "name", sorted(hierarchical_contrastive.DATASETS.keys() - set(own_data.KINDS))
)
def test_every_data_set_fits_its_network(name):
    chosen = hierarchical_contrastive.experiment(name, {"method": "hmce"})
    shape = {
        "gm_notes": (24, 32),
        "cifar100": (32, 32, 3),
        "hierarchical_mnist": (48, 48),
        "hierarchical_digits": (24, 24),
        "psb": (256, 3),
        "modelnet40": (64, 64, 3),
    }[name]
    model = methods.make_model(chosen, 2)
    inputs = np.zeros((2, *shape), np.float32)
    shapes = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), inputs)[0]
    )
    assert shapes.shape == (2, chosen.embed_dim)
    augment = methods.augmentation(chosen)
    views = jax.eval_shape(augment, jax.random.key(0), inputs[0])
    assert views.shape[0] == 2


def test_from_flags_to_report_and_again(
    run, capsys, tmp_path, whole_report, draw_no_more
):
    workdir = f"--workdir={tmp_path}/w"
    name = "hierarchical_digits/ghmlc_mean"
    arguments = [workdir, *preset(name), "--set=width=4"]
    assert run(train, *arguments) == 0
    assert "linear probe" in capsys.readouterr().out
    text = (tmp_path / "w" / "report" / "report.md").read_text()
    assert "| frozen features |" in text and "| probe/class_name |" in text
    results = read_json(tmp_path / "w" / "results.json")
    first = results["probes"]["measures"]
    assert set(first["nn/category/features"]) == {"value", "low", "high"}
    assert first["mask_share/category/projections"]["value"] > 0
    assert first["inferred_levels/all/projections"]["value"] >= 1
    names = {path.name for path in (tmp_path / "w" / "report").iterdir()}
    assert {"level_masks.png", "embeddings.png", "training_curves.png"} <= names
    records = training.read_records(tmp_path / "w" / "metrics.jsonl")
    assert {"guarded", "mask_share_class", "validation/nn/average"} <= set(records[-1])
    draw_no_more()
    assert run(evaluate, workdir, "--augmented_probe") == 0
    again = read_json(tmp_path / "w" / "results.json")["probes"]
    assert again["augmented"] and not results["probes"]["augmented"]
    for measure, entry in first.items():
        if entry["value"] is not None and not measure.startswith("probe"):
            np.testing.assert_allclose(
                again["measures"][measure]["value"], entry["value"], 1e-5
            )


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    chosen = PRESETS["hierarchical_contrastive/hierarchical_digits/ahmlc"].experiment
    settings = {"num_steps": 6, "eval_every": 3, "warmup_steps": 1, "batch_size": 16}
    small = dataclasses.replace(chosen, **settings, checkpoint_every=3, width=4)
    dataset = load_data(small)
    methods.fit(small, dataset, tmp_path / "whole", num_devices=1)
    whole = training.read_records(tmp_path / "whole" / "metrics.jsonl")

    class Stop(Exception):
        pass

    original, calls = training.loop.evaluation.validation_measures, []

    def second_call_stops(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise Stop
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(
            training.loop.evaluation, "validation_measures", second_call_stops
        )
        with pytest.raises(Stop):
            methods.fit(small, dataset, tmp_path / "cut", num_devices=1)
    methods.fit(small, dataset, tmp_path / "cut", num_devices=1)
    cut = training.read_records(tmp_path / "cut" / "metrics.jsonl")
    assert [r["loss"] for r in cut] == [r["loss"] for r in whole]


def test_own_vectors_with_a_ragged_tree(run, capsys, tmp_path):
    path = make_npz(tmp_path / "own.npz")
    arguments = [*preset("npz/ahmlc"), f"--data_path={path}"]
    assert run(train, *arguments, f"--workdir={tmp_path}/w") == 0
    assert "linear probe" in capsys.readouterr().out
    text = (tmp_path / "w" / "report" / "report.md").read_text()
    assert "| frozen features |" in text


def test_wrong_settings_are_one_sentence(fails, tmp_path):
    digits = preset("hierarchical_digits/ghmlc_mean")
    where = f"--workdir={tmp_path}/w"
    fails(train, [*digits, where, "--set=temperature=0"], "temperature")
    fails(train, [*digits, where, "--set=masks=hard"], "no masks 'hard'")
    fails(train, [*digits, where, "--set=augment=none"], "num_views 2")
    fails(train, [*digits, where, "--set=embed_dim=3"], "embed_dim 3 is too small")
    fails(train, [*digits, where, "--set=selection=accuracy"], "measured")
    fails(train, [*digits, where, "--set=long_tail=0.5"], "long_tail")
    simclr = preset("hierarchical_digits/simclr")
    fails(train, [*simclr, where, "--set=num_views=1"], "num_views 2 or more")
    supcon = preset("hierarchical_digits/supcon_fine")
    fails(train, [*supcon, where, "--set=label_level=5"], "label_level 5")
    fails(reproduce, [f"--workdir={tmp_path}/r"], "--table", "--figure")
    both = ["--table=imbalance", "--figure=mnist_tsne", f"--workdir={tmp_path}/r"]
    fails(reproduce, both, "either --table")


@pytest.mark.parametrize(
    "name", ["hierarchical_contrastive", "level_order", "imbalance"]
)
@pytest.mark.parametrize("scale", ["cpu", "paper"])
def test_rows_of_a_table_differ_in_the_method_alone(name, scale):
    table = TABLES[name]
    for block in table.blocks:
        rows = cell_rows(block, table, scale)
        trained = [row for row in rows if row.fields["method"] != "input"]
        settings = [vars(scaled_experiment(block, row, scale, "")) for row in trained]
        differing = {
            key for one in settings for key in one if one[key] != settings[0][key]
        }
        assert differing == {"method"}, block.name
        assert len({len(trials(block, row, scale)) for row in trained}) == 1


@pytest.fixture
def tiny_tables(monkeypatch):
    """The main table with one small data set that needs no files."""
    main = TABLES["hierarchical_contrastive"]
    block = next(b for b in main.blocks if b.name == "hierarchical_mnist")
    small = {"num_steps": 4, "warmup_steps": 1, "eval_every": 4, "batch_size": 16}
    small |= {"num_train": 64, "num_evaluated": 40, "width": 4}
    fields = block.fields | {"dataset": "hierarchical_digits"}
    del fields["protocol"]
    block = dataclasses.replace(
        block,
        fields=fields,
        seeds=2,
        scales={"cpu": block.scales["cpu"] | small, "paper": block.scales["paper"]},
    )
    table = dataclasses.replace(main, blocks=(block,))
    monkeypatch.setitem(TABLES, "hierarchical_contrastive", table)
    return table


def test_a_table_and_its_figures(run, capsys, tmp_path, tiny_tables, monkeypatch):
    workdir = f"--workdir={tmp_path}/w"
    rows = "--rows=input,unmasked,ghmlc_mean"
    table = ["--table=hierarchical_contrastive", workdir]
    assert run(reproduce, *table, rows) == 0
    text = (tmp_path / "w" / "hierarchical_contrastive.md").read_text()
    assert "against unmasked" in text and "| ghmlc_mean |" in text
    assert "probe class_name" in text and "1-NN category" in text
    assert "Mean mask a level: unmasked category 1.00" in text
    content = read_json(tmp_path / "w" / "hierarchical_contrastive.json")
    (gain,) = (
        comparison["differences"]
        for comparison in content["blocks"][0]["comparisons"]
        if (comparison["row"], comparison["against"]) == ("ghmlc_mean", "unmasked")
    )
    assert set(gain["probe/category/features"]) == {"value", "low", "high"}
    jobs = tmp_path / "w" / "jobs"
    before = {path: path.stat().st_mtime_ns for path in jobs.rglob("*.json")}
    assert run(reproduce, *table, rows) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    monkeypatch.setattr(figures, "PERPLEXITY", 5.0)
    monkeypatch.setattr(figures, "TSNE_ROWS", ("unmasked", "ghmlc_mean"))
    monkeypatch.setattr(figures, "MASK_ROWS", ("ghmlc_mean",))
    for name in figures.FIGURES:
        capsys.readouterr()
        assert run(reproduce, f"--figure={name}", workdir) == 0
        written = capsys.readouterr().out
        assert "written: " in written and ".png" in written
    assert (tmp_path / "w" / "mnist_tsne.png").stat().st_size > 10_000


def test_figures_say_what_data_are_missing(tmp_path):
    jobs = Jobs(tmp_path, "cpu", "", "probes")
    with pytest.raises(Exception, match="hierarchical_mnist"):
        figures.mnist_examples(jobs, tmp_path)


def test_long_tail_and_fewer_queries(tmp_path):
    base = Experiment(dataset="hierarchical_digits", standardize=False)
    thinned = dataclasses.replace(base, long_tail=8.0, num_evaluated=50)
    dataset = load_data(thinned)
    assert len(dataset.rows("test")) == len(dataset.rows("validation")) == 50
    assert len(dataset.rows("train")) < len(load_data(base).rows("train"))
