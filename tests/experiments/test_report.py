"""The page of a run: what it shows, that nothing is fetched, that it works."""

import base64
import dataclasses
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from experiments import report
from experiments.papers import PRESETS
from experiments.report import glossary, page, points
from experiments.report.values import number
from experiments.runs import measuring
from experiments.runs.findings import Findings
from experiments.runs.former_names import PROBES, current_name
from experiments.settings.experiment import Experiment
from hierjax import Hierarchy, evaluation, objectives
from hierjax.data import Dataset
from tests.experiments.browser import ask

pytestmark = pytest.mark.usefixtures("whole_report")

# Names that end a script, open a tag, look like a template or a placeholder of a plot.
HOSTILE = Hierarchy.from_paths(
    [
        ("</script><b>", "a & b", '"<script>alert(1)</script>'),
        ("</script><b>", "a & b", "%{x} {{ 7 * 7 }}"),
        ("</script><b>", "c / d", "<img src=x onerror=alert(2)>"),
        ("'quoted'", "é ∀ &amp;"),
    ]
)
PLAIN = Hierarchy.from_paths([("a", "b"), ("a", "c"), ("d", "e"), ("d", "f")])


def make_findings(tree, features, embeddings, *, num_test=30, names=None, hide=0):
    """Findings on rows whose embedding is given; the last rows are the test."""
    number = len(embeddings)
    classes = np.arange(number) % tree.num_classes
    labels = tree.labels_of(classes).copy()
    labels[number - hide :, -1] = -1
    split = np.split(np.arange(number), [number - num_test])
    data = Dataset(
        "toy <set>",
        features,
        labels,
        tree,
        {"train": split[0], "test": split[1]},
        row_names=names,
    )
    measured = evaluation.evaluate(lambda rows: embeddings[rows], data)
    results = {
        "environment": {"python": "3", "devices": "<none>"},
        "split": "test",
        "queries": num_test,
        "bootstrap_unit": "row",
        "learned": measuring.summarize(measured),
        "most_frequent": evaluation.most_frequent(data),
        "best_step": 20,
    }
    means = evaluation.mean_directions(embeddings, labels[:, -1], tree.num_classes)
    return Findings(
        Experiment(method=objectives.Triplet(margin=0.5)),
        results,
        data,
        data,
        "test",
        measured,
        embeddings[split[1]],
        {"means": means},
        [{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.0}],
        {},
    )


def embeddings_of(number, dim, num_classes=4, noise=1.5):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(num_classes, dim))
    rows = centres[np.arange(number) % num_classes]
    return rows + noise * rng.normal(size=(number, dim))


