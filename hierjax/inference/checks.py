"""What a stored model must be before it is taken for one."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hierjax import models
from hierjax.data.feature_maps import FeatureMap
from hierjax.data.reading import texts
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.inference.model import TrainedModel

_MEASURED = ("embeddings", "features")
_SPLITS = ("validation", "train")
_INPUTS = ("uint8", "float32")
_COMPUTED_IN = ("float32", "bfloat16", "float16")


def encoder_from(fields: Mapping[str, Any]) -> nn.Module:
    """The encoder that its name and settings describe; its weights are yet to fit.

    Args:
      fields: ``kind``, the name of a class of `hierjax.models`, and what it was made
        with; lists stand for tuples.

    Raises:
      UserError: there is no such class, or no such type to compute in.
    """
    fields = dict(fields)
    name = fields.pop("kind")
    kind = getattr(models, name, None) if name in models.__all__ else None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise UserError(f"hierjax.models has no encoder {name!r}")
    fields["dtype"] = jnp.dtype(_one_of("dtype", fields["dtype"], _COMPUTED_IN))
    return kind(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in fields.items()
        }
    )


def hierarchy_from(tree: Mapping[str, Any], ancestors: np.ndarray) -> Hierarchy:
    """The label tree, whose node ids are those that the weights were trained with.

    Args:
      tree: ``paths``, ``class_names`` and ``level_names``.
      ancestors: ``[C, L]`` node ids.

    Raises:
      UserError: the names make no tree, or the ids belong to another one.
    """
    named = Hierarchy.from_paths(
        tree["paths"],
        class_names=tree["class_names"],
        level_names=tree["level_names"],
        allow_internal_classes=True,
    )
    if ancestors.shape != named.ancestors.shape or ancestors.dtype.kind not in "iu":
        raise UserError(
            f"its tree is {list(named.ancestors.shape)} by its names and "
            f"{ancestors.dtype} {list(ancestors.shape)} by its ids"
        )
    for level, count in enumerate(named.nodes_per_level):
        pairs = np.stack([named.ancestors[:, level], ancestors[:, level]])
        ids = np.unique(pairs[1])
        same = np.unique(pairs, axis=1).shape[1] == count == len(ids)
        if not same or ids[0] != 0 or ids[-1] != count - 1:
            raise UserError(f"its names and ids are of other trees at level {level}")
    if not np.array_equal(ancestors[:, -1], np.arange(len(ancestors))):
        raise UserError("the ids of its classes are not in their order")
    return Hierarchy(
        paths=named.paths,
        class_names=named.class_names,
        level_names=named.level_names,
        ancestors=np.array(ancestors, np.int32),
    )


def feature_map_from(arrays: Mapping[str, Any]) -> FeatureMap:
    """A map of features; only its scale may be infinite, which silences a feature.

    Raises:
      UserError: a number that no map has.
    """
    found = FeatureMap(**{name: np.array(value) for name, value in arrays.items()})
    for name, value in arrays.items():
        bad = np.isnan(value) if name == "scale" else ~np.isfinite(value)
        if np.any(bad) or (name == "scale" and np.any(np.equal(value, 0))):
            raise UserError(f"the {name} of a feature map holds no proper numbers")
    return found


def text_encoding_from(arrays: Mapping[str, Any], version: Any) -> texts.TextEncoding:
    """An encoding of texts whose arrays go with each other.

    Args:
      arrays: its fields.
      version: of the n-grams' numbers, `texts.VERSION`.

    Raises:
      UserError: another version, or numbers and shapes that no encoding has.
    """
    if version != texts.VERSION:
        raise UserError(
            f"its texts are of version {version!r}, readable is {texts.VERSION}"
        )
    found = texts.TextEncoding(
        **{name: np.array(value) for name, value in arrays.items()}
    )
    columns, weights, components = found
    if (
        columns.ndim != 1
        or weights.shape != columns.shape
        or components.shape != (len(components), len(columns))
        or not components.size
    ):
        shapes = ", ".join(f"{name} {list(np.shape(arrays[name]))}" for name in arrays)
        raise UserError(f"the parts of its texts do not fit: {shapes}")
    if columns.dtype.kind != "i" or not (
        0 <= columns[0] and columns[-1] < 2 * texts.NUM_HASHES
    ):
        raise UserError("the columns of its texts are no numbers of n-grams")
    if (np.diff(columns) <= 0).any():
        raise UserError("the columns of its texts do not rise")
    for name, value in (("weights", weights), ("components", components)):
        if value.dtype != np.float32 or not np.isfinite(value).all():
            raise UserError(f"the {name} of its texts hold no proper numbers")
    return found


def check_fit(model: TrainedModel) -> None:
    """Require that the parts of a model are parts of one model.

    Args:
      model: put together from a file.

    Raises:
      UserError: a setting of another kind, a weight that is not finite, or shapes that
        do not go with each other.
    """
    _one_of("measured", model.measured, _MEASURED)
    _one_of("scale_split", model.scale_split, _SPLITS)
    _one_of("input_dtype", model.input_dtype, _INPUTS)
    if type(model.has_sizes) is not bool:
        raise UserError(f"has_sizes must be true or false, got {model.has_sizes!r}")
    scales, num_levels = model.scales, model.hierarchy.num_levels
    if len(scales) != num_levels or any(
        type(scale) not in (int, float) or not 0 <= scale < np.inf for scale in scales
    ):
        raise UserError(
            f"scales must be a number from 0 on for each of {num_levels} levels, got "
            f"{list(scales)}"
        )
    if any(type(side) is not int or side < 1 for side in model.input_shape):
        raise UserError(f"input_shape must be sizes, got {list(model.input_shape)}")
    if model.text_encoding and model.text_encoding.input_shape != model.input_shape:
        raise UserError(
            f"its texts become vectors {list(model.text_encoding.input_shape)}, not "
            f"{list(model.input_shape)}"
        )
    _check_finite(model)
    _check_prototypes(model)
    try:
        made = jax.eval_shape(model.forward, *_one_row(model))
    # Whatever an encoder raises whose settings and weights are not its own.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"its encoder and weights do not fit: {reason[0]}") from None
    if made.shape != (1, model.prototypes.shape[1]):
        raise UserError(
            f"it embeds in {list(made.shape[1:])} dimensions and its prototypes have "
            f"{model.prototypes.shape[1]}"
        )


def _one_of(name: str, value: Any, accepted: tuple[str, ...]) -> str:
    if value not in accepted:
        raise UserError(f"{name} must be one of {', '.join(accepted)}, got {value!r}")
    return value


def _check_finite(model: TrainedModel) -> None:
    held = {"variables": model.variables, "prototypes": model.prototypes}
    for path, leaf in jax.tree_util.tree_leaves_with_path(held):
        # NumPy does not know all of JAX's types as numbers.
        if not (jnp.issubdtype(leaf.dtype, np.number) and jnp.isfinite(leaf).all()):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise UserError(f"{name} holds what is no finite number")


def _check_prototypes(model: TrainedModel) -> None:
    vectors, paths, tree = model.prototypes, model.prototype_labels, model.hierarchy
    if vectors.ndim != 2 or paths.shape != (len(vectors), tree.num_levels):
        raise UserError(
            f"its prototypes {list(vectors.shape)} and their labels "
            f"{list(paths.shape)} do not go with {tree.num_levels} levels"
        )
    if paths.dtype.kind not in "iu" or not len(paths):
        raise UserError("its prototypes have no labels")
    if np.any(paths < -1) or np.any(paths >= np.array(tree.nodes_per_level)):
        raise UserError("its prototypes name nodes that its tree does not have")


def _one_row(model: TrainedModel) -> list[jax.ShapeDtypeStruct]:
    row = jax.ShapeDtypeStruct((1, *model.input_shape), model.input_dtype)
    sizes = jax.ShapeDtypeStruct((1, 2), np.float32)
    return [row, sizes] if model.has_sizes else [row]
