"""Metrics: exact over a whole set, numpy arrays in and out, JAX inside."""

from hierjax.metrics.classification import (
    choose_k,
    knn_accuracy,
    knn_predictions,
    mistake_distance,
    nearest_mean_predictions,
    nearest_neighbors,
)
from hierjax.metrics.clustering import silhouette_samples, silhouette_score
from hierjax.metrics.intervals import (
    Interval,
    bootstrap_interval,
    seed_interval,
    two_way_interval,
)

__all__ = [
    "Interval",
    "bootstrap_interval",
    "choose_k",
    "knn_accuracy",
    "knn_predictions",
    "mistake_distance",
    "nearest_mean_predictions",
    "nearest_neighbors",
    "seed_interval",
    "silhouette_samples",
    "silhouette_score",
    "two_way_interval",
]
