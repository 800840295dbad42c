"""A trained model on disk: readable settings, and arrays without pickles."""

import dataclasses
import pathlib

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from hierjax import models, stored
from hierjax.data.feature_maps import FeatureMap, ImageEncoding
from hierjax.data.reading import texts
from hierjax.errors import MissingDataError, UserError
from hierjax.inference import checks
from hierjax.inference.model import TrainedModel

FOLDER = "model"
"""Where a run keeps its model, below its workdir."""
_SETTINGS = "model.json"
_ARRAYS = "arrays.msgpack"
_DIGEST = "arrays_sha256"
_ENCODER = "frozen"
_TEXTS = "texts"
_FORMAT = 1
_PLAIN = (
    "measured",
    "input_shape",
    "input_dtype",
    "has_sizes",
    "scales",
    "scale_split",
)
_FROZEN = ("name", "weights", "side", "digest")
# Where it was trained is of no account to the forward pass.
_NOT_KEPT = ("parent", "name", "axis_name")


def save(model: TrainedModel, workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes ``model/model.json`` and ``model/arrays.msgpack`` below a folder.

    Of a frozen encoder that images go through first, its name, size and the digest of
    its weights are written, and where their file is; the weights themselves are not.

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
            if isinstance(feature_map, FeatureMap)
        ],
    }
    if model.encoding is not None:
        frozen = model.encoding.encoder
        settings[_ENCODER] = {key: getattr(frozen, key) for key in _FROZEN}
    if model.text_encoding is not None:
        settings[_TEXTS] = texts.VERSION
        arrays[_TEXTS] = model.text_encoding._asdict()
    content = flax.serialization.msgpack_serialize(arrays)
    settings[_DIGEST] = stored.digest(content)
    # Settings last: with them the model counts as there.
    stored.write_bytes(folder / _ARRAYS, content)
    stored.write_json(folder / _SETTINGS, settings)
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
      UserError: there is none, it is damaged, its parts do not fit, or another version
        wrote it; the weights of its frozen encoder are not there, or are others.
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
    if not path.exists():
        raise UserError(
            f"{path}: no such file; python -m experiments.evaluate --workdir={workdir} "
            "writes the model of a trained run"
        )
    try:
        settings = stored.read_json(path)
        with stored.refused(path):
            if settings["format"] != _FORMAT:
                raise UserError(
                    f"{path}: format {settings['format']!r}, readable is {_FORMAT}"
                )
            arrays = _read_arrays(folder / _ARRAYS, settings.get(_DIGEST))
            model = _assembled(path, settings, arrays)
    except MissingDataError:
        raise
    except UserError as error:
        raise UserError(
            f"{error}; python -m experiments.evaluate writes the model of a run anew"
        ) from None
    return model


def _read_arrays(path: pathlib.Path, digest: str | None) -> dict:
    """The arrays, if they are those of the settings; earlier versions did not say."""
    content = stored.read_bytes(path)
    if digest is not None and stored.digest(content) != digest:
        raise UserError(f"{path} is damaged: it does not fit the digest in {_SETTINGS}")
    try:
        return flax.serialization.msgpack_restore(content)
    # Whatever msgpack, NumPy and Flax raise.
    except Exception as error:
        raise UserError(f"{path} is damaged: {error}") from None


def _assembled(path: pathlib.Path, settings: dict, arrays: dict) -> TrainedModel:
    if "scale" in settings:
        # Before there was a scale a level there was one for all.
        levels = settings["hierarchy"]["level_names"]
        settings = settings | {"scales": [settings["scale"]] * len(levels)}
    expected = {"format", "encoder", *_PLAIN, "hierarchy"}
    if unknown := settings.keys() - expected - {_DIGEST, _ENCODER, _TEXTS, "scale"}:
        raise UserError(f"{path} is damaged: nobody knows its {sorted(unknown)[0]!r}")
    plain = {name: settings[name] for name in _PLAIN}
    for name in ("input_shape", "scales"):
        plain[name] = tuple(plain[name])
    try:
        maps = [checks.feature_map_from(entry) for entry in arrays["feature_maps"]]
        if _ENCODER in settings:
            frozen = _frozen_encoder(**settings[_ENCODER])
            maps.insert(0, ImageEncoding(frozen, plain["input_shape"]))
        if _TEXTS in settings:
            version = settings[_TEXTS]
            maps.insert(0, checks.text_encoding_from(arrays[_TEXTS], version))
        model = TrainedModel(
            encoder=checks.encoder_from(settings["encoder"]),
            variables=jax.tree.map(np.asarray, arrays["variables"]),
            hierarchy=checks.hierarchy_from(
                settings["hierarchy"], np.array(arrays["ancestors"])
            ),
            feature_maps=tuple(maps),
            prototypes=np.array(arrays["prototypes"]),
            prototype_labels=np.array(arrays["prototype_labels"]),
            **plain,
        )
        checks.check_fit(model)
    except MissingDataError:
        raise
    except UserError as error:
        raise UserError(f"{path.parent} holds no model: {error}") from None
    return model


def _frozen_encoder(
    name: str, weights: str, side: int, digest: str
) -> models.FrozenEncoder:
    """The frozen encoder that a model was trained on."""
    encoder = models.frozen_encoder(name, weights=weights, side=side)
    if encoder.digest != digest:
        raise UserError(
            f"{weights or name}: other weights ({encoder.digest[:12]}) than those that "
            f"the model was trained on ({digest[:12]}); bring those back, or train anew"
        )
    return encoder
