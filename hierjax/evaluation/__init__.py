"""Measure embeddings against the label tree: exact values over whole splits."""

from hierjax.evaluation.classes import (
    ClassEvaluation,
    Classifier,
    class_means,
    evaluate_classes,
)
from hierjax.evaluation.embeddings import (
    MAX_NEIGHBORS,
    Evaluation,
    choose_neighbors,
    evaluate,
    silhouettes,
)
from hierjax.evaluation.queries import Embed
from hierjax.evaluation.validation import check_selection, validation_measures

__all__ = [
    "MAX_NEIGHBORS",
    "ClassEvaluation",
    "Classifier",
    "Embed",
    "Evaluation",
    "check_selection",
    "choose_neighbors",
    "class_means",
    "evaluate",
    "evaluate_classes",
    "silhouettes",
    "validation_measures",
]