class Page(html.parser.HTMLParser):
    """Tags with attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._silent = [], [], False
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A whole report on a ragged tree with hostile names and unknown labels."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("run") / "<i>run" / "report"
    folder.parent.mkdir()
    (folder.parent / "flags.txt").write_text("--data_path=<x>&.npz\n")
    findings = make_findings(
        HOSTILE,
        rng.integers(0, 256, (90, 8, 8, 3), dtype=np.uint8),
        embeddings_of(90, 5),
        names=[f"dir/<b>{k}</b>&.png" for k in range(90)],
        hide=3,
    )
    levels = HOSTILE.level_names
    right = {level: {"value": 0.5, "low": 0.412, "high": 0.588} for level in levels}
    compared = {
        level: entry | {"verdict": "better", "against": f"knn/{level}"}
        for level, entry in right.items()
    }
    findings.results.update(
        input=findings.results["learned"] | {"form": "as given"},
        input_linear={
            "measures": {f"linear/{k}": right[k] for k in levels},
            "chosen": dict.fromkeys(levels, "LDA"),
        },
        verdicts={"knn": compared, "classifier": compared},
        classes={
            "measures": {f"accuracy/{k}/proxies": right[k] for k in levels},
            "untrained_classes": [],
            "untested_classes": [],
        },
    )
    report.write(folder, findings)
    return folder, findings, (folder / "index.html").read_text("utf-8")


def test_nothing_is_fetched(hostile):
    shown = Page(hostile[2])
    for tag, attributes in shown.tags:
        assert tag not in ("iframe", "object", "embed", "base")
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert not {name for name in attributes if name.startswith("on")}
    (policy,) = [a for a in shown.all("meta") if a.get("http-equiv")]
    assert policy["content"].startswith("default-src 'none'; img-src data: blob:;")
    assert not re.search(
        r"url\(|@import", re.search("<style>.*?</style>", hostile[2], re.S)[0]
    )


def test_names_are_text(hostile):
    shown = Page(hostile[2])
    assert len(shown.all("script")) == 4 and not shown.all("i") and not shown.all("b")
    assert len([a for a in shown.all("img") if not a["src"].startswith("data:")]) == 0
    for name in ("</script><b>", "a & b", '"<script>alert(1)</script>', "<i>run"):
        assert name in shown.text
    assert "{{ 7 * 7 }}" in shown.text and "--data_path=<x>&.npz" in shown.text
    assert "dir/<b>" in shown.text and "toy <set>" in shown.text


def test_measures_and_explanations(hostile):
    _, findings, text = hostile
    shown = Page(text)
    for measure, entry in findings.results["learned"]["measures"].items():
        assert number(entry["value"]) in shown.text, measure
    ids = {attributes.get("id") for _, attributes in shown.tags}
    terms = [a for a in shown.all("button") if a.get("class") == "term"]
    assert len(terms) == 7
    for term in terms:
        assert term["aria-describedby"] in ids
    assert "Range: -1 to 1; 0 on the border; higher is better." in shown.text


def test_pictures_are_those_of_the_rows(hostile):
    _, findings, text = hostile
    worst = evaluation.worst_mistakes(
        findings.measured.predictions[:, -1],
        findings.dataset.labels[findings.measured.rows, -1],
        findings.measured.confidence[:, -1],
        findings.measured.nearest_distance,
        HOSTILE,
        page.NUM_MISTAKES,
    )
    shown = Page(text)
    pictures = {a.get("alt"): a["src"] for a in shown.all("img")}
    rows = findings.measured.rows[worst]
    assert len(rows) > 3
    for row in rows:
        source = pictures[findings.dataset.row_names[row]]
        image = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
        pixels = np.asarray(image.resize((8, 8), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(pixels, findings.dataset.features[row])


def test_settings_that_differ_from_the_preset_come_first(hostile):
    text = Page(hostile[2]).text
    # Without a name it is the one that a command without a name takes.
    differ, same = (
        text.index(f"{name} the preset quickstart") for name in ("Differ from", "As")
    )
    assert differ < text.index("margin 0.5 0.1") < same
    assert differ < text.index("embed_dim 3 128") < same < text.index("momentum 0.0")


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("--experiment=rank_based/gm_notes/rbl\n--seed=3\n", "rank_based/gm_notes/rbl"),
        ("--experiment=one_that_is_gone\n", ""),
        ("", "class_hierarchies/npz/proxydr"),
    ],
)
def test_settings_are_compared_with_the_named_preset(flags, name):
    run = Experiment(dataset="npz", embed_dim=77)
    found = page._settings(run, page._flags(flags))
    assert found["preset"] == name
    preset = PRESETS[name].experiment if name else Experiment()
    (field,) = [f for f in found["fields"] if f["name"] == "embed_dim"]
    assert (field["value"], field["preset"]) == (77, preset.embed_dim)
    assert field["differs"]


def test_the_folder_holds_pictures_and_trees(hostile):
    folder = hostile[0]
    for name in ("embeddings", "embeddings_3d", "dendrograms", "class_distances"):
        picture = folder / f"{name}.png"
        assert 2_000 < picture.stat().st_size < 200_000
        assert Image.open(picture).mode == "P"
    assert (folder / "means_upgma.nwk").read_text().endswith(";\n")
    assert "silhouette/average" in (folder / "report.md").read_text()


VARIANTS = {
    "one level": (Hierarchy.from_paths([("a",), ("b",), ("c",)]), (60, 2), {}),
    "one dimension": (PLAIN, (60, 1), {}),
    "three test rows": (PLAIN, (60, 4), {"num_test": 3}),
    "one test row": (PLAIN, (60, 3), {"num_test": 1}),
    "all classes unknown": (PLAIN, (60, 4), {"hide": 60}),
    "collapsed": (PLAIN, (60, 4), {}),
    "many classes": (
        Hierarchy.from_paths([(f"f{k % 30}", f"c{k}") for k in range(555)]),
        (1665, 2),
        {"num_test": 555},
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_odd_runs_have_a_page(name, tmp_path):
    tree, (number, dim), more = VARIANTS[name]
    embeddings = embeddings_of(number, dim, tree.num_classes)
    if name == "collapsed":
        embeddings = np.ones_like(embeddings)
    findings = make_findings(tree, embeddings, embeddings, **more)
    findings.results["learned"]["measures"]["knn/average"] = {"value": float("nan")}
    text = page.render(tmp_path / "w" / "report", findings, ())
    shown = Page(text)
    assert '<span class="value">-</span>' in text
    assert "None" not in shown.text and "nan" not in shown.text
    data = json.loads(re.search('id="map-data">(.*?)</script>', text)[1])
    assert data["names"] == [f"row {row}" for row in findings.measured.rows]
    planes = {"embedding"}
    if dim > 2:
        planes = {"PCA"} if len(findings.measured.rows) < 5 else {"PCA", "t-SNE"}
    assert set(data["planes"]) - {"UMAP"} == planes
    assert (data["space"] is None) == (dim < 3)
    assert len(text) < 7_000_000


def test_many_classes_are_drawn_by_subtree(monkeypatch):
    tree = Hierarchy.from_paths(
        [("a", "b", f"{k}") for k in range(5)]
        + [("a", "c", f"{k}") for k in range(5, 9)]
        + [("d", "e", "9"), ("d", "f", "10"), ("g", "h", "11")]
    )
    present = np.ones(12, bool)
    assert report.subtrees(tree, present) == []
    monkeypatch.setattr(report, "MAX_CLASSES", 11)
    monkeypatch.setattr(report, "MAX_OF_SUBTREE", 8)
    named = [tree.node_names(x)[y] for x, y in report.subtrees(tree, present)]
    # a has nine, so its children; d and g are too few for a picture.
    assert named == ["b", "c"]
    present[[0, 1, 2]] = False
    assert report.subtrees(tree, present) == []
    monkeypatch.setattr(report, "MAX_CLASSES", 8)
    named = [tree.node_names(x)[y] for x, y in report.subtrees(tree, present)]
    assert named == ["a"]
    monkeypatch.setattr(report, "NUM_SUBTREES", 1)
    assert len(report.subtrees(tree, np.ones(12, bool))) == 1


def test_at_most_so_many_points(monkeypatch):
    monkeypatch.setattr(points, "MAX_POINTS", 20)
    embeddings = embeddings_of(90, 2)
    findings = make_findings(PLAIN, embeddings, embeddings)
    data = points.map_data(findings.dataset, findings.measured, findings.embeddings)
    rows = [int(name.removeprefix("row ")) for name in data["names"]]
    assert len(rows) == 20 and rows == sorted(set(rows))
    x, y = data["planes"]["embedding"]["points"]
    np.testing.assert_allclose(np.column_stack([x, y]), embeddings[rows], atol=1e-3)
    assert data["labels"][1] == findings.dataset.labels[rows, 1].tolist()


@pytest.mark.parametrize(
    ("labels", "level"),
    [
        ([[0, 0], [0, 1], [1, 2], [1, 3]], 0),
        ([[0, 0], [0, 1], [0, 2], [1, 3]], 1),
        ([[0, 0], [0, 0], [0, 0], [1, 1]], 1),
        ([[0, -1], [0, -1], [1, 1], [-1, -1]], 1),
        ([[-1, -1], [-1, -1]], 1),
        ([[0], [0], [0]], 0),
    ],
)
def test_maps_start_where_no_node_has_most_rows(labels, level):
    assert points.telling_level(np.array(labels)) == level


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        (np.zeros((60, 6, 9), np.uint8), "image"),
        (np.zeros((60, 6, 9, 3)), "image"),
        (np.linspace(-1, 1, 60 * 54).reshape(60, 6, 9), "spectrogram"),
        (np.random.default_rng(0).normal(size=(60, 20, 3)), "points"),
        (np.zeros((60, 7)), ""),
        (np.zeros((60, 4, 4, 4)), ""),
    ],
)
def test_rows_are_drawn_as_what_they_are(features, kind):
    findings = make_findings(PLAIN, features, embeddings_of(60, 2))
    assert report.pictures.kind_of(findings.given) == kind
    uri = report.pictures.row_picture(findings.given, 3)
    assert uri.startswith("data:image/webp;base64,") if kind else uri == ""
    if kind == "spectrogram":
        # [frames, bands] ascending: low bands below, time to the right.
        image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L")
        drawn = np.asarray(image.resize((6, 9), Image.Resampling.NEAREST))
        assert drawn[-1, 0] == 0 and drawn[0, -1] == 255
        assert (np.diff(drawn[:, 0].astype(int)) < 0).all()


def test_every_measure_is_explained(hostile):
    embeddings = embeddings_of(60, 4)
    findings = make_findings(PLAIN, embeddings, embeddings)
    classes = evaluation.evaluate_classes(
        lambda rows: embeddings[rows], findings.dataset, num_permutations=9
    )
    probes = ("probe/a", "probe_best/a", "nn/a", "effective_rank", "inferred_levels")
    levels = PLAIN.level_names
    named = [*findings.measured.measures, *classes.measures]
    named += [current_name(name, levels, PROBES) for name in probes]
    for measure in named:
        assert glossary.term_of(measure)[0] in glossary.TERMS, measure
    results = findings.results | {"classes": measuring.summarize(classes)}
    shown = Page(
        page.render(hostile[0], dataclasses.replace(findings, results=results), ())
    )
    assert "Goodman-Kruskal gamma" in shown.text
    assert f"{classes.measures['gamma/all/means']:.3f}" in shown.text


@pytest.mark.parametrize(
    ("measure", "low", "high", "expected"),
    [
        ("knn/x", 0.1, 0.2, "better"),
        ("knn/x", -0.2, -0.1, "worse"),
        ("cost/all/means", 0.1, 0.2, "worse"),
        ("cost/all/means", -0.2, -0.1, "better"),
        ("knn/x", -0.1, 0.1, ""),
        ("knn/x", None, None, ""),
        ("mean_angle/all/means", 0.1, 0.2, ""),
    ],
)
def test_verdicts(measure, low, high, expected):
    entry = {"value": 0.0, "low": low, "high": high}
    assert page.verdict(entry, measure) == expected


LOOK = """
const shown = () => {
  const traces = document.getElementById("plane-plot").data.filter((t) => t.text);
  const dots = document.getElementById("plane-plot").data.filter((t) => !t.text);
  return {
    legend: dots.map((t) => [t.name, t.marker.color]),
    points: document.querySelectorAll("#plane-plot .points path").length,
    names: traces.map((t) => t.name),
    colors: [...new Set(traces.flatMap((t) => t.marker.color))].sort(),
    crosses: traces.flatMap((t) => t.marker.symbol).filter((s) => s === "x").length,
    x: traces.flatMap((t) => t.x),
    texts: traces.flatMap((t) => t.text),
  };
};
const choose = async (id, value) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event("change"));
  await pause(300);
  return shown();
};
const start = document.getElementById("level").value;
const first = await choose("level", "0");
Plotly.Fx.hover("plane-plot", [{ curveNumber: 0, pointNumber: 0 }]);
await pause(300);
const hovered = document.querySelector("#plane-plot .hoverlayer").textContent;
const finest = await choose("level", "2");
const pca = await choose("plane", "PCA");
const mark = document.getElementById("mark");
mark.checked = false;
const unmarked = await choose("mark", "on");
document.querySelector("details:has(.term)").open = true;
const term = document.querySelector(".term");
term.focus();
const tip = document.getElementById("tip");
const told = { hidden: tip.hidden, text: tip.textContent };
const confusions = () =>
  [...document.querySelectorAll(".confusions")].map((table) => !table.hidden);
