"""Measure embeddings against the label tree: exact values over whole splits."""

from hierjax.evaluation.classes import (
    ClassEvaluation,
    Classifier,
    evaluate_classes,
    mean_directions,
)
from hierjax.evaluation.embeddings import (
    MAX_NEIGHBORS,
    Evaluation,
    choose_neighbors,
    evaluate,
    silhouettes,
)
from hierjax.evaluation.frequencies import most_frequent
from hierjax.evaluation.mistakes import (
    Confusion,
    count_by_height,
    largest_confusions,
    worst_mistakes,
)
from hierjax.evaluation.queries import Embed, intervals, remember, values_of
from hierjax.evaluation.targets import (
    Targets,
    learnable,
    nearest_correct,
    targets_of,
)
from hierjax.evaluation.validation import check_selection, validation_measures

__all__ = [
    "MAX_NEIGHBORS",
    "ClassEvaluation",
    "Classifier",
    "Confusion",
    "Embed",
    "Evaluation",
    "Targets",
    "check_selection",
    "choose_neighbors",
    "count_by_height",
    "evaluate",
    "evaluate_classes",
    "intervals",
    "largest_confusions",
    "learnable",
    "most_frequent",
    "mean_directions",
    "nearest_correct",
    "remember",
    "silhouettes",
    "targets_of",
    "validation_measures",
    "values_of",
    "worst_mistakes",
]
