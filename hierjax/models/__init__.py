"""Encoders: Flax Linen modules from inputs to embeddings."""

from hierjax.models.encoders import MLP, ConvNet, Linear

__all__ = ["MLP", "ConvNet", "Linear"]
