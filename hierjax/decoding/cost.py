"""The class of the least expected tree distance (CRM)."""

import numpy as np

from hierjax.decoding import inputs
from hierjax.errors import UserError


def expected_cost(probabilities: np.ndarray, tree_distance: np.ndarray) -> np.ndarray:
    """Expected tree distance between each class, were it the answer, and the truth.

    Karthik et al. 2021, "No Cost Likelihood Manipulation at Test Time" (CRM). Sorting
    classes by it ranks them for measures at k.

    Args:
      probabilities: ``[N, C]``.
      tree_distance: ``[C, C]``, of the answer (row) to the truth (column).

    Returns:
      float64 ``[N, C]``.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> decoding.expected_cost([[0.3, 0.3, 0.4]], tree.lca_height()).round(3)
      array([[1.1, 1.1, 1.2]])
    """
    probabilities = inputs.checked_probabilities(probabilities)
    tree_distance = np.asarray(tree_distance, np.float64)
    num_classes = probabilities.shape[1]
    if tree_distance.shape != (num_classes, num_classes):
        raise UserError(
            f"tree_distance must have shape ({num_classes}, {num_classes}), "
            f"found {tree_distance.shape}"
        )
    return probabilities @ tree_distance.T


def min_cost_classes(
    probabilities: np.ndarray, tree_distance: np.ndarray
) -> np.ndarray:
    """The class of the least expected tree distance to the truth, see `expected_cost`.

    Args:
      probabilities: ``[N, C]``.
      tree_distance: ``[C, C]``.

    Returns:
      Class ids ``[N]``.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> decoding.min_cost_classes([[0.3, 0.3, 0.4]], tree.lca_height())
      array([0])
    """
    return np.argmin(expected_cost(probabilities, tree_distance), axis=1)
