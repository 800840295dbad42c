"""Data sets as arrays with a label tree, ways to change them, and batch samplers."""

from hierjax.data import digits, gm_notes, npz, psb, transforms, tut2016
from hierjax.data.dataset import Dataset
from hierjax.data.npz import read_hierarchy
from hierjax.data.registry import LOADERS, load
from hierjax.data.samplers import (
    BalancedSampler,
    Sampler,
    TupleSampler,
    UniformSampler,
    make_sampler,
)

__all__ = [
    "LOADERS",
    "BalancedSampler",
    "Dataset",
    "Sampler",
    "TupleSampler",
    "UniformSampler",
    "digits",
    "gm_notes",
    "load",
    "make_sampler",
    "npz",
    "psb",
    "read_hierarchy",
    "transforms",
    "tut2016",
]
