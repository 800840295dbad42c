"""Answers from class probabilities: which class, which node, how sure.

Everything here works on the probabilities of any model, after training. N rows, C
classes, L levels, M nodes of all levels as `hierjax.level_nodes` numbers them; the root
is above all and none of them. An answer at an inner node is a row of labels ``[N, L]``
with -1 below the node, as `Hierarchy.encode` gives them; -1 everywhere is the root,
which claims nothing and is always right. Of equally good answers the lower class id
comes first, then, unless a function says otherwise, the lower node id.
"""

from hierjax.decoding.climbing import calibrate_climb, climb_labels
from hierjax.decoding.cost import expected_cost, min_cost_classes
from hierjax.decoding.f_beta import f_beta_labels, f_beta_sets
from hierjax.decoding.information import calibrate_information, information_labels
from hierjax.decoding.inputs import node_probabilities
from hierjax.decoding.scaling import (
    VectorScaling,
    fit_temperature,
    fit_vector_scaling,
)
from hierjax.decoding.unseen import OUT_SCORES, unseen_probabilities

__all__ = [
    "OUT_SCORES",
    "VectorScaling",
    "calibrate_climb",
    "calibrate_information",
    "climb_labels",
    "expected_cost",
    "f_beta_labels",
    "f_beta_sets",
    "fit_temperature",
    "fit_vector_scaling",
    "information_labels",
    "min_cost_classes",
    "node_probabilities",
    "unseen_probabilities",
]
