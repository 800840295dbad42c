"""Answers that may stop early: risk against coverage, over all thresholds."""

from typing import NamedTuple

import numpy as np

from hierjax.errors import UserError
from hierjax.level_nodes import level_nodes
from hierjax.metrics.ranking import checked_class_ids


class SelectiveCurve(NamedTuple):
    """Operating points, from full coverage down.

    Attributes:
      thresholds: ``[T]`` rising, from 0.
      coverage: ``[T]`` in [0, 1], mean over queries; falling.
      risk: ``[T]`` share of answers that do not hold the truth.
      area: between the curve and risk 0 over the coverage from 0 to 1; risk is taken as
        linear between points, and as that of the last point below its coverage.
    """

    thresholds: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray
    area: float


def hierarchical_aurc(
    probabilities: np.ndarray, class_ids: np.ndarray, ancestors: np.ndarray
) -> SelectiveCurve:
    r"""Risk against coverage of climbing until a node is probable enough, hAURC.

    Goren et al. 2024, "Hierarchical Selective Classification" (NeurIPS). An answer with
    n of C classes below it covers :math:`1 - \log n / \log C`; the root covers nothing
    and is never wrong. Climbing from the most probable class is as in
    `decoding.climb_labels`.

    Args:
      probabilities: ``[Q, C]``, at least 0; of equal ones the smaller id is climbed
        from.
      class_ids: ``[Q]``; -1 is unknown and such a query does not count.
      ancestors: int ``[C, L]``, `Hierarchy.ancestors`, C at least 2.

    Returns:
      The curve over all thresholds at which an answer changes.

    Raises:
      UserError: shapes that do not fit, or no query of known class.

    Examples:
      >>> from hierjax import Hierarchy
      >>> tree = Hierarchy.from_paths(
      ...     [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")]
      ... )
      >>> sure = np.array([[0.9, 0.1, 0.0, 0.0], [0.5, 0.4, 0.1, 0.0]])
      >>> curve = hierarchical_aurc(sure, np.array([0, 1]), tree.ancestors)
      >>> curve.coverage
      array([1.  , 0.75, 0.25, 0.  ])
      >>> curve.risk
      array([0.5, 0. , 0. , 0. ])
    """
    nodes = level_nodes(ancestors)
    probabilities = np.asarray(probabilities, np.float64)
    num_classes = nodes.num_classes
    if probabilities.ndim != 2 or probabilities.shape[1] != num_classes:
        raise UserError(
            f"probabilities must be [Q, {num_classes}], found {probabilities.shape}"
        )
    if num_classes < 2:
        raise UserError("coverage needs at least two classes, found 1")
    class_ids = checked_class_ids(
        "class_ids", class_ids, len(probabilities), num_classes
    )
    known = class_ids >= 0
    if not known.any():
        raise UserError("no query of known class")
    probabilities, class_ids = probabilities[known], class_ids[known]
    path = nodes.paths[probabilities.argmax(axis=1)][:, ::-1]
    sums = np.stack([nodes.sum_of_classes(row) for row in probabilities])
    confidence = np.take_along_axis(sums, path, axis=1)
    leaves = nodes.sum_of_classes(np.ones(num_classes))[path]
    covers = np.clip(1 - np.log(leaves) / np.log(num_classes), 0, 1)
    wrong = path != nodes.paths[class_ids][:, ::-1]
    # Above the last node is the root: sure, right, and nothing covered.
    ends = np.zeros((len(path), 1))
    confidence = np.hstack([confidence, ends + np.inf])
    covers, wrong = np.hstack([covers, ends]), np.hstack([wrong, ends > 0])
    # What is climbed past is never looked at again.
    confidence = np.maximum.accumulate(confidence, axis=1)
    thresholds = np.unique(np.append(np.nextafter(confidence[:, :-1], np.inf), 0.0))
    # The first node whose confidence reaches the threshold.
    answers = np.stack(
        [np.searchsorted(row, thresholds, side="left") for row in confidence]
    )
    coverage = np.take_along_axis(covers, answers, axis=1).mean(axis=0)
    risk = np.take_along_axis(wrong, answers, axis=1).mean(axis=0)
    last = risk[-1] * coverage[-1]
    area = float(-np.trapezoid(risk, coverage) + last)
    return SelectiveCurve(thresholds, coverage, risk, area)
