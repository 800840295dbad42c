"""Any data set that TFDS has prepared, its label features as the levels of a tree."""

import functools
import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.data.loader import Loader, without
from hierjax.data.own.labelled_rows import SPLIT_NAMES, make_dataset
from hierjax.data.reading import cache
from hierjax.data.reading.audio import log_mel, without_silence
from hierjax.data.reading.image import full_scale, measure_image, read_image
from hierjax.data.reading.media import DEFAULT_SIZE, default_side, stack_images
from hierjax.data.reading.prepared import (
    find_prepared,
    fingerprint,
    open_prepared,
    read_examples,
)
from hierjax.errors import UserError, notice
from hierjax.hierarchy import Hierarchy

_WORTH_KEEPING = 1000


def load(
    name: str,
    data_dir: str | pathlib.Path,
    hierarchy: Hierarchy | str | pathlib.Path | None = None,
    label_fields: Sequence[str] = (),
    image_size: int = 0,
    *,
    default_size: int = DEFAULT_SIZE,
    missing_as_names: bool = False,
    pixel_max: int = 0,
) -> Dataset:
    """Loads a data set of TFDS, prepared as array_record; TensorFlow is not needed.

    Features are the only image, recording or numeric tensor among those of the set:
    images as `image.read_image` reads them, recordings as `audio.log_mel` does.
    The splits train, validation (val, valid, dev) and test are taken and others
    left out, of which a `DataNotice` tells; missing ones are drawn, see
    `labelled_rows.make_dataset`. Rows are named split:number.

    From 1,000 examples on, what was decoded is kept in the user's cache.

    Args:
      name: As TFDS names it, with ``/config`` behind it if there are several.
      data_dir: The folder of TFDS.
      hierarchy: A tree in place of the labels', see `make_dataset`.
      label_fields: Label features, coarsest first: class labels, integers or strings
        (empty: unknown). Without any, the only class label.
      image_size: Side of images, or mel bands; 0 takes the images' own side where all
        are squares of the same, else as `reading.media.read_files`.
      default_size: See `reading.media.read_files`.
      missing_as_names: See `labelled_rows.make_dataset`.
      pixel_max: See `reading.media.read_files`.

    Raises:
      UserError: The set is not prepared, or in a format that takes TensorFlow; there is
        no such label, not one feature to learn from, or no training split; see also
        `make_dataset`.
    """
    if not name:
        raise UserError("dataset tfds: which one? As in --dataset=tfds:cifar100")
    folder = pathlib.Path(data_dir)
    command = (
        "pip install 'hierjax[prepare]' and then python -c \"import "
        f"tensorflow_datasets as tfds; tfds.builder('{name}', "
        f"data_dir='{data_dir}', file_format='array_record').download_and_prepare()\""
    )
    folder = find_prepared(name, data_dir, command)
    builder = open_prepared(folder, command)
    features = builder.info.features
    where = f"tfds:{name}"
    fields = _label_fields(where, features, tuple(label_fields))
    source = _source_field(where, features, fields)
    splits = _splits(where, list(builder.info.splits))

    def make() -> dict[str, np.ndarray]:
        examples, sizes = read_examples(
            builder, splits, source if _is(features[source], "Image") else ""
        )
        read = _reader(features[source], image_size, default_size, pixel_max)
        return {
            "features": read([example[source] for example in examples]),
            "split": np.repeat(splits, sizes),
            **{
                field: _label_names(features[field], [e[field] for e in examples])
                for field in fields
            },
        }

    keys = ("features", "split", *fields)
    if sum(builder.info.splits[s].num_examples for s in splits) < _WORTH_KEEPING:
        arrays = make()
    else:
        arrays = cache.remember(
            f"tfds-{name.replace('/', '-')}",
            f"version 3, size {image_size}, or {default_size}, white {pixel_max} "
            f"{source} {fields} "
            f"{fingerprint(folder)}",
            keys,
            make,
        )
    labels = np.stack([arrays[field] for field in fields], axis=1)
    split = arrays["split"]
    return make_dataset(
        where,
        arrays["features"],
        labels[:, 0] if hierarchy is not None and len(fields) == 1 else labels,
        hierarchy=hierarchy,
        level_names=fields,
        split=[SPLIT_NAMES[name] for name in split.tolist()],
        row_names=[
            f"{split}:{number}"
            for split in splits
            for number in range(np.sum(arrays["split"] == split))
        ],
        unit_name="example",
        missing_as_names=missing_as_names,
    )


