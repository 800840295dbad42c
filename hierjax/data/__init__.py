"""Data sets as arrays with a label tree, ways to change them, and batch samplers."""

from hierjax.data import transforms
from hierjax.data.augmentation import AUGMENTATIONS
from hierjax.data.dataset import Dataset
from hierjax.data.encoded import add_views, encode_images
from hierjax.data.own import folder, manifest, npz, tfds_sets
from hierjax.data.own.tree_files import read_hierarchy
from hierjax.data.registry import LOADERS, find_loader, load
from hierjax.data.samplers import (
    BalancedSampler,
    HierarchicalSampler,
    Sampler,
    TupleSampler,
    UniformSampler,
    make_sampler,
)
from hierjax.data.sets import (
    cifar100,
    digits,
    gm_notes,
    hierarchical_mnist,
    image_sets,
    modelnet40,
    omniglot,
    psb,
    tut2016,
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
    "add_views",
    "cifar100",
    "digits",
    "encode_images",
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
    "omniglot",
    "tfds_sets",
    "psb",
    "read_hierarchy",
    "transforms",
    "tut2016",
]
