"""Accuracy and pairwise distances."""

from dassl.metrics.accuracy import compute_accuracy
from dassl.metrics.distance import (
    compute_distance_matrix,
    cosine_distance,
    euclidean_squared_distance,
)

__all__ = [
    "compute_accuracy",
    "compute_distance_matrix",
    "cosine_distance",
    "euclidean_squared_distance",
]
