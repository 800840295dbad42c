"""Measure embeddings against the label tree: exact values over whole splits."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.metrics import Interval

MAX_NEIGHBORS = 40
"""The number of neighbours is chosen from 1 to this, as in Nolasco & Stowell."""

Embed = Callable[[np.ndarray], np.ndarray]


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
    """

    measures: dict[str, float]
    per_query: dict[str, np.ndarray]
    neighbors: tuple[int, ...]
    rows: np.ndarray
    units: np.ndarray

    def intervals(self, *, num_resamples: int = 2000) -> dict[str, Interval]:
        """95 % bootstrap intervals over units of the per-query measures."""
        return {
            name: metrics.bootstrap_interval(
                values, units=self.units, num_resamples=num_resamples
            )
            for name, values in self.per_query.items()
        }


def _selections(hierarchy: Hierarchy) -> list[str]:
    places = (*hierarchy.level_names, "average")
    return [f"{kind}/{place}" for kind in ("silhouette", "nn") for place in places]


def check_selection(selection: str, hierarchy: Hierarchy) -> None:
    """Require the name of a validation measure.

    Raises:
      UserError: listing the names there are.
    """
    if selection not in _selections(hierarchy):
        raise UserError(
            f"selection {selection!r} is not one of {', '.join(_selections(hierarchy))}"
        )


def _with_average(name: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Prefix the levels with the measure's name and add the mean over levels."""
    result = {f"{name}/{level}": value for level, value in values.items()}
    result[f"{name}/average"] = _mean_of_known(np.stack(list(values.values())))
    return result


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    totals = np.where(known, values, 0.0).sum(0)
    return np.where(known.any(0), totals / np.maximum(known.sum(0), 1), np.nan)


def _mean(values: np.ndarray) -> float:
    """Mean without NaN, NaN if nothing is left."""
    return float(_mean_of_known(values))


def _measures(per_query: dict[str, np.ndarray]) -> dict[str, float]:
    """Means over queries; an average over levels is the mean of the levels' means.

    Where labels are incomplete the levels have different numbers of queries, and
    averaging query by query would weigh the levels by them.
    """
    measures = {name: _mean(values) for name, values in per_query.items()}
    for average in [name for name in measures if name.endswith("/average")]:
        prefix = average.removesuffix("average")
        levels = [k for k in measures if k.startswith(prefix) and k != average]
        measures[average] = _mean(np.array([measures[level] for level in levels]))
    return measures


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
    return _with_average(name, values)


def _correct(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """1 where right, 0 where wrong, NaN where the truth is unknown."""
    return np.where(true < 0, np.nan, (predicted == true).astype(np.float64))


def validation_measures(
    embed: Embed, data: Dataset, selection: str
) -> dict[str, float]:
    """The quick measures that training selects on, over the validation split.

    Silhouettes always; nearest-neighbour accuracies, which need the training split
    embedded as well, only if ``selection`` asks for them.
    """
    rows = data.rows("validation")
    queries, labels = embed(rows), data.labels[rows]
    values = silhouettes(queries, labels, data.hierarchy)
    if selection.startswith("nn/"):
        gallery_rows = data.rows("train")
        nearest, _ = metrics.nearest_neighbors(queries, embed(gallery_rows), 1)
        predicted = data.labels[gallery_rows[nearest[:, 0]]]
        values |= _with_average(
            "nn",
            {
                level: _correct(predicted[:, i], labels[:, i])
                for i, level in enumerate(data.hierarchy.level_names)
            },
        )
    return _measures(values)


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
    nearest, _ = metrics.nearest_neighbors(
        queries, gallery, max(neighbors), distance=distance
    )
    by_neighbors, by_means = {}, {}
    for level, name in enumerate(hierarchy.level_names):
        k = neighbors[level]
        votes = gallery_labels[nearest[:, :k], level]
        predicted = metrics.knn_predictions(votes, [k])[0]
        by_neighbors[name] = _correct(predicted, labels[:, level])
        means = metrics.nearest_mean_predictions(
            queries, gallery, gallery_labels[:, level], distance=distance
        )
        by_means[name] = _correct(means, labels[:, level])
    per_query |= _with_average("knn", by_neighbors)
    per_query |= _with_average("nearest_mean", by_means)

    measures = _measures(per_query)
    # `predicted` is that of the last level: the classes.
    for name, tree_distance in (
        ("hops", hierarchy.path_length()),
        ("lca_height", hierarchy.lca_height()),
    ):
        measures[f"mistake_distance/{name}"] = metrics.mistake_distance(
            predicted, labels[:, -1], tree_distance
        )
    return Evaluation(measures, per_query, neighbors, rows, data.units[rows])
