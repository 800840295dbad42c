"""The input beside what was learned: verdicts, warnings, and what is printed."""

import numpy as np
import pytest

from experiments.report import summary
from experiments.runs import baselines, measuring
from experiments.settings.experiment import Experiment
from hierjax import Hierarchy, evaluation, inference, objectives
from hierjax.data import Dataset, transforms

TREE = Hierarchy.from_paths([("a", "b"), ("a", "c"), ("d", "e"), ("d", "f")])


def make_data(features):
    classes = np.arange(len(features)) % 4
    splits = np.split(np.arange(len(features)), [40, 60])
    named = dict(zip(("train", "validation", "test"), splits, strict=True))
    return Dataset("toy", features, TREE.labels_of(classes), TREE, named)


def of_values(knn, linear):
    """Baselines with the values of some queries at one level."""
    units = np.arange(len(knn))
    neighbors = evaluation.Evaluation(
        {"knn/x": np.mean(knn)}, {"knn/x": knn}, (1,), units, units, *[units] * 4
    )
    found = evaluation.LinearBaseline(
        {"linear/x": np.mean(linear)}, {"linear/x": linear}, {"x": "LDA"}, units, units
    )
    return baselines.Baselines(neighbors, found, "as given")


@pytest.mark.parametrize(
    ("own", "word", "against"),
    [
        (np.repeat([1.0, 0.0], [90, 10]), "better", "linear/x"),
        (np.repeat([0.0, 1.0], [90, 10]), "worse", "linear/x"),
        (np.repeat([1.0, 0.0], [60, 40]), "equal", "linear/x"),
        (np.full(100, np.nan), None, "linear/x"),
    ],
)
def test_verdicts_against_the_better_measure_of_the_input(own, word, against):
    knn, linear = np.repeat([1.0, 0.0], [20, 80]), np.repeat([1.0, 0.0], [60, 40])
    found = baselines.verdicts({"knn": {"x": own}}, of_values(knn, linear))
    entry = found["knn"]["x"]
    assert (entry["verdict"], entry["against"]) == (word, against)
    if word:
        assert entry["value"] == pytest.approx(np.mean(own - linear))


def test_an_undefined_linear_classifier_leaves_the_neighbours():
    knn = np.repeat([1.0, 0.0], [20, 80])
    found = baselines.verdicts(
        {"classifier": {"x": 1 - knn}}, of_values(knn, np.full(100, np.nan))
    )
    assert found["classifier"]["x"]["against"] == "knn/x"
    assert found["classifier"]["x"]["verdict"] == "better"


def test_the_input_is_measured_in_the_better_scaling():
    rng = np.random.default_rng(0)
    told = 50 * np.eye(4)[np.arange(100) % 4] + rng.normal(size=(100, 4))
    noise = rng.normal(size=(100, 40))  # As large as the signal once standardised.
    given = make_data(np.hstack([told, noise]))
    standard = transforms.standardize(given)
    for dataset, standardize in ((standard, True), (given, False)):
        experiment = Experiment(
            standardize=standardize, method=objectives.Method.kinds["triplet"]()
        )
        found = _measure_input(experiment, dataset, given)
        assert found.form == "as given"
        assert found.neighbors.measures["knn/level_1"] == 1


def _measure_input(experiment, dataset, given):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "load_data", lambda changed: given)
        return baselines.measure_input(experiment, dataset, "test")


def test_images_are_measured_as_components():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (4, 8, 8))[np.arange(100) % 4]
    noise = rng.integers(0, 20, (100, 8, 8))
    dataset = make_data(np.minimum(pictures + noise, 255).astype(np.uint8))
    found = baselines.measure_input(Experiment(standardize=False), dataset, "test")
    assert found.form == "40 principal components"
    assert found.neighbors.measures["knn/level_1"] == 1
    assert found.linear.measures["linear/level_1"] == 1


RESULTS = {
    "split": "test",
    "queries": 90,
    "known_queries": {"kind": 90, "sort": 40},
    "most_frequent": {"kind": 0.5, "sort": 0.25},
    "input": {
        "form": "as given",
        "measures": {"knn/kind": {"value": 0.7}, "knn/sort": {"value": 0.3}},
    },
    "input_linear": {
        "measures": {"linear/kind": {"value": 0.6}, "linear/sort": {"value": 0.4}},
        "chosen": {"kind": "LDA", "sort": "logistic regression"},
    },
    "learned": {
        "measures": {
            "knn/kind": {"value": 0.5, "low": 0.4, "high": 0.6},
            "knn/sort": {"value": 0.38, "low": 0.3, "high": 0.4},
            "silhouette/average": {"value": None},
        }
    },
    "verdicts": {
        "knn": {
            "kind": {
                "value": -0.2,
                "low": -0.3,
                "high": -0.1,
                "against": "knn/kind",
                "verdict": "worse",
            },
            "sort": {
                "value": -0.02,
                "low": -0.1,
                "high": 0.1,
                "against": "linear/sort",
                "verdict": "equal",
            },
        }
    },
}


