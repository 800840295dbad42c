"""The report of one run: a table and pictures."""

import pathlib

import numpy as np

from hierjax import distances, plotting
from hierjax.data import Dataset
from hierjax.evaluation import Embed

_COLUMNS = {"input": "input", "learned": "learned", "gain": "gain"}


def _cell(entry: dict | None) -> str:
    """A value with its interval, '-' where undefined."""
    if entry is None or entry["value"] is None or np.isnan(entry["value"]):
        return "-"
    text = f"{entry['value']:.3f}"
    if entry.get("low") is not None and not np.isnan(entry["low"]):
        text += f" [{entry['low']:.3f}, {entry['high']:.3f}]"
    return text


def render(results: dict) -> str:
    """The measures of the input and of the learned embedding as a Markdown table."""
    columns = {
        name: results[name].get("measures", results[name])
        for name in _COLUMNS
        if name in results
    }
    header = f"| {results['split']}, n = {results['queries']} | "
    lines = [
        header + " | ".join(columns) + " |",
        "| --- " * (len(columns) + 1) + "|",
    ]
    for measure in results["input"]["measures"]:
        cells = [_cell(column.get(measure)) for column in columns.values()]
        lines.append(f"| {measure} | " + " | ".join(cells) + " |")
    neighbors = ", ".join(
        f"{name} {results[name]['neighbors']}" for name in columns if name != "gain"
    )
    lines.append("")
    lines.append(
        f"k of k-NN a level, coarsest first: {neighbors}. Brackets: 95 % bootstrap "
        f"interval over each {results['bootstrap_unit']}."
    )
    return "\n".join(lines)


def class_means(embeddings: np.ndarray, classes: np.ndarray, num_classes: int):
    """Mean direction of every class ``[C, D]``, NaN for classes without a row."""
    units = np.asarray(distances.unit_normalize(embeddings))
    sums = np.zeros((num_classes, embeddings.shape[1]))
    known = classes >= 0
    np.add.at(sums, classes[known], units[known])
    counts = np.bincount(classes[known], minlength=num_classes)[:, None]
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def write(
    folder: pathlib.Path,
    results: dict,
    dataset: Dataset,
    embed: Embed,
    records: list[dict],
    split: str,
) -> None:
    """Write ``report.md`` and the pictures of a run into ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / "report.md").write_text(render(results) + "\n")
    rows = dataset.rows(split)
    seen = np.concatenate([dataset.rows("train"), rows])
    means = class_means(
        embed(seen), dataset.labels[seen, -1], dataset.hierarchy.num_classes
    )
    figures = {
        "embeddings": plotting.embedding_map(
            embed(rows), dataset.labels[rows], dataset.hierarchy, title=split
        ),
        "dendrograms": plotting.dendrograms(means, dataset.hierarchy),
        "class_distances": plotting.class_distances(means, dataset.hierarchy),
    }
    if records:
        figures["training_curves"] = plotting.training_curves(
            records, best_step=results["best_step"]
        )
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
