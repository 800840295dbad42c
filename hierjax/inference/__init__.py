"""Trained models on new data: embed, name the nearest nodes, save, load, export."""

from hierjax.inference.exported import (
    PLATFORMS,
    export,
    read_exported,
    write_exported,
)
from hierjax.inference.model import Predictions, TrainedModel
from hierjax.inference.storage import load, save

__all__ = [
    "PLATFORMS",
    "Predictions",
    "TrainedModel",
    "export",
    "load",
    "read_exported",
    "save",
    "write_exported",
]