def test_the_summary_stands_beside_the_input():
    text = summary.summarize_run(RESULTS)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert (
        lines[0] == "right in test rows blind guess k-NN of input linear on input k-NN"
    )
    assert "kind 90 0.500 0.700 0.600 0.500 [0.400, 0.600]" in lines
    assert "sort 40 0.250 0.300 0.400 0.380 [0.300, 0.400]" in lines
    assert "kind worse -0.200 [-0.300, -0.100]" in lines
    assert "sort equal -0.020 [-0.100, 0.100]" in lines
    assert lines[-2:] == [
        "warning: the embedding is below its input: k-NN at kind (0.500 against 0.700, "
        "k-NN of input)",
        "warning: the embedding is below its input, which may be chance: k-NN at sort "
        "(0.380 against 0.400, linear on input)",
    ]
    assert "LDA at kind; logistic regression at sort" in text


def test_no_warning_where_nothing_is_below():
    entry = {"value": 0.0, "low": -0.1, "high": 0.1, "against": "knn/kind"}
    unknown = dict.fromkeys(("value", "low", "high", "verdict"), None)
    verdicts = {
        "kind": entry | {"verdict": "equal"},
        "sort": unknown | {"against": "knn/sort"},
    }
    results = RESULTS | {"verdicts": {"knn": verdicts}}
    assert summary.warnings(results) == []
    assert "sort -" in " ".join(summary.summarize_run(results).split())


def test_results_of_before_are_still_summarised():
    results = {k: RESULTS[k] for k in ("split", "queries", "most_frequent", "learned")}
    text = summary.summarize_run(results)
    assert "warning" not in text and "beside the input" not in text
    assert "0.380 [0.300, 0.400]" in text


def test_measures_by_level():
    values = {"knn/x": np.zeros(2), "knn/average": np.ones(2)}
    assert list(measuring.by_level(values, "knn/{}", ("x", "y"))) == ["x"]


def test_what_is_named_and_how_rightly():
    labels = TREE.labels_of(np.array([0, 1, 2, 3])).copy()
    labels[3, 1] = -1
    dataset = Dataset("toy", np.eye(4), labels, TREE, {"train": np.arange(4)})

    class Model:
        def classify(self, embeddings, *, threshold):
            return inference.Predictions(
                nodes=np.array([[0, 0], [0, 0], [0, 2], [1, 3]]),
                confidences=np.array([[0.9, 0.8], [0.9, 0.7], [0.6, 0.4], [0.3, 0.2]]),
                labels=np.array([[0, 0], [0, 0], [0, -1], [-1, -1]]),
            )

    found = measuring.named(Model(), np.eye(4), dataset, np.arange(4))
    top, leaf = found["levels"].values()
    assert top == {
        "covered": 0.75,
        "right": pytest.approx(2 / 3),
        "confidence": pytest.approx(0.675),
        "accuracy": 0.75,
    }
    assert leaf == {
        "covered": 0.5,
        "right": 0.5,
        "confidence": pytest.approx(1.9 / 3),
        "accuracy": pytest.approx(2 / 3),
    }
    assert "unlabelled" not in found


def test_rows_without_any_label_are_named_or_not():
    labels = TREE.labels_of(np.array([0, 1, 2, 3])).copy()
    labels[1:] = -1
    dataset = Dataset("toy", np.eye(4), labels, TREE, {"train": np.arange(4)})

    class Model:
        def classify(self, embeddings, *, threshold):
            nodes = np.array([[0, 0], [0, 0], [0, -1], [-1, -1]])
            return inference.Predictions(nodes, np.full((4, 2), 0.5), nodes)

    found = measuring.named(Model(), np.eye(4), dataset, np.arange(4))
    assert found["unlabelled"] == {"rows": 3, "unnamed": pytest.approx(1 / 3)}
    text = summary.summarize_run(RESULTS | {"named": found})
    assert "Of 3 rows without any label it leaves 33% unnamed." in " ".join(
        text.split()
    )
