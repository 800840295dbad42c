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
from hierjax.metrics.dendrograms import dendrogram_purity
from hierjax.metrics.full_ranking import FullRanking, full_ranking
from hierjax.metrics.hops import hops
from hierjax.metrics.hyperbolicity import Hyperbolicity, delta_hyperbolicity
from hierjax.metrics.intervals import (
    Interval,
    bootstrap_interval,
    seed_interval,
    sign_flip_test,
    two_way_interval,
)
from hierjax.metrics.neighbors import Neighbors, find_neighbors, nearest_neighbors
from hierjax.metrics.paths import (
    full_path_correct,
    hierarchical_f1,
    path_consistent,
)
from hierjax.metrics.projection import (
    principal_coordinates,
    tsne_coordinates,
    umap_coordinates,
)
from hierjax.metrics.ranking import (
    correct_sets,
    expected_over_ties,
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
from hierjax.metrics.selective import SelectiveCurve, hierarchical_aurc
from hierjax.metrics.spectrum import effective_rank, explained_variance
from hierjax.metrics.structure import (
    elementwise_correlation,
    goodman_kruskal_gamma,
    mantel_test,
    mean_correlation,
    per_class_gamma,
    representative_distances,
)
from hierjax.metrics.votes import (
    VoteShares,
    expected_correct,
    nearest_mean_shares,
    vote_shares,
)

__all__ = [
    "FullRanking",
    "Hyperbolicity",
    "InferredTree",
    "Interval",
    "Neighbors",
    "SelectiveCurve",
    "VoteShares",
    "area_under_similarity",
    "bootstrap_interval",
    "calibration",
    "choose_k",
    "clade_recovery",
    "class_means",
    "cophenetic_correlation",
    "correct_sets",
    "delta_hyperbolicity",
    "dendrogram_purity",
    "effective_rank",
    "elementwise_correlation",
    "expected_correct",
    "expected_over_ties",
    "explained_variance",
    "find_neighbors",
    "full_path_correct",
    "full_ranking",
    "goodman_kruskal_gamma",
    "hierarchical_aurc",
    "hierarchical_cost",
    "hierarchical_distance_at_k",
    "hierarchical_f1",
    "hierarchical_precision",
    "hierarchical_similarity",
    "hops",
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
    "nearest_mean_shares",
    "nearest_neighbors",
    "path_consistent",
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
    "vote_shares",
]
