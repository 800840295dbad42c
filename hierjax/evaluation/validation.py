"""The quick measures on validation that training selects on."""

import numpy as np

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.errors import UserError
from hierjax.evaluation.classes import Classifier
from hierjax.evaluation.embeddings import silhouettes
from hierjax.evaluation.queries import Embed, correct, mean, mean_measures, with_average
from hierjax.hierarchy import Hierarchy


def _selections(hierarchy: Hierarchy) -> list[str]:
    places = (*hierarchy.level_names, "average")
    return [f"{kind}/{place}" for kind in ("silhouette", "nn") for place in places]


def check_selection(
    selection: str, hierarchy: Hierarchy, *, has_scores: bool = False
) -> None:
    """Require the name of a validation measure.

    Args:
      selection: the name.
      hierarchy: gives the names of the levels.
      has_scores: whether what is trained has class scores, and so an accuracy.

    Raises:
      UserError: listing the names there are.
    """
    accepted = ["accuracy"] * has_scores + _selections(hierarchy)
    if selection not in accepted:
        raise UserError(f"selection {selection!r} is not one of {', '.join(accepted)}")


def validation_measures(
    embed: Embed,
    data: Dataset,
    selection: str,
    *,
    classifier: Classifier | None = None,
) -> dict[str, float]:
    """Measures of the validation split.

    With the selection 'accuracy': that of the classifier's own scores, and the
    Goodman-Kruskal gamma of its representatives. With any other: silhouettes, and
    nearest-neighbour accuracies, which need the training split embedded as well, only
    if ``selection`` asks for them.
    """
    rows = data.rows("validation")
    queries, labels = embed(rows), data.labels[rows]
    if selection == "accuracy":
        predicted = np.argmax(classifier.scores(queries), axis=1)
        learned = metrics.representative_distances(classifier.representatives)
        tree_distance = data.hierarchy.path_length()
        return {
            "accuracy": mean(correct(predicted, labels[:, -1])),
            "gamma": metrics.goodman_kruskal_gamma(learned, tree_distance),
        }
    values = silhouettes(queries, labels, data.hierarchy)
    if selection.startswith("nn/"):
        gallery_rows = data.rows("train")
        nearest, _ = metrics.nearest_neighbors(queries, embed(gallery_rows), 1)
        predicted = data.labels[gallery_rows[nearest[:, 0]]]
        values |= with_average(
            "nn",
            {
                level: correct(predicted[:, i], labels[:, i])
                for i, level in enumerate(data.hierarchy.level_names)
            },
        )
    return mean_measures(values)
