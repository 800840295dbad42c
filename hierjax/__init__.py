"""hierjax: representations that respect a class hierarchy, in JAX."""

import importlib

from hierjax.hierarchy import Hierarchy

# The one place: setup.cfg reads it without importing anything.
__version__ = "0.1.0"

_SUBMODULES = (
    "data",
    "decoding",
    "distances",
    "errors",
    "evaluation",
    "inference",
    "level_masks",
    "level_nodes",
    "losses",
    "metrics",
    "mixtures",
    "models",
    "objectives",
    "options",
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


def __dir__() -> list[str]:
    return sorted(__all__)
