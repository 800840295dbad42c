"""What class representatives and class scores know of the tree.

The measures of Kim et al. 2023, "Inspecting class hierarchies in classification-based
metric learning models" (arXiv 2301.11065), for two kinds of representatives: the
*proxies* a method learned (W in the paper), and the *means* of the training embeddings
of each class.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.evaluation import queries
from hierjax.evaluation.names import ALL
from hierjax.evaluation.queries import Embed, mean, mean_measures
from hierjax.hierarchy import Hierarchy
from hierjax.metrics import Interval

TOP_K = 5
"""Classes that a ranking is judged by; fewer where fewer have a representative."""
_MANY_CLASSES = 1000
SIMILARITY_RANKS = (1, 50, 100, 150, 200, 250)
"""Ranks at which the hierarchical similarity of neighbours is reported."""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Class scores and representatives of a trained objective.

    Attributes:
      scores: ``(embeddings [B, D], representatives [C, D] or None) -> [B, C]``; None
        stands for the method's own.
      representatives: ``[C, D]``.
    """

    scores: Callable[..., np.ndarray]
    representatives: np.ndarray


@dataclasses.dataclass(frozen=True)
class ClassEvaluation:
    """Measures of one split.

    Attributes:
      measures: name to value, NaN where undefined, named as `evaluation.names` says.
        The kind is 'proxies' or 'means'; ``similarity@<k>/all``,
        ``similarity_area/all`` and ``variance_.../all`` are of the embeddings alone.
      per_query: the value of every query ``[Q]`` for measures that are means over
        queries, expected ones where scores tie. ``tied/all/<kind>``, only where that
        happens, says whether several classes share the best score: precision, recall
        and F1 take the first of them.
      per_class: ``gamma/all/<kind>``: the value of every class ``[C]``.
      representatives: kind to ``[C, D]``; NaN rows for classes without training rows.
      rows: ``[Q]`` rows of the data set that were the queries.
      untrained_classes: names of classes without a training row.
      untested_classes: names of classes without a query.
    """

    measures: dict[str, float]
    per_query: dict[str, np.ndarray]
    per_class: dict[str, np.ndarray]
    representatives: dict[str, np.ndarray]
    rows: np.ndarray
    units: np.ndarray
    untrained_classes: tuple[str, ...]
    untested_classes: tuple[str, ...]

    def intervals(self, *, num_resamples: int = 2000) -> dict[str, Interval]:
        """95 % bootstrap intervals over units of the per-query measures."""
        return queries.intervals(self.per_query, self.units, num_resamples)


def mean_directions(
    embeddings: np.ndarray, class_ids: np.ndarray, num_classes: int
) -> np.ndarray:
    """Direction of the mean unit embedding of every class.

    Args:
      embeddings: ``[N, D]``.
      class_ids: ``[N]``, -1 for unknown.
      num_classes: C.

    Returns:
      float64 ``[C, D]`` unit rows, NaN for a class without a row or whose rows cancel
      out. (The published code puts a random vector there.)

    Examples:
      >>> rows = np.array([[3.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
      >>> mean_directions(rows, np.array([0, 0, 2]), 3).round(3).tolist()
      [[0.707, 0.707], [nan, nan], [1.0, 0.0]]
    """
    known = class_ids >= 0
    units = metrics.unit_rows(embeddings[known])
    means = metrics.class_means(units, class_ids[known], num_classes)
    return np.where(means.any(axis=1)[:, None], metrics.unit_rows(means), np.nan)


