"""How probabilities of classes become one answer, a node of the tree."""

from collections.abc import Callable

import numpy as np

from hierjax import decoding
from hierjax.hierarchy import Hierarchy


def _min_cost(
    probabilities: np.ndarray, hierarchy: Hierarchy, threshold: float
) -> np.ndarray:
    del threshold
    hops = hierarchy.path_length()
    return hierarchy.labels_of(decoding.min_cost_classes(probabilities, hops))


def _f1(
    probabilities: np.ndarray, hierarchy: Hierarchy, threshold: float
) -> np.ndarray:
    del threshold
    return decoding.f_beta_labels(probabilities, hierarchy)


def _climb(
    probabilities: np.ndarray, hierarchy: Hierarchy, threshold: float
) -> np.ndarray:
    return decoding.climb_labels(probabilities, hierarchy, threshold=threshold)


BACK_OFF = "back_off"
DECODERS: dict[str, Callable[[np.ndarray, Hierarchy, float], np.ndarray]] = {
    "climb": _climb,
    "f1": _f1,
    "min_cost": _min_cost,
}
"""``(probabilities [N, C], hierarchy, threshold) -> labels [N, L]`` by name."""
