"""Measure embeddings against the label tree: exact values over whole splits."""

from hierjax.evaluation.baselines import (
    LinearBaseline,
    choose_input,
    linear_baseline,
    principal_inputs,
)
from hierjax.evaluation.classes import (
    ClassEvaluation,
    Classifier,
    evaluate_classes,
    mean_directions,
)
from hierjax.evaluation.collapse import Spread, spread_of, why_collapsed
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
    count_by_shared_level,
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
    "LinearBaseline",
    "Spread",
    "Targets",
    "check_selection",
    "choose_input",
    "choose_neighbors",
    "count_by_shared_level",
    "evaluate",
    "evaluate_classes",
    "intervals",
    "largest_confusions",
    "learnable",
    "linear_baseline",
    "most_frequent",
    "mean_directions",
    "nearest_correct",
    "principal_inputs",
    "remember",
    "silhouettes",
    "spread_of",
    "targets_of",
    "validation_measures",
    "values_of",
    "why_collapsed",
    "worst_mistakes",
]
