"""Neighbours and clusters of embeddings at every level of the tree."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.evaluation import queries
from hierjax.evaluation.queries import Embed, correct, mean_measures, with_average
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
        distance of the k-NN mistakes ``mistake_distance/hops`` and
        ``mistake_distance/lca_height``. NaN where undefined.
      per_query: the value of every query ``[Q]`` for the measures that are means over
        queries.
      neighbors: the number of neighbours used at each level.
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
    """Silhouette of every row ``[N]`` at every level, and averaged over levels."""
    values = {
        level: metrics.silhouette_samples(embeddings, labels[:, i], distance=distance)
        for i, level in enumerate(hierarchy.level_names)
    }
    return with_average(name, values)


def choose_neighbors(
    embed: Embed, data: Dataset, *, distance: str = "cosine"
) -> tuple[int, ...]:
    """Number of neighbours with the best validation accuracy, level by level."""
    gallery_rows, rows = data.rows("train"), data.rows("validation")
    limit = min(MAX_NEIGHBORS, len(gallery_rows))
    nearest, _ = metrics.nearest_neighbors(
        embed(rows), embed(gallery_rows), limit, distance=distance
    )
    neighbor_labels = data.labels[gallery_rows[nearest]]
    ks = np.arange(1, limit + 1)
    return tuple(
        int(
            metrics.choose_k(
                metrics.knn_accuracy(
                    neighbor_labels[:, :, level], data.labels[rows, level], ks
                ),
                ks,
            )
        )
        for level in range(data.hierarchy.num_levels)
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
      neighbors: number of neighbours a level; None: chosen on validation, or 1 where
        there is no validation split.
      distance: of neighbours and class means; silhouettes are always given for both.

    Returns:
      An `Evaluation`.
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
    nearest, distances = metrics.nearest_neighbors(
        queries, gallery, max(neighbors), distance=distance
    )
    predictions = np.empty_like(labels)
    confidence = np.empty(labels.shape)
    by_neighbors, by_means = {}, {}
    for level, name in enumerate(hierarchy.level_names):
        k = neighbors[level]
        votes = gallery_labels[nearest[:, :k], level]
        predicted = metrics.knn_predictions(votes, [k])[0]
        predictions[:, level] = predicted
        agreeing = (votes == predicted[:, None]) & (predicted >= 0)[:, None]
        confidence[:, level] = agreeing.mean(axis=1)
        by_neighbors[name] = correct(predicted, labels[:, level])
        means = metrics.nearest_mean_predictions(
            queries, gallery, gallery_labels[:, level], distance=distance
        )
        by_means[name] = correct(means, labels[:, level])
    per_query |= with_average("knn", by_neighbors)
    per_query |= with_average("nearest_mean", by_means)

    measures = mean_measures(per_query)
    for name, tree_distance in (
        ("hops", hierarchy.path_length()),
        ("lca_height", hierarchy.lca_height()),
    ):
        measures[f"mistake_distance/{name}"] = metrics.mistake_distance(
            predictions[:, -1], labels[:, -1], tree_distance
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
