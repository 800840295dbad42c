"""hierjax: representations that respect a class hierarchy, in JAX."""

import importlib

from hierjax.hierarchy import Hierarchy

__version__ = "0.1.0"

_SUBMODULES = (
    "data",
    "distances",
    "evaluation",
    "inference",
    "level_masks",
    "losses",
    "metrics",
    "mixtures",
    "models",
    "objectives",
    "plotting",
    "proxies",
    "training",
)

__all__ = ["Hierarchy", "load", *_SUBMODULES]


def __getattr__(name: str):
    """Import a part on first use; Orbax, scikit-learn and matplotlib load slowly."""
    if name == "load":
        return importlib.import_module("hierjax.inference").load
    if name in _SUBMODULES:
        return importlib.import_module(f"hierjax.{name}")
    raise AttributeError(f"module 'hierjax' has no attribute {name!r}")
