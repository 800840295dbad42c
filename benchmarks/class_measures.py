"""Time of all measures of class predictions, retrieval and representatives.

10,000 embeddings of 128 dimensions, in 100 and in 555 classes of a random tree of
depth 4; measures of representatives are taken of proxies and of class means. Each
number of classes runs in a process of its own and each measure twice, first with
compilation.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from benchmarks import timing
from hierjax import metrics
from hierjax.hierarchy import Hierarchy
from hierjax.metrics import (
    class_trees,
    classification,
    ranking,
    representatives,
    retrieval,
    structure,
)

NUM_ROWS, DIM, K, MAX_K = 10_000, 128, 5, 250
NUM_CLASSES = (100, 555)


class Inputs(NamedTuple):
    """What a trained model leaves to measure."""

    hierarchy: Hierarchy
    tree_distance: np.ndarray
    embeddings: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    kinds: tuple[np.ndarray, np.ndarray]
    """Proxies and class means, each ``[C, D]``."""


def random_tree(num_classes: int, rng: np.random.Generator) -> Hierarchy:
    """A tree of depth 4 in which classes fall at random under a third as many nodes."""
    third = rng.integers(num_classes // 3, size=num_classes)
    second = rng.integers(num_classes // 10, size=num_classes)[third]
    first = rng.integers(num_classes // 30, size=num_classes)[second]
    columns = (first, second, third, np.arange(num_classes))
    return Hierarchy.from_paths(
        [tuple(map(str, path)) for path in zip(*columns, strict=True)]
    )


def make_inputs(num_classes: int) -> Inputs:
    """Embeddings around proxies that are sums of a vector for every ancestor."""
    rng = np.random.default_rng(0)
    hierarchy = random_tree(num_classes, rng)
    nodes = rng.normal(size=(hierarchy.num_levels, num_classes, DIM))
    levels = np.arange(hierarchy.num_levels)
    proxies = nodes[levels[None, :], hierarchy.ancestors].sum(axis=1)
    class_ids = rng.integers(num_classes, size=NUM_ROWS)
    embeddings = proxies[class_ids] + 4 * rng.normal(size=(NUM_ROWS, DIM))
    units = classification.unit_rows(embeddings)
    return Inputs(
        hierarchy=hierarchy,
        tree_distance=hierarchy.path_length(),
        embeddings=embeddings.astype(np.float32),
        class_ids=class_ids,
        scores=10 * units @ classification.unit_rows(proxies).T,
        kinds=(proxies, classification.class_means(units, class_ids, num_classes)),
    )


def of_scores(inputs: Inputs) -> float:
    """Top-1 and top-5 accuracy, AHC, AHD@5, HP@5 and level accuracies; prints HP@5."""
    truth = inputs.class_ids
    top = ranking.top_classes(inputs.scores, K)
    ranking.top_k_correct(top[:, :1], truth)
    ranking.top_k_correct(top, truth)
    ranking.hierarchical_cost(top[:, 0], truth, inputs.tree_distance)
    ranking.hierarchical_distance_at_k(top, truth, inputs.tree_distance)
    ranking.ideal_distance_at_k(inputs.tree_distance, K)
    ranking.level_correct(top[:, 0], truth, inputs.hierarchy.ancestors)
    return ranking.hierarchical_precision(top, truth, inputs.tree_distance).mean()


def of_retrieval(inputs: Inputs) -> float:
    """HS@1..250 and the area under it, which is printed."""
    similarity = retrieval.hierarchical_similarity(inputs.tree_distance)
    values = retrieval.similarity_at_k(
        inputs.embeddings, inputs.class_ids, similarity, max_k=MAX_K
    )
    return retrieval.area_under_similarity(values).mean()


def of_confidence(inputs: Inputs) -> float:
    """Calibration errors and point-biserial correlation; prints the ECE."""
    confidence = softmax(inputs.scores, axis=1).max(axis=1)
    correct = inputs.scores.argmax(axis=1) == inputs.class_ids
    metrics.point_biserial(confidence, correct)
    return metrics.calibration(confidence, correct)["ece"]


def by_class(inputs: Inputs) -> float:
    """Precision, recall and F1 of the nodes of every level; prints the classes' F1."""
    tree = inputs.hierarchy
    predicted = tree.labels_of(inputs.scores.argmax(axis=1))
    truth = tree.labels_of(inputs.class_ids)
    for level, count in enumerate(tree.nodes_per_level):
        _, _, f1 = ranking.precision_recall_f1(
            predicted[:, level], truth[:, level], count
        )
    return np.nanmean(f1)