def evaluate_classes(
    embed: Embed,
    data: Dataset,
    *,
    classifier: Classifier | None = None,
    split: str = "test",
    official: bool = False,
    num_permutations: int | None = None,
) -> ClassEvaluation:
    """Every measure of the class-hierarchies paper on one split.

    Args:
      embed: ``rows [N] -> embeddings [N, D]``.
      data: labels, tree and splits. Class means come from the training split with its
        true labels, also where training did not see them.
      classifier: what the method learned; None where there is none (raw inputs,
        untrained networks): only class means are measured then, and scores are cosines.
      split: queries.
      official: the published behaviour of the measures that have another one.
      num_permutations: of the Mantel test; 0 leaves it out; None: 199, or 49 of more
        than 1,000 classes, of which each takes a sixth of a second.

    Returns:
      A `ClassEvaluation`.
    """
    hierarchy = data.hierarchy
    if num_permutations is None:
        num_permutations = 49 if hierarchy.num_classes > _MANY_CLASSES else 199
    train_rows, rows = data.rows("train"), data.rows(split)
    train_ids, labels = data.labels[train_rows, -1], data.labels[rows]
    ids = labels[:, -1]
    queries = embed(rows)
    train_embeddings = embed(train_rows)
    kinds = {
        "means": mean_directions(train_embeddings, train_ids, hierarchy.num_classes)
    }
    scores = {"means": _scores_by(kinds["means"], queries, classifier)}
    if classifier is not None:
        own = np.asarray(classifier.representatives, np.float64)
        kinds = {"proxies": own, **kinds}
        scores = {"proxies": np.asarray(classifier.scores(queries)), **scores}

    per_query, measures, per_class = {}, {}, {}
    for kind, representatives in kinds.items():
        found = _structure(representatives, hierarchy, official, num_permutations)
        queried = {}
        if np.isfinite(scores[kind]).any():
            queried = _query_measures(scores[kind], labels, hierarchy, official)
            predicted = np.argmax(scores[kind], axis=1)
            found |= _f1_by_level(predicted, labels, hierarchy, official)
            if classifier is not None:
                is_correct = queried[f"accuracy/{hierarchy.level_names[-1]}"]
                found |= _calibration(scores[kind], is_correct, official)
        per_query |= {f"{name}/{kind}": values for name, values in queried.items()}
        measures |= {f"{name}/{kind}": value for name, value in found.items()}
        per_class[f"gamma/{ALL}/{kind}"] = metrics.per_class_gamma(
            metrics.representative_distances(representatives), hierarchy.path_length()
        )
    per_query |= _neighbor_similarity(queries, ids, hierarchy, official)
    variances = metrics.variance_measures(
        train_embeddings, train_ids, hierarchy.num_classes, official=official
    )
    measures |= {f"variance_{name}/{ALL}": value for name, value in variances.items()}
    if classifier is not None:
        measures[f"angle_to_means/{ALL}/proxies"] = metrics.mean_angle(
            kinds["proxies"], kinds["means"]
        )
    return ClassEvaluation(
        measures=mean_measures(per_query) | measures,
        per_query=per_query,
        per_class=per_class,
        representatives=kinds,
        rows=rows,
        units=data.units[rows],
        untrained_classes=_absent(train_ids, hierarchy),
        untested_classes=_absent(ids, hierarchy),
    )


def _absent(class_ids: np.ndarray, hierarchy: Hierarchy) -> tuple[str, ...]:
    counts = np.bincount(class_ids[class_ids >= 0], minlength=hierarchy.num_classes)
    return tuple(hierarchy.class_names[c] for c in np.flatnonzero(counts == 0))


def _scores_by(
    means: np.ndarray, queries: np.ndarray, classifier: Classifier | None
) -> np.ndarray:
    """Scores with class means; a class without one comes last."""
    known = ~np.isnan(means).any(axis=1)
    filled = np.where(known[:, None], means, 0.0)
    if classifier is None:
        scores = metrics.unit_rows(queries) @ filled.T
    else:
        scores = classifier.scores(queries, filled.astype(np.float32))
    return np.where(known[None, :], scores, -np.inf)


def _query_measures(
    scores: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy, official: bool
) -> dict[str, np.ndarray]:
    """Measures of every query's ranking of the classes that have a score.

    At a coarse level all queries count whose node is known there.
    """
    ids = labels[:, -1]
    tree_distance = hierarchy.path_length()
    num_scored = int(np.isfinite(scores).any(axis=0).sum())
    ranked = min(TOP_K, num_scored)
    # The published sets need two classes more than are ranked.
    has_sets = not official or ranked + 2 <= hierarchy.num_classes
    finest = hierarchy.level_names[-1]

    def distance(top, ids):
        return metrics.hierarchical_distance_at_k(top, ids, tree_distance)

    def precision(top, ids):
        return metrics.hierarchical_precision(
            top, ids, tree_distance, official=official
        )

    def expected(measure, k):
        return metrics.expected_over_ties(measure, scores, ids, k)

    best = scores == scores.max(axis=1, keepdims=True)
    share = best / np.count_nonzero(best, axis=1)[:, None]

    def at(level):
        same = hierarchy.ancestors[None, :, level] == labels[:, level, None]
        return np.where(labels[:, level] < 0, np.nan, (share * same).sum(axis=1))

    found = {
        f"accuracy/{finest}": expected(metrics.top_k_correct, 1),
        f"accuracy@{TOP_K}/{finest}": expected(metrics.top_k_correct, ranked),
        **{
            f"accuracy/{level}": at(i)
            for i, level in enumerate(hierarchy.level_names[:-1])
        },
        f"cost/{ALL}": expected(distance, 1),
        f"hierarchical_distance@{TOP_K}/{ALL}": expected(distance, ranked),
    }
    if has_sets:
        found[f"hierarchical_precision@{TOP_K}/{ALL}"] = expected(precision, ranked)
    # Precision, recall and F1 have no simple expectation: they take the first class.
    is_tied = np.count_nonzero(best, axis=1) > 1
    if is_tied[ids >= 0].any():
        found[f"tied/{ALL}"] = np.where(ids < 0, np.nan, is_tied)
    return found


