"""Rows for a trained model: the user's new files, or the data of the run."""

import dataclasses
import pathlib

import numpy as np

from experiments.runs.workdir import read_experiment
from experiments.settings import notices
from hierjax import data, inference
from hierjax.data.own.unlabelled import read_unlabelled
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
    """
    # What the maps did to these features must not be done again.
    unmapped = dataclasses.replace(
        model, feature_maps=(), input_shape=dataset.features.shape[1:]
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
        read them.
      model: to embed with.
      skip_unreadable: leave out files that cannot be read.
      pixel_max: white in images of more than 8 bits, as in training; 0: by the files.

    Raises:
      UserError: no such file, or data that the model cannot take.
    """
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
