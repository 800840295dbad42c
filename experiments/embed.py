"""Embed data with a trained run: ``python -m experiments.embed --workdir=W``."""

import csv
import pathlib

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.report.document import as_text
from experiments.runs import new_data
from experiments.runs.workdir import check_same_data, read_experiment
from experiments.settings.loading import load_data
from hierjax.errors import UserError
from hierjax.inference import answers


def define_flags() -> None:
    """Flags of this command."""
    flags.DEFINE_string("workdir", None, "Folder of the trained run.")
    flags.DEFINE_string(
        "data_path",
        None,
        "New data: an .npz with features, a .csv that lists files, or a folder of "
        "files; of texts a .csv with a column text, or a .txt with a text a line. "
        "Default: the data of the run.",
    )
    flags.DEFINE_string("out", None, "The .npz to write; default W/embeddings.npz.")
    flags.DEFINE_bool(
        "skip_unreadable", False, "Leave out files that cannot be read, and count them."
    )
    flags.DEFINE_float(
        "threshold",
        0.5,
        "Confidence in 0..1 that a node needs to be named; below it the answer backs "
        "off to a coarser level.",
    )
    flags.DEFINE_enum(
        "decode",
        answers.BACK_OFF,
        [answers.BACK_OFF, *answers.DECODERS],
        "How a row is named: back off to a node that is sure enough, or climb to one "
        "from the most probable class; the class of the least expected hops, or the "
        "node of the greatest expected F1.",
    )


def main() -> None:
    """Write embeddings, and what they are nearest to, as .npz and .csv."""
    values = flags.FLAGS
    model = new_data.model_of(values.workdir)
    workdir = pathlib.Path(values.workdir)
    out = pathlib.Path(values.out or workdir / "embeddings.npz")
    if out.suffix != ".npz":
        raise UserError(f"--out={out}: the name must end in .npz")
    if values.data_path and pathlib.Path(values.data_path).resolve() in (
        out.resolve(),
        out.with_suffix(".csv").resolve(),
    ):
        raise UserError(
            f"--out={out} and the .csv beside it would replace --data_path="
            f"{values.data_path}; choose another name"
        )
    if not 0 <= values.threshold <= 1:
        raise UserError(f"--threshold must be in 0..1, got {values.threshold}")
    if values.data_path:
        # A copy of the folder `model` alone does not tell.
        is_run = (workdir / "config.json").exists()
        rows = new_data.read(
            pathlib.Path(values.data_path),
            model,
            skip_unreadable=values.skip_unreadable,
            pixel_max=read_experiment(workdir).pixel_max if is_run else 0,
        )
    else:
        dataset = load_data(read_experiment(workdir))
        check_same_data(workdir, dataset)
        rows = new_data.of_dataset(dataset, model)
    embeddings = rows.embeddings
    found = model.classify(embeddings, threshold=values.threshold, decode=values.decode)
    paths = ["/".join(path) for path in model.hierarchy.decode(found.labels)]
    depth = np.sum(found.labels >= 0, axis=1)
    # The confidence of the node that is named; of the best coarse one where none is.
    sure = np.take_along_axis(found.confidences, np.maximum(depth - 1, 0)[:, None], 1)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            out,
            embeddings=embeddings,
            names=rows.names,
            paths=np.array(paths, str),
            labels=found.labels,
            nodes=found.nodes,
            confidences=found.confidences,
            level_names=np.array(model.hierarchy.level_names),
            **rows.extra,
        )
        with out.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["name", "path", "confidence"])
            for name, path, value in zip(rows.names, paths, sure[:, 0], strict=True):
                table.writerow([as_text(name), as_text(path), f"{value:.4f}"])
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error.strerror}") from None
    print(f"{len(embeddings)} rows of {embeddings.shape[1]} dimensions in {out}")
    _print_depths(model, depth, values.decode, values.threshold)
    print(
        f"their names, nearest nodes and confidences also in {out.with_suffix('.csv')}"
    )


def _print_depths(model, depth: np.ndarray, decode: str, threshold: float) -> None:
    """How far down the tree the answers go."""
    if model.scale_split == "train":
        print("no validation split: confidences come from training rows, too high")
    reached = ", ".join(
        f"{name} {np.mean(depth > level):.0%}"
        for level, name in enumerate(model.hierarchy.level_names)
    )
    reads = decode in (answers.BACK_OFF, "climb")
    how = f"at confidence {threshold:g}" if reads else f"by {decode}"
    print(f"named {how}: {reached}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
