"""Rows for a trained model: the user's new files, or the data of the run."""

import dataclasses
import pathlib

import numpy as np

from experiments.runs.workdir import read_experiment
from experiments.settings import notices
from hierjax import data, inference
from hierjax.data.own.unlabelled import are_texts, read_texts, read_unlabelled
from hierjax.data.reading.texts import tell_unknown, text_names
from hierjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Rows:
    """Embedded rows.

    Attributes:
      embeddings: ``[N, D]``.
      names: ``[N]`` strings.
      extra: more arrays for the file, such as the true labels.
    """

    embeddings: np.ndarray
    names: np.ndarray
    extra: dict[str, np.ndarray]


def model_of(workdir: str | None) -> inference.TrainedModel:
    """The model of a run, or of a copy of its folder ``model``.

    Raises:
      UserError: no folder is given, it holds no model, or the run trains nothing.
    """
    if not workdir:
        raise UserError("--workdir is missing: the folder of a trained run")
    folder = pathlib.Path(workdir)
    if (folder / "config.json").exists():
        method = read_experiment(folder).method
        if not method.trains:
            raise UserError(
                f"{folder}: method {method.name!r} trains nothing, so it has no model"
            )
    return inference.load(folder)


def of_dataset(dataset: data.Dataset, model: inference.TrainedModel) -> Rows:
    """All rows of a run's own data set, with true labels and splits.

    Args:
      dataset: as the run loads it, its features mapped already.
      model: of the run.

    Raises:
      UserError: they are not what the model was trained on.
    """
    shape = model.input_shape
    for feature_map in model.feature_maps:
        shape = feature_map.shape_after(shape)
    if dataset.features.shape[1:] != shape:
        raise UserError(
            f"{dataset.name} has rows of shape {list(dataset.features.shape[1:])}, the "
            f"model was trained on {list(shape)}; give the rows to embed as --data_path"
        )
    # What the maps did to these features must not be done again.
    unmapped = dataclasses.replace(
        model,
        feature_maps=(),
        input_shape=dataset.features.shape[1:],
        input_dtype="uint8" if dataset.features.dtype == np.uint8 else "float32",
    )
    split = np.full(len(dataset.labels), "", "<U10")
    for name, rows in dataset.splits.items():
        split[rows] = name
    return Rows(
        embeddings=unmapped.embed(dataset.features, dataset.sizes),
        names=_names(dataset.row_names, len(split)),
        extra={"true_labels": dataset.labels, "split": split},
    )


def read(
    path: pathlib.Path,
    model: inference.TrainedModel,
    *,
    skip_unreadable: bool = False,
    pixel_max: int = 0,
) -> Rows:
    """Reads and embeds new data.

    Args:
      path: see `data.unlabelled.read_unlabelled`; ``sizes`` are needed by models that
        read them. Of texts also `data.unlabelled.read_texts`.
      model: to embed with.
      skip_unreadable: leave out files that cannot be read.
      pixel_max: white in images of more than 8 bits, as in training; 0: by the files.

    Raises:
      UserError: no such file, or data that the model cannot take.
    """
    if model.text_encoding is not None and are_texts(path):
        texts = read_texts(path)
        vectors = model.text_encoding(texts)
        with notices.printed():
            tell_unknown(str(path), vectors)
        return Rows(model.embed(vectors), np.array(text_names(texts), str), {})
    if model.text_encoding is not None and path.suffix.lower() != ".npz":
        raise UserError(
            f"{path}: the model takes texts; give a .csv or .tsv with a column 'text', "
            "a .txt with a text a line, or an .npz with vectors of texts"
        )
    with notices.printed():
        arrays = read_unlabelled(
            path,
            model.input_shape,
            skip_unreadable=skip_unreadable,
            pixel_max=pixel_max,
        )
    try:
        embeddings = model.embed(arrays["features"], arrays.get("sizes"))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Rows(embeddings, _names(arrays.get("names"), len(embeddings)), {})


def _names(names: np.ndarray | None, count: int) -> np.ndarray:
    if names is not None:
        return names
    return np.array([f"row {number}" for number in range(count)])
