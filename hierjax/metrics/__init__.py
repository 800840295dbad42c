"""Metrics: exact over a whole set at any size, numpy arrays in and out."""

from hierjax.metrics.calibration import calibration, point_biserial
from hierjax.metrics.class_trees import (
    InferredTree,
    clade_recovery,
    cophenetic_correlation,
    infer_tree,
    robinson_foulds,
)
from hierjax.metrics.classification import (
    choose_k,
    knn_accuracy,
    knn_predictions,
    mistake_distance,
    nearest_mean_predictions,
)
from hierjax.metrics.clustering import silhouette_samples, silhouette_score
from hierjax.metrics.intervals import (
    Interval,
    bootstrap_interval,
    seed_interval,
    sign_flip_test,
    two_way_interval,
)
from hierjax.metrics.neighbors import nearest_neighbors
from hierjax.metrics.projection import (
    principal_coordinates,
    tsne_coordinates,
    umap_coordinates,
)
from hierjax.metrics.ranking import (
    correct_sets,
    hierarchical_cost,
    hierarchical_distance_at_k,
    hierarchical_precision,
    ideal_distance_at_k,
    level_correct,
    precision_recall_f1,
    top_classes,
    top_k_correct,
)
from hierjax.metrics.representatives import (
    mean_angle,
    near_uniformity,
    representative_retrieval,
    variance_measures,
)
from hierjax.metrics.retrieval import (
    area_under_similarity,
    hierarchical_similarity,
    similarity_at_k,
)
from hierjax.metrics.rows import class_means, unit_rows
from hierjax.metrics.spectrum import effective_rank, explained_variance
from hierjax.metrics.structure import (
    elementwise_correlation,
    goodman_kruskal_gamma,
    mantel_test,
    mean_correlation,
    per_class_gamma,
    representative_distances,
)

__all__ = [
    "InferredTree",
    "Interval",
    "area_under_similarity",
    "bootstrap_interval",
    "calibration",
    "choose_k",
    "clade_recovery",
    "class_means",
    "cophenetic_correlation",
    "correct_sets",
    "effective_rank",
    "elementwise_correlation",
    "explained_variance",
    "goodman_kruskal_gamma",
    "hierarchical_cost",
    "hierarchical_distance_at_k",
    "hierarchical_precision",
    "hierarchical_similarity",
    "ideal_distance_at_k",
    "infer_tree",
    "knn_accuracy",
    "knn_predictions",
    "level_correct",
    "mantel_test",
    "mean_angle",
    "mean_correlation",
    "mistake_distance",
    "near_uniformity",
    "nearest_mean_predictions",
    "nearest_neighbors",
    "per_class_gamma",
    "point_biserial",
    "precision_recall_f1",
    "principal_coordinates",
    "representative_distances",
    "representative_retrieval",
    "robinson_foulds",
    "seed_interval",
    "sign_flip_test",
    "silhouette_samples",
    "silhouette_score",
    "similarity_at_k",
    "top_classes",
    "top_k_correct",
    "tsne_coordinates",
    "two_way_interval",
    "umap_coordinates",
    "unit_rows",
    "variance_measures",
]
