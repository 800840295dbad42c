"""Data sets as arrays with a label tree, ways to change them, and batch samplers."""

from hierjax.data import (
    cifar100,
    digits,
    folder,
    gm_notes,
    hierarchical_mnist,
    image_sets,
    manifest,
    modelnet40,
    npz,
    prepared_sets,
    psb,
    transforms,
    tut2016,
)
from hierjax.data.augmentation import AUGMENTATIONS
from hierjax.data.dataset import Dataset
from hierjax.data.registry import LOADERS, find_loader, load
from hierjax.data.samplers import (
    BalancedSampler,
    HierarchicalSampler,
    Sampler,
    TupleSampler,
    UniformSampler,
    make_sampler,
)
from hierjax.data.tree_files import read_hierarchy

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
    "find_loader",
    "folder",
    "gm_notes",
    "hierarchical_mnist",
    "image_sets",
    "load",
    "make_sampler",
    "manifest",
    "modelnet40",
    "npz",
    "prepared_sets",
    "psb",
    "read_hierarchy",
    "transforms",
    "tut2016",
]
