"""Data sets as arrays with a label tree, ways to change them, and batch samplers."""

from hierjax.data import (
    cifar100,
    digits,
    gm_notes,
    hierarchical_mnist,
    image_sets,
    modelnet40,
    npz,
    psb,
    transforms,
    tut2016,
)
from hierjax.data.augmentation import AUGMENTATIONS
from hierjax.data.dataset import Dataset
from hierjax.data.npz import read_hierarchy
from hierjax.data.registry import LOADERS, load
from hierjax.data.samplers import (
    BalancedSampler,
    HierarchicalSampler,
    Sampler,
    TupleSampler,
    UniformSampler,
    make_sampler,
)

__all__ = [
    "AUGMENTATIONS",
    "LOADERS",
    "BalancedSampler",
    "Dataset",
    "HierarchicalSampler",
    "Sampler",
    "TupleSampler",
    "UniformSampler",
    "cifar100",
    "digits",
    "gm_notes",
    "hierarchical_mnist",
    "image_sets",
    "load",
    "make_sampler",
    "modelnet40",
    "npz",
    "psb",
    "read_hierarchy",
    "transforms",
    "tut2016",
]
