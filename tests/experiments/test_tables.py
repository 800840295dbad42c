"""Names in old files, values as text, and what tables are put together of."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.papers.layout import Block, Published, Row, Table, cell_rows
from experiments.report import document, values
from experiments.runs.files import plain, write_json
from experiments.runs.former_names import current_name, current_results
from experiments.tables import formats, render
from experiments.tables.aggregate import aggregate
from experiments.tables.jobs import Jobs
from hierjax import Hierarchy, data, metrics
from hierjax.errors import MissingDataError, UserError
from hierjax.evaluation.names import parse_measure

LEVELS = ("realm", "group", "kind_of")


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        ("neighbors", "knn/group", "knn/group"),
        ("neighbors", "silhouette/average", "silhouette/average"),
        ("neighbors", "knn/means", "knn/means"),
        ("neighbors", "knn/a/means", "knn/a/means"),
        ("neighbors", "mistake_distance/hops", "mistake_hops/all"),
        ("classes", "accuracy/means", "accuracy/kind_of/means"),
        ("classes", "accuracy@5/proxies", "accuracy@5/kind_of/proxies"),
        ("classes", "accuracy_group/means", "accuracy/group/means"),
        ("classes", "macro_f1_kind_of/means", "macro_f1/kind_of/means"),
        ("classes", "precision_at_1_realm/means", "precision@1/realm/means"),
        ("classes", "precision@5/means", "hierarchical_precision@5/all/means"),
        ("classes", "clades_overall/means", "clades/all/means"),
        ("classes", "clades_realm/means", "clades/realm/means"),
        ("classes", "gamma/proxies", "gamma/all/proxies"),
        ("classes", "similarity@50", "similarity@50/all"),
        ("classes", "similarity_area", "similarity_area/all"),
        ("classes", "variance_inter", "variance_inter/all"),
        ("classes", "angle_proxies_means", "angle_to_means/all/proxies"),
        ("probes", "nn/group_name", "nn/group_name/features"),
        ("probes", "probe_best/group", "probe_best/group/features"),
        ("probes", "nn/means", "nn/means/features"),
        ("probes", "precision_at_1/group", "precision@1/group/features"),
        ("probes", "effective_rank", "effective_rank/all/features"),
        ("probes", "projection_effective_rank", "effective_rank/all/projections"),
        ("probes", "inferred_levels", "inferred_levels/all/projections"),
        ("probes", "mask_share/realm", "mask_share/realm/projections"),
        ("probes", "guarded", "guarded/all"),
    ],
)
def test_old_names_are_those_of_today(source, old, new):
    assert current_name(old, LEVELS, source) == new
    assert current_name(new, LEVELS, source) == new
    assert str(parse_measure(new)) == new


def test_results_of_an_old_run():
    entry = {"value": 0.5}
    results = {
        "most_frequent": dict.fromkeys(LEVELS, 0.1),
        "split": "test",
        "learned": {"neighbors": [1], "measures": {"mistake_distance/hops": entry}},
        "gain": {"mistake_distance/lca_height": entry},
        "classes": {"measures": {"accuracy/means": entry}, "untested_classes": []},
        "probes": {"measures": {"explained_variance": entry}},
    }
    found = current_results(results)
    assert found["learned"] == {
        "neighbors": [1],
        "measures": {"mistake_hops/all": entry},
    }
    assert found["gain"] == {"mistake_height/all": entry}
    assert list(found["classes"]["measures"]) == ["accuracy/kind_of/means"]
    assert list(found["probes"]["measures"]) == ["explained_variance/all/features"]
    assert current_results(found) == found


NAN = float("nan")


def test_values_as_text():
    entry = {"value": 0.12345, "sd": 0.01, "low": -0.05, "high": 0.2}
    assert values.with_interval(entry) == "0.123 [-0.050, 0.200]"
    assert values.with_interval(entry, 2, "+") == "+0.12 [-0.05, 0.20]"
    assert values.with_spread(entry) == "0.123 ± 0.010"
    spread = values.with_spread(entry, 2, show_interval=True)
    assert spread == "0.12 ± 0.01 [-0.05, 0.20]"
    for undefined in (None, {"value": None}, {"value": NAN, "low": 0.0, "high": 1.0}):
        assert values.with_interval(undefined) == "-"
        assert values.with_spread(undefined, show_interval=True) == "-"
        assert values.difference(undefined, ("=", "↑", "↓")) == "-"
    for bounds in ({}, {"low": None, "high": 1.0}, {"low": NAN, "high": NAN}):
        assert values.with_interval({"value": 1.0} | bounds) == "1.000"
        assert values.difference({"value": 1.0} | bounds, ("=", "↑", "↓")) == "+1.000"
    for low, high, mark in ((0.1, 0.2, "↑"), (-0.2, -0.1, "↓"), (0.0, 0.2, "=")):
        shown = values.difference({"value": 0.1, "low": low, "high": high}, "=↑↓")
        assert shown == f"+0.100 [{low:.3f}, {high:.3f}] {mark}"


def test_a_later_format_is_refused(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"format": 99, "blocks": []}))
    with pytest.raises(UserError, match=r"t\.json has format 99; .* up to 2"):
        formats.read_table(tmp_path / "t.json")


TREE = Hierarchy.from_paths([("a", "b"), ("a", "c")], level_names=("top", "low"))
TOY = data.Dataset(
    "toy",
    np.zeros((8, 2), np.float32),
    TREE.labels_of(np.arange(8) % 2),
    TREE,
    {"test": np.arange(6), "train": np.arange(6, 8)},
    units=np.array([0, 0, 1, 1, 2, 2, 3, 3]),
)


class ToyJobs(Jobs):
    """Jobs on `TOY`, but for the block that is absent."""

    def load(self, block, row):
        """The data of a block."""
        if block.name == "absent":
            raise MissingDataError("no file")
        return TOY


def write_cell(jobs, block, row, seeds, value_of):
    """Finished jobs of one row, whose queries are out of order."""
    rows = np.array([4, 2, 0, 1, 3, 5])
    for seed in seeds:
        path = jobs.result_path(block, row, 0, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        per_query = value_of(seed, rows).astype(np.float64)
        arrays = {"value/knn/low": per_query, "kept/features": np.zeros(2)}
        np.savez(path.with_suffix(".npz"), rows=rows, **arrays)
        measures = {"knn/low": per_query.mean(), "mistake_distance/hops": 2.0 + seed}
        content = {
            "measures": measures,
            "steps": 3,
            "seconds": 1.0,
            "neighbors": [1, 1],
        }
        write_json(path, content)
    tuning = {"trials": [], "chosen": {"overrides": {}}, "seconds": 0.0}
    write_json(jobs.tuning_path(block, row, 0), tuning)


def make_table(*blocks, **more):
    rows = (
        Row("init", {"loss": "none"}, ({},)),
        Row("rbl", {"loss": "rank_based"}, ({}, {}), selections={"nn": "nn/average"}),
    )
    return Table("toy", "Toy", blocks, rows, **more)


def make_block(name, **more):
    return Block(name, {"dataset": "toy"}, scales={"cpu": {"num_steps": 7}}, **more)


def table_of(content):
    """The content as read again from its file."""
    run = {"command": "c", "scale": "cpu", "settings": "", "environment": {}}
    return json.loads(json.dumps(plain(content | {"run": run | {"seconds": 1}})))


def test_rows_are_compared_on_the_seeds_and_queries_that_both_have(tmp_path):
    block = make_block("toy")
    table, jobs = make_table(block), ToyJobs(tmp_path, "cpu", "")
    init, rbl, _ = cell_rows(block, table, "cpu")
    write_cell(jobs, block, init, [0, 1, 2], lambda seed, rows: 0.1 * rows + seed)
    write_cell(jobs, block, rbl, [0, 2], lambda seed, rows: 0.3 * rows - seed)
    (content,) = aggregate(table, jobs, [0, 1, 2])["blocks"]
    (pair,) = content["comparisons"]
    assert (pair["row"], pair["against"], pair["seeds"]) == ("rbl", "init", 2)
    seeds, rows = np.array([[0.0], [2.0]]), np.arange(6)
    expected = metrics.two_way_interval(0.2 * rows - 2 * seeds, units=TOY.units[:6])
    found = pair["differences"]["knn/low"]
    np.testing.assert_allclose([found[k] for k in ("value", "low", "high")], expected)
    # No mean over queries, no interval.
    assert set(pair["differences"]) == {"knn/low"}
    mistakes = content["rows"]["init"]["measures"]["mistake_hops/all"]
    assert mistakes == {"value": 3.0, "sd": 1.0}
    assert (content["queries"], content["units"]) == (6, 3)


def test_a_selection_is_a_row_of_its_own(tmp_path):
    block, absent = make_block("toy"), make_block("absent")
    table, jobs = make_table(block, absent), ToyJobs(tmp_path, "cpu", "")
    init, rbl, selected = cell_rows(block, table, "cpu")
    assert (rbl.name, selected.name) == ("rbl", "rbl_nn")
    assert selected.fields == {"loss": "rank_based", "selection": "nn/average"}
    assert "selection" not in rbl.fields and selected.grid == rbl.grid
    for row, value in ((init, 0.25), (rbl, 0.5), (selected, 0.75)):
        write_cell(jobs, block, row, [0], lambda seed, rows, v=value: v + 0 * rows)
    content = table_of(aggregate(table, jobs, None))
    assert content["row_names"] == ["init", "rbl", "rbl_nn"]
    assert content["trials"] == {"init": 1, "rbl": 2, "rbl_nn": 2}
    text = document.markdown(render.parts(content))
    assert "| rbl_nn | 0.75 [0.75, 0.75] |" in text
    assert "+0.500 [0.500, 0.500] ↑ |" in text
    assert "### absent\n\nNot run: data absent.\n\nComputed" in text


def test_published_numbers_carry_their_source(tmp_path):
    first = Published("A 2001", ("knn/{fine}",), {"init": (0.5,)})
    second = dataclasses.replace(first, source="B 2002", rows={"rbl": (0.125,)})
    blocks = make_block("toy", published=first), make_block("more", published=second)
    jobs = ToyJobs(tmp_path, "cpu", "")

    def text(*blocks):
        content = table_of(aggregate(make_table(*blocks), jobs, None))
        return document.markdown(render.parts(content))

    assert "Published: A 2001.\n" in text(blocks[0], make_block("none"))
    both = text(*blocks)
    assert "Published for toy: A 2001.\n" in both
    assert "Published for more: B 2002.\n" in both
    assert "| _init, published_ | - | - | - | _0.50_ |" in both
    assert "Published" not in text(make_block("none"))
