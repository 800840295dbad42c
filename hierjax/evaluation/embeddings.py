"""Neighbours and clusters of embeddings at every level of the tree."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.evaluation import queries
from hierjax.evaluation.names import ALL
from hierjax.evaluation.queries import Embed, mean_measures, with_average
from hierjax.hierarchy import Hierarchy
from hierjax.metrics import Interval

MAX_NEIGHBORS = 40
"""The number of neighbours is chosen from 1 to this, as in Nolasco & Stowell."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Measures of one split.

    Attributes:
      measures: name to value. For every level of the tree ``silhouette/<level>``,
        ``knn/<level>``, ``nearest_mean/<level>`` and ``silhouette_euclidean/<level>``,
        their averages over levels under ``<measure>/average``, and the mean tree
        distance of the k-NN mistakes ``mistake_hops/all`` and
        ``mistake_height/all``. NaN where undefined.
      per_query: the value of every query ``[Q]`` for the measures that are means over
        queries.
      neighbors: the number of neighbours used at each level; 0 where no label of the
        validation split could choose one, and ``knn/<level>`` is NaN.
      rows: ``[Q]`` rows of the data set that were the queries.
      units: ``[Q]`` their bootstrap units.
      predictions: int ``[Q, L]`` nodes that the neighbours vote for, level by level, so
        that a row need not be a path; -1 where no neighbour's label is known.
      confidence: float64 ``[Q, L]`` share of the neighbours that voted so, 0..1.
      nearest: ``[Q]`` the training row nearest to each query.
      nearest_distance: float32 ``[Q]`` how far away that is.
    """

    measures: dict[str, float]
    per_query: dict[str, np.ndarray]
    neighbors: tuple[int, ...]
    rows: np.ndarray
    units: np.ndarray
    predictions: np.ndarray
    confidence: np.ndarray
    nearest: np.ndarray
    nearest_distance: np.ndarray

    def intervals(self, *, num_resamples: int = 2000) -> dict[str, Interval]:
        """95 % bootstrap intervals over units of the per-query measures."""
        return queries.intervals(self.per_query, self.units, num_resamples)


def silhouettes(
    embeddings: np.ndarray,
    labels: np.ndarray,
    hierarchy: Hierarchy,
    *,
    distance: str = "cosine",
    name: str = "silhouette",
) -> dict[str, np.ndarray]:
    """Silhouette of every row at every level, and averaged over levels.

    Args:
      embeddings: ``[N, D]``.
      labels: ``[N, L]`` node ids, -1 unknown.
      hierarchy: names the levels.
      distance: ``'cosine'`` or ``'euclidean'``.
      name: of the measure.

    Returns:
      ``<name>/<level>`` and ``<name>/average`` to ``[N]``, NaN where undefined: also at
      a level where every row is alone in its node, which has no within.
    """
    values = metrics.silhouette_samples(embeddings, labels, distance=distance)
    for column, ids in zip(values.T, labels.T, strict=True):
        known = ids[ids >= 0]
        if len(np.unique(known)) == len(known):
            column[:] = np.nan
    return with_average(name, dict(zip(hierarchy.level_names, values.T, strict=True)))


def neighbor_accuracies(
    embed: Embed, data: Dataset, *, distance: str = "cosine"
) -> list[np.ndarray]:
    """Accuracy on validation by the number of neighbours, level by level.

    Args:
      embed: ``rows [N] -> embeddings [N, D]``.
      data: labels and splits; the training rows are the gallery.
      distance: ``'cosine'`` or ``'euclidean'``.

    Returns:
      A level ``[K]``, for 1 to K neighbours: `MAX_NEIGHBORS`, or the training rows
      there are; NaN where no validation row's label is known.
    """
    gallery_rows, rows = data.rows("train"), data.rows("validation")
    limit = min(MAX_NEIGHBORS, len(gallery_rows))
    nearest, _ = metrics.nearest_neighbors(
        embed(rows), embed(gallery_rows), limit, distance=distance
    )
    neighbor_labels, labels = data.labels[gallery_rows[nearest]], data.labels[rows]
    ks = np.arange(1, limit + 1)
    return [
        metrics.knn_accuracy(neighbor_labels[:, :, level], labels[:, level], ks)
        for level in range(data.hierarchy.num_levels)
    ]


def choose_neighbors(
    embed: Embed, data: Dataset, *, distance: str = "cosine"
) -> tuple[int, ...]:
    """Number of neighbours with the best validation accuracy, level by level.

    Args:
      embed: ``rows [N] -> embeddings [N, D]``.
      data: labels and splits; the training rows are the gallery.
      distance: ``'cosine'`` or ``'euclidean'``.

    Returns:
      One number a level, from 1 to `MAX_NEIGHBORS` and to the training rows there are;
      of equally good ones the smallest. 0 for a level of which no validation row's
      label is known: nothing chooses there.
    """
    labels = data.labels[data.rows("validation")]
    by_level = neighbor_accuracies(embed, data, distance=distance)
    return tuple(
        metrics.choose_k(accuracies, np.arange(1, len(accuracies) + 1))
        if (labels[:, level] >= 0).any()
        else 0
        for level, accuracies in enumerate(by_level)
    )


def evaluate(
    embed: Embed,
    data: Dataset,
    *,
    split: str = "test",
    neighbors: Sequence[int] | None = None,
    distance: str = "cosine",
) -> Evaluation:
    """Every measure of one split, with the training split as gallery.

    Args:
      embed: ``rows [N] -> embeddings [N, D]``; `Result.embed` after training, or
        ``lambda rows: inputs[rows]`` for the raw input.
      data: labels, tree and splits. Queries are ``split``, the gallery is the training
        split with its true labels.
      split: queries.
      neighbors: number of neighbours a level, 0 for none, which leaves its votes
        undefined; None: chosen on validation, or 1 where there is no validation split.
      distance: of neighbours and class means; silhouettes are always given for both.

    Returns:
      An `Evaluation`.

    Examples:
      >>> from hierjax.data import Dataset
      >>> tree = Hierarchy.from_paths([("bird", "owl"), ("bird", "duck"), ("cod",)])
      >>> labels = tree.labels_of(np.array([0, 1, 2, 0, 1, 2]))
      >>> rows = np.array([[1.0, 0], [1, 1], [-1, 0], [2, 0], [3, 2], [-3, 0]])
      >>> splits = {"train": np.arange(3), "test": np.arange(3, 6)}
      >>> data = Dataset("toy", rows, labels, tree, splits)
      >>> found = evaluate(lambda rows: data.features[rows], data)
      >>> found.measures["knn/level_0"], round(found.measures["knn/level_1"], 3)
      (1.0, 1.0)
    """
    hierarchy = data.hierarchy
    if neighbors is None:
        has_validation = "validation" in data.splits
        neighbors = (
            choose_neighbors(embed, data, distance=distance)
            if has_validation
            else (1,) * hierarchy.num_levels
        )
    neighbors = tuple(min(k, len(data.rows("train"))) for k in neighbors)
    gallery_rows, rows = data.rows("train"), data.rows(split)
    gallery, queries = embed(gallery_rows), embed(rows)
    gallery_labels, labels = data.labels[gallery_rows], data.labels[rows]

    per_query = silhouettes(queries, labels, hierarchy)
    per_query |= silhouettes(
        queries, labels, hierarchy, distance="euclidean", name="silhouette_euclidean"
    )
    found = metrics.find_neighbors(
        queries, gallery, max(1, *neighbors), distance=distance
    )
    nearest, distances = found.index, found.distance
    predictions = np.empty_like(labels)
    confidence = np.empty(labels.shape)
    by_neighbors, by_means = {}, {}
    for level, name in enumerate(hierarchy.level_names):
        k = neighbors[level]
        votes = gallery_labels[nearest[:, :k], level]
        if k:
            shares = metrics.vote_shares(found, gallery_labels[:, level], k)
            by_neighbors[name] = metrics.expected_correct(shares, labels[:, level])
            predicted = np.full(len(labels), -1)
            is_sure = shares.share == 1
            predicted[shares.query[is_sure]] = shares.label[is_sure]
            others = np.flatnonzero(predicted < 0)
            predicted[others] = metrics.knn_predictions(votes[others], [k])[0]
            agreeing = (votes == predicted[:, None]) & (predicted >= 0)[:, None]
            confidence[:, level] = agreeing.mean(axis=1)
        else:
            shares = None
            predicted, confidence[:, level] = -1, 0
            by_neighbors[name] = np.full(len(labels), np.nan)
        predictions[:, level] = predicted
        by_means[name] = metrics.expected_correct(
            metrics.nearest_mean_shares(
                queries, gallery, gallery_labels[:, level], distance=distance
            ),
            labels[:, level],
        )
    per_query |= with_average("knn", by_neighbors)
    per_query |= with_average("nearest_mean", by_means)

    measures = mean_measures(per_query)
    for name, tree_distance in (
        ("mistake_hops", hierarchy.path_length()),
        ("mistake_height", hierarchy.lca_height()),
    ):
        # Of the finest level, which the loop above ends with.
        measures[f"{name}/{ALL}"] = (
            float("nan")
            if shares is None
            else metrics.mistake_distance(
                shares.label,
                labels[shares.query, -1],
                tree_distance,
                weights=shares.share,
            )
        )
    return Evaluation(
        measures,
        per_query,
        neighbors,
        rows,
        data.units[rows],
        predictions,
        confidence,
        gallery_rows[nearest[:, 0]],
        distances[:, 0],
    )