def of_neighbors(inputs: Inputs) -> float:
    """P@1, RP and MAP@R among representatives, every level; prints the proxies' MAP@R.

    Of the level above the classes.
    """
    values = [
        representatives.representative_retrieval(kind, nodes)
        for kind in inputs.kinds
        for nodes in inputs.hierarchy.ancestors.T
    ]
    return values[inputs.hierarchy.num_levels - 2]["map_at_r"]


def of_order(inputs: Inputs) -> float:
    """Gamma, mean and elementwise correlations; prints the proxies' gamma."""
    gammas = []
    for kind in inputs.kinds:
        pair = structure.representative_distances(kind), inputs.tree_distance
        gammas.append(structure.goodman_kruskal_gamma(*pair))
        structure.per_class_gamma(*pair)
        structure.mean_correlation(*pair, official=True)
        for method in ("spearman", "pearson", "kendall"):
            structure.mean_correlation(*pair, method=method)
            structure.elementwise_correlation(*pair, method=method)
    return gammas[0]


def of_trees(inputs: Inputs) -> float:
    """Inferred trees against the true one; prints the clades the proxies recover."""
    true = class_trees.infer_tree(inputs.tree_distance, official=True)
    recovered = []
    for kind in inputs.kinds:
        distances = structure.representative_distances(kind)
        published = class_trees.infer_tree(distances, official=True)
        class_trees.robinson_foulds(published, true)
        tree = class_trees.infer_tree(distances)
        class_trees.cophenetic_correlation(tree, distances)
        recovered.append(class_trees.clade_recovery(tree, inputs.hierarchy)["overall"])
    return recovered[0]


def of_spread(inputs: Inputs) -> float:
    """Variances, near-uniformity and angles; prints the discriminability."""
    for kind in inputs.kinds:
        representatives.near_uniformity(kind)
    representatives.mean_angle(*inputs.kinds)
    return representatives.variance_measures(
        inputs.embeddings, inputs.class_ids, inputs.hierarchy.num_classes
    )["discriminability"]


def of_permutations(inputs: Inputs) -> float:
    """Mantel test of gamma with 999 permutations of the classes; prints the p-value."""
    distances = structure.representative_distances(inputs.kinds[0])
    return structure.mantel_test(distances, inputs.tree_distance).p_value


MEASURES: dict[str, Callable[[Inputs], float]] = {
    "top-k accuracy, AHC, AHD@5, HP@5, levels": of_scores,
    "HS@1..250, AHS@250": of_retrieval,
    "calibration": of_confidence,
    "precision, recall, F1, every level": by_class,
    "P@1, RP, MAP@R, every level": of_neighbors,
    "gamma, mean and elementwise correlations": of_order,
    "trees, Robinson-Foulds, clades": of_trees,
    "variances, near-uniformity": of_spread,
    "Mantel test of gamma, 999 permutations": of_permutations,
}


def timed_rows(num_classes: int) -> Iterator[tuple]:
    """One row of the table for every measure, and one with the sums."""
    inputs = make_inputs(num_classes)
    total = np.zeros(2)
    for name, measure in MEASURES.items():
        seconds = np.empty(2)
        for run in range(2):
            start = time.perf_counter()
            value = measure(inputs)
            seconds[run] = time.perf_counter() - start
        if measure is of_permutations:
            yield ("all of the above", "", *(f"{part:.2f}" for part in total))
        yield (name, f"{value:.4f}", *(f"{part:.2f}" for part in seconds))
        total += seconds


def main() -> None:
    """Prints a table for each number of classes, or for the one given."""
    if len(sys.argv) > 1:
        header = (f"{sys.argv[1]} classes", "value", "first run, s", "second run, s")
        return timing.print_table(header, timed_rows(int(sys.argv[1])))
    for num_classes in NUM_CLASSES:
        command = [sys.executable, "-m", "benchmarks.class_measures", str(num_classes)]
        subprocess.run(command, check=True)
        print(flush=True)


if __name__ == "__main__":
    main()
