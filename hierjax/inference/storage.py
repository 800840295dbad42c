"""A trained model on disk: readable settings, and arrays without pickles."""

import dataclasses
import json
import pathlib

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from hierjax import models
from hierjax.data.feature_maps import FeatureMap
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.inference.model import TrainedModel

FOLDER = "model"
"""Where a run keeps its model, below its workdir."""
_SETTINGS = "model.json"
_ARRAYS = "arrays.msgpack"
_FORMAT = 1
_PLAIN = ("measured", "input_shape", "input_dtype", "has_sizes", "scale", "scale_split")
# Where it was trained is of no account to the forward pass.
_NOT_KEPT = ("parent", "name", "axis_name")


def save(model: TrainedModel, workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes ``model/model.json`` and ``model/arrays.msgpack`` below a folder.

    Args:
      model: whose encoder is a class of `hierjax.models`.
      workdir: made where it is missing.

    Returns:
      The folder ``model``.

    Raises:
      UserError: the encoder is a class of the user's own, which only its code can make
        again.
    """
    kind = type(model.encoder)
    if getattr(models, kind.__name__, None) is not kind:
        raise UserError(
            f"{kind.__name__} is no encoder of hierjax.models and cannot be made again "
            "from a file; keep the variables yourself"
        )
    folder = pathlib.Path(workdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    tree = model.hierarchy
    settings = {
        "format": _FORMAT,
        "encoder": {"kind": kind.__name__, **_encoder_settings(model.encoder)},
        **{name: getattr(model, name) for name in _PLAIN},
        "hierarchy": {
            "paths": tree.paths,
            "class_names": tree.class_names,
            "level_names": tree.level_names,
        },
    }
    arrays = {
        "variables": model.variables,
        "ancestors": tree.ancestors,
        "prototypes": model.prototypes,
        "prototype_labels": model.prototype_labels,
        "feature_maps": [
            {
                name: np.asarray(value, np.float32)
                for name, value in feature_map._asdict().items()
                if value is not None
            }
            for feature_map in model.feature_maps
        ],
    }
    # Settings last: with them the model counts as there.
    (folder / _ARRAYS).write_bytes(flax.serialization.msgpack_serialize(arrays))
    (folder / _SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")
    return folder


def _encoder_settings(encoder: nn.Module) -> dict:
    settings = {}
    for field in dataclasses.fields(encoder):
        value = getattr(encoder, field.name)
        if field.name in _NOT_KEPT:
            continue
        settings[field.name] = jnp.dtype(value).name if field.name == "dtype" else value
    return settings


def load(workdir: str | pathlib.Path) -> TrainedModel:
    """The model of a run.

    Args:
      workdir: the folder of the run, or the folder ``model`` in it.

    Raises:
      UserError: there is none, it is damaged, or another version wrote it.
    """
    folder = pathlib.Path(workdir)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; python -m experiments.train --workdir={folder} "
            "makes one, --data_path chooses its data"
        )
    if (folder / FOLDER).is_dir():
        folder = folder / FOLDER
    path = folder / _SETTINGS
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; python -m experiments.evaluate --workdir={workdir} "
            "writes the model of a trained run"
        )
    try:
        settings = json.loads(path.read_text("utf-8"))
        arrays = flax.serialization.msgpack_restore((folder / _ARRAYS).read_bytes())
        if settings["format"] != _FORMAT:
            raise UserError(
                f"{path}: format {settings['format']}, readable is {_FORMAT}; evaluate "
                "the run again with this version"
            )
        return _assemble(settings, arrays)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder}: not a readable model ({type(error).__name__}: {error}); "
            "evaluate the run again"
        ) from None


def _assemble(settings: dict, arrays: dict) -> TrainedModel:
    fields = dict(settings["encoder"])
    kind = getattr(models, fields.pop("kind"))
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }
    tree = settings["hierarchy"]
    hierarchy = Hierarchy(
        paths=tuple(map(tuple, tree["paths"])),
        class_names=tuple(tree["class_names"]),
        level_names=tuple(tree["level_names"]),
        ancestors=np.array(arrays["ancestors"]),
    )
    plain = {name: settings[name] for name in _PLAIN}
    return TrainedModel(
        encoder=kind(**fields | {"dtype": jnp.dtype(fields["dtype"])}),
        variables=jax.tree.map(np.asarray, arrays["variables"]),
        hierarchy=hierarchy,
        feature_maps=tuple(FeatureMap(**entry) for entry in arrays["feature_maps"]),
        prototypes=np.array(arrays["prototypes"]),
        prototype_labels=np.array(arrays["prototype_labels"]),
        **plain | {"input_shape": tuple(settings["input_shape"])},
    )