def _f1_by_level(
    predicted: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy, official: bool
) -> dict[str, float]:
    """Means over the nodes of each level that have a precision, recall or F1."""
    found = {}
    for level, name in enumerate(hierarchy.level_names):
        known = labels[:, level] >= 0
        nodes = hierarchy.ancestors[:, level]
        by_node = metrics.precision_recall_f1(
            nodes[predicted[known]],
            labels[known, level],
            hierarchy.nodes_per_level[level],
            official=official,
        )
        for measure, values in zip(("precision", "recall", "f1"), by_node, strict=True):
            found[f"macro_{measure}/{name}"] = mean(values)
    return found


def _neighbor_similarity(
    queries: np.ndarray, ids: np.ndarray, hierarchy: Hierarchy, official: bool
) -> dict[str, np.ndarray]:
    """Similarity of the nearest other queries, at the ranks there are."""
    most = min(SIMILARITY_RANKS[-1], int(np.sum(ids >= 0)) - 1)
    if most < 2:
        return {}
    similarity = metrics.hierarchical_similarity(hierarchy.path_length())
    values = metrics.similarity_at_k(
        queries, ids, similarity, max_k=most, official=official
    )
    by_rank = {
        f"similarity@{k}/{ALL}": values[:, k - 1] for k in SIMILARITY_RANKS if k <= most
    }
    area = metrics.area_under_similarity(values)
    return by_rank | {f"similarity_area/{ALL}": area}


def _calibration(
    scores: np.ndarray, is_correct: np.ndarray, official: bool
) -> dict[str, float]:
    confidence = scipy.special.softmax(scores.astype(np.float64), axis=1).max(axis=1)
    known = ~np.isnan(is_correct)
    found = metrics.calibration(confidence[known], is_correct[known], official=official)
    return {f"calibration_{name}/{ALL}": value for name, value in found.items()} | {
        f"calibration_point_biserial/{ALL}": metrics.point_biserial(
            confidence[known], is_correct[known]
        )
    }


def _structure(
    representatives: np.ndarray,
    hierarchy: Hierarchy,
    official: bool,
    num_permutations: int,
) -> dict[str, float]:
    """How the distances between representatives agree with the tree."""
    tree_distance = hierarchy.path_length()
    learned = metrics.representative_distances(representatives)
    found = {"gamma": metrics.goodman_kruskal_gamma(learned, tree_distance)}
    for method in ("spearman", "pearson", "kendall"):
        found[method] = metrics.mean_correlation(
            learned, tree_distance, method=method, official=official
        )
        found[f"elementwise_{method}"] = metrics.elementwise_correlation(
            learned, tree_distance, method=method
        )
    found["spearman_with_self"] = metrics.mean_correlation(
        learned, tree_distance, official=True
    )
    if num_permutations:
        _, found["mantel_p"] = metrics.mantel_test(
            learned, tree_distance, num_permutations=num_permutations
        )
    found |= metrics.near_uniformity(representatives)
    found = {f"{name}/{ALL}": value for name, value in found.items()}
    for level, name in enumerate(hierarchy.level_names):
        retrieved = metrics.representative_retrieval(
            representatives, hierarchy.ancestors[:, level]
        )
        found |= {f"{measure}/{name}": value for measure, value in retrieved.items()}
    return found | _trees(learned, hierarchy, official)


def _trees(
    learned: np.ndarray, hierarchy: Hierarchy, official: bool
) -> dict[str, float]:
    """Agreement of the inferred tree with the true one, over classes that have both."""
    absent = np.isnan(learned).all(axis=1)
    if np.sum(~absent) < 3:
        return {}
    tree_distance = hierarchy.path_length().astype(np.float64)
    tree_distance[absent] = tree_distance[:, absent] = np.nan
    inferred = metrics.infer_tree(learned, official=official)
    true = metrics.infer_tree(tree_distance, official=official)
    different, most = metrics.robinson_foulds(inferred, true)
    recovered = metrics.clade_recovery(inferred, hierarchy)
    return {
        f"robinson_foulds/{ALL}": different / most if most else float("nan"),
        f"cophenetic_fit/{ALL}": metrics.cophenetic_correlation(inferred, learned),
        f"cophenetic_tree/{ALL}": metrics.cophenetic_correlation(
            inferred, tree_distance
        ),
        f"clades/{ALL}": recovered["overall"],
        **{
            f"clades/{level}": float(share)
            for level, share in zip(
                hierarchy.level_names[:-1], recovered["by_level"][:-1], strict=True
            )
        },
    }
