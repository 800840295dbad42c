"""Prepares an image set for `hierjax.data.load`.

    python -m hierjax.data.prepare micro_s --manual_dir=DOWNLOADED --data_dir=PREPARED
    python -m hierjax.data.prepare cifar100 --data_dir=PREPARED

NABirds and the plankton sets are read from the user's own download, without
TensorFlow; see `image_builders` for what must be there. CIFAR-100 and MNIST (for
hierarchical MNIST) are downloaded, which takes TensorFlow: ``pip install
'hierjax[prepare]'``.
"""

import argparse
import importlib.util
import pathlib
import sys
from collections.abc import Sequence

import tensorflow_datasets as tfds

from hierjax.data.building.image_builders import BUILDERS
from hierjax.errors import MissingDataError, UserError

DOWNLOADED = ("cifar100", "mnist")
"""Sets that TFDS downloads itself."""


def prepare(
    name: str, data_dir: pathlib.Path, manual_dir: pathlib.Path | None = None
) -> tfds.core.DatasetBuilder:
    """Prepares a data set, or does nothing where that has been done.

    Args:
      name: 'cifar100', 'mnist', 'nabirds', 'micro_s', 'micro_l' or 'meso_z'.
      data_dir: Folder to write to.
      manual_dir: Folder of the downloaded images and tables; for all but
        `DOWNLOADED`.

    Returns:
      The builder of the prepared data set.

    Raises:
      UserError: TensorFlow is missing where it is needed; there is nothing to read, or
        something in it is missing or damaged.
    """
    options = {"data_dir": data_dir, "file_format": "array_record"}
    if name in DOWNLOADED:
        if manual_dir is not None:
            raise UserError(f"{name} is downloaded and takes no --manual_dir")
        if importlib.util.find_spec("tensorflow") is None:
            raise UserError(
                f"preparing {name} takes TensorFlow, which is not installed; run pip "
                "install 'hierjax[prepare]'"
            )
        builder = tfds.builder(name, **options)
    else:
        builder = BUILDERS[name](**options)
        if manual_dir is None:
            raise MissingDataError(
                f"{name} needs --manual_dir: {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        # Says what is missing; TFDS would refuse an empty folder with an assertion.
        builder.read_classes(manual_dir)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=(*DOWNLOADED, *BUILDERS))
    parser.add_argument(
        "--data_dir", type=pathlib.Path, required=True, help="folder to write to"
    )
    parser.add_argument(
        "--manual_dir", type=pathlib.Path, help="folder of the downloaded images"
    )
    options = parser.parse_args(arguments)
    try:
        builder = prepare(options.name, options.data_dir, options.manual_dir)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    count = builder.info.splits.total_num_examples
    print(f"{count:,} images in {builder.data_path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