const before = confusions();
await choose("confusion-level", "2");
const space = document.getElementById("space-plot");
return {
  start, hovered, first, finest, pca, unmarked, told, before, after: confusions(),
  space: space.hidden ? "static" : (space.data || []).flatMap((t) => t.z).length,
  still: !document.getElementById("space-static").hidden,
  cut: [...document.querySelectorAll(".first")].map(
    (table) => table.scrollWidth - table.parentElement.clientWidth),
  wide: document.documentElement.scrollWidth <= innerWidth,
};
"""


def test_the_page_works_in_a_narrow_browser(hostile, tmp_path):
    _, findings, text = hostile
    found = ask(text, tmp_path, LOOK, width=500)
    first, finest, pca, unmarked = (
        found[key] for key in ("first", "finest", "pca", "unmarked")
    )
    measured, labels = (
        findings.measured,
        findings.dataset.labels[findings.measured.rows],
    )
    assert first["points"] == finest["points"] == 30
    # One node has 23 of 30 rows at level 0, another 16 at level 1.
    assert found["start"] == "2"
    assert first["names"] == ["'quoted'", "&lt;/script&gt;&lt;b&gt;"]
    assert [name for name, _ in finest["legend"]] == finest["names"]
    colors = points.map_data(findings.dataset, measured, findings.embeddings)["levels"]
    assert first["colors"] == sorted(colors[0]["colors"])
    assert [color for _, color in first["legend"]] == colors[0]["colors"]
    assert set(colors[2]["colors"]) < set(finest["colors"])
    assert len(finest["names"]) == 5 and finest["names"][-1] == "unknown"
    for shown, level in ((first, 0), (finest, 2)):
        known = labels[:, level] >= 0
        wrong = measured.predictions[:, level] != labels[:, level]
        assert shown["crosses"] == np.sum(known & wrong)
    assert finest["crosses"] > 0 == unmarked["crosses"]
    assert pca["x"] != finest["x"] and first["points"] == pca["points"]
    assert any(
        "true: &lt;/script&gt;&lt;b&gt; / a &amp; b / ?" in t for t in first["texts"]
    )
    assert all("<img" not in t for t in first["texts"])
    # The first trace is that of the node that comes first by id, 'quoted'.
    row = measured.rows[np.flatnonzero(labels[:, 0] == 0)[0]]
    assert f"dir/<b>{row}</b>&.png" in found["hovered"]
    assert "true: 'quoted' / é ∀ &amp;" in found["hovered"]
    assert not found["told"]["hidden"]
    assert found["told"]["text"].startswith("Silhouette, cosine")
    assert found["before"] == [True, False, False]
    assert found["after"] == [False, False, True]
    assert found["space"] in (30, "static")
    assert found["still"] == (found["space"] == "static")
    # Every column of the first table is in sight, that of the classifier the last.
    assert len(found["cut"]) == 1 and found["cut"][0] <= 0
    assert found["wide"], "the page is wider than the window"
