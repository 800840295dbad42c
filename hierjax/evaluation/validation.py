"""The quick measures on validation that training selects on."""

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.errors import UserError
from hierjax.evaluation.classes import Classifier
from hierjax.evaluation.embeddings import silhouettes
from hierjax.evaluation.names import ALL
from hierjax.evaluation.queries import Embed, mean, mean_measures, with_average
from hierjax.evaluation.targets import nearest_correct
from hierjax.hierarchy import Hierarchy


def _selections(hierarchy: Hierarchy) -> list[str]:
    places = (*hierarchy.level_names, "average")
    return [f"{kind}/{place}" for kind in ("silhouette", "nn") for place in places]


def check_selection(
    selection: str, hierarchy: Hierarchy, *, has_scores: bool = False
) -> str:
    """The validation measure that a setting names.

    Args:
      selection: the name; 'accuracy' is short for that of a classifier's own scores at
        the finest level.
      hierarchy: gives the names of the levels.
      has_scores: whether what is trained has class scores, and so an accuracy.

    Returns:
      The name of the measure in `validation_measures`.

    Raises:
      UserError: listing the names there are.

    Examples:
      >>> tree = Hierarchy.from_paths([("bird", "owl"), ("cod",)])
      >>> check_selection("nn/average", tree)
      'nn/average'
      >>> check_selection("accuracy", tree, has_scores=True)
      'accuracy/level_1/proxies'
      >>> check_selection("accuracy", tree)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      hierjax.errors.UserError: selection 'accuracy' is not one of silhouette/...
    """
    accepted = ["accuracy"] * has_scores + _selections(hierarchy)
    if selection not in accepted:
        raise UserError(f"selection {selection!r} is not one of {', '.join(accepted)}")
    if selection == "accuracy":
        return f"accuracy/{hierarchy.level_names[-1]}/proxies"
    return selection


def validation_measures(
    embed: Embed,
    data: Dataset,
    *selections: str,
    classifier: Classifier | None = None,
) -> dict[str, float]:
    """Measures of the validation split.

    Args:
      embed: ``rows [N] -> embeddings [N, D]``; called once a split.
      data: labels, tree and splits.
      *selections: names that `check_selection` accepts.
      classifier: what the selection 'accuracy' needs.

    Returns:
      Name to value, NaN where undefined. For the selection 'accuracy':
      ``accuracy/<finest>/proxies`` of the classifier's own scores, and the
      Goodman-Kruskal ``gamma/all/proxies`` of its representatives. For any
      other ``silhouette/<level>`` and its average, and
      ``nn/<level>``, nearest-neighbour accuracies, which need the training split
      embedded as well, only if a selection asks for them.
    """
    rows = data.rows("validation")
    queries, labels = embed(rows), data.labels[rows]
    found = {}
    if "accuracy" in selections:
        is_correct = metrics.expected_over_ties(
            metrics.top_k_correct, classifier.scores(queries), labels[:, -1], 1
        )
        learned = metrics.representative_distances(classifier.representatives)
        tree_distance = data.hierarchy.path_length()
        found = {
            f"accuracy/{data.hierarchy.level_names[-1]}/proxies": mean(is_correct),
            f"gamma/{ALL}/proxies": metrics.goodman_kruskal_gamma(
                learned, tree_distance
            ),
        }
    if not set(selections) - {"accuracy"}:
        return found
    values = silhouettes(queries, labels, data.hierarchy)
    if any(selection.startswith("nn/") for selection in selections):
        gallery_rows = data.rows("train")
        is_correct = nearest_correct(
            queries, embed(gallery_rows), labels, data.labels[gallery_rows]
        )
        levels = zip(data.hierarchy.level_names, is_correct.T, strict=True)
        values |= with_average("nn", dict(levels))
    return found | mean_measures(values)
