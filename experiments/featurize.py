"""Features of a frozen encoder: ``python -m experiments.featurize --encoder=E``."""

import pathlib
import tempfile

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.settings import encoding
from experiments.settings.loading import load_given
from hierjax import data
from hierjax.errors import UserError


def define_flags() -> None:
    """Flags of this command, shown by ``--help``."""
    command_line.define_data_flags()
    command_line.define_encoder_flags()
    flags.adopt_module_key_flags(command_line)
    flags.DEFINE_string("out", "features.npz", "The .npz to write.")


def main() -> None:
    """Write the features of images, with all that is known of them, as .npz."""
    out = pathlib.Path(flags.FLAGS.out)
    if out.suffix != ".npz":
        raise UserError(f"--out={out}: the name must end in .npz")
    experiment = command_line.data_from_flags()
    if not experiment.encoder:
        raise UserError("--encoder is missing: the network to make features with")
    encoded = encoding.encode(experiment, load_given(experiment))
    arrays = arrays_of(encoded)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # All or nothing: others may be waiting for it.
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:
            complete = pathlib.Path(folder) / out.name
            np.savez(complete, **arrays)
            complete.replace(out)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error.strerror}") from None
    count, size = arrays["features"].shape
    print(f"{count} rows of {size} features in {out}")
    print(f"train on them with python -m experiments.train --data_path={out}")


def arrays_of(dataset: data.Dataset) -> dict[str, np.ndarray]:
    """Arrays that `data.npz.load` makes the same data set of, but for unused rows.

    Rows that are in no split are left out, and so are nodes of the tree that have no
    rows.
    """
    splits = dataset.splits
    rows = np.sort(np.concatenate(list(splits.values())))
    split = np.full(len(dataset.labels), "", "<U10")
    for name, of_split in splits.items():
        split[of_split] = name
    depth = dataset.hierarchy.num_levels
    paths = dataset.hierarchy.decode(dataset.labels[rows])
    arrays = {
        "features": dataset.features[rows],
        "labels": np.array([(*path, *[""] * (depth - len(path))) for path in paths]),
        "level_names": np.array(dataset.hierarchy.level_names),
        "split": split[rows],
    }
    for key, values, told in (
        ("names", dataset.row_names, dataset.row_names is not None),
        ("sizes", dataset.sizes, dataset.sizes is not None),
        ("groups", dataset.units, len(np.unique(dataset.units)) < len(dataset.units)),
    ):
        if told:
            arrays[key] = values[rows]
    return arrays


if __name__ == "__main__":
    command_line.run(main, define_flags)