def _is(feature: object, *kinds: str) -> bool:
    """Whether a feature is of a kind; by name, not to import TFDS at the top."""
    return any(cls.__name__ in kinds for cls in type(feature).__mro__)


def _is_label(feature: object) -> bool:
    if _is(feature, "ClassLabel", "Text"):
        return True
    return getattr(feature, "shape", None) == () and not np.issubdtype(
        feature.np_dtype, np.floating
    )


def _label_fields(where: str, features: dict, asked: tuple[str, ...]) -> tuple:
    possible = [field for field in sorted(features) if _is_label(features[field])]
    if asked:
        for field in asked:
            if field not in possible:
                raise UserError(
                    f"{where}: no label {field!r} for label_fields, there are "
                    f"{', '.join(possible) or 'none'}"
                )
        return asked
    classes = [field for field in possible if _is(features[field], "ClassLabel")]
    if len(classes) != 1:
        raise UserError(
            f"{where}: say with --label_fields which features are the labels, coarsest "
            f"first; there are {', '.join(possible) or 'none'}"
        )
    return tuple(classes)


def _source_field(where: str, features: dict, labels: tuple[str, ...]) -> str:
    """The only feature to learn from: an image, a recording, or numbers."""
    candidates = [
        [field for field in sorted(features) if _is(features[field], "Image")],
        [field for field in sorted(features) if _is(features[field], "Audio")],
        [
            field
            for field in sorted(features)
            if field not in labels
            and _is(features[field], "Tensor")
            and features[field].shape
            and None not in features[field].shape
            and np.issubdtype(features[field].np_dtype, np.number)
        ],
    ]
    fields = next(filter(None, candidates), [])
    if len(fields) != 1:
        raise UserError(
            f"{where}: needs one image, recording or numeric tensor of fixed shape to "
            f"learn from, found {', '.join(fields) or 'none'} among "
            f"{', '.join(sorted(features))}; save the one you want, and its labels, as "
            "an .npz"
        )
    return fields[0]


def _splits(where: str, there: list[str]) -> list[str]:
    splits = [split for split in there if split in SPLIT_NAMES]
    if "train" not in splits:
        raise UserError(
            f"{where}: needs a split 'train', found {', '.join(there) or 'none'}"
        )
    if len(splits) < len(there):
        left = [split for split in there if split not in splits]
        notice(
            f"{where}: takes the splits {', '.join(splits)} and leaves out "
            f"{', '.join(left)}"
        )
    return splits


def _reader(
    feature: object, image_size: int, default_size: int, pixel_max: int
) -> Callable[[list], np.ndarray]:
    if _is(feature, "Image"):
        return lambda files: _read_images(
            files, feature.shape, image_size, default_size, pixel_max
        )
    if _is(feature, "Audio"):
        rate = feature.sample_rate or 16_000
        scale = 1.0
        if np.issubdtype(feature.np_dtype, np.integer):
            scale = 2.0**15

        def read(signals: list) -> np.ndarray:
            return without_silence(
                np.stack(
                    [
                        log_mel(
                            np.asarray(signal, np.float32) / scale,
                            rate,
                            image_size or DEFAULT_SIZE,
                            f"example {number}",
                        )
                        for number, signal in enumerate(signals)
                    ]
                )
            )

        return read
    return np.stack


def _read_images(
    files: list[bytes],
    shape: tuple,
    image_size: int,
    default_size: int,
    pixel_max: int,
) -> np.ndarray:
    height, width, _ = shape
    facts = [
        measure_image(io.BytesIO(file), f"example {number}")
        for number, file in enumerate(files)
    ]
    side = image_size
    if not side and height is not None and height == width:
        side = height
    side = side or default_side((fact.shorter_side for fact in facts), default_size)
    white = pixel_max or full_scale(fact.largest for fact in facts)
    return stack_images(
        read_image(io.BytesIO(file), side, f"example {number}", white)
        for number, file in enumerate(files)
    )


def _label_names(feature: object, values: list) -> np.ndarray:
    """Names ``[N]`` of labels, ``''`` where unknown."""
    if _is(feature, "ClassLabel"):
        ids = np.asarray(values, np.int64)
        names = np.array([*feature.names, ""])
        return names[np.where(ids < 0, len(feature.names), ids)]
    return np.array(
        [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]
    )


LOADERS = {
    "tfds": Loader(
        functools.partial(load, ""),
        "data_dir",
        "the folder that TFDS has prepared it in",
        options=without("skip_unreadable"),
    )
}
"""By name."""
