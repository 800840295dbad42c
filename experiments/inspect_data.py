"""Show what was understood of data: ``python -m experiments.inspect_data``."""

import dataclasses
import math
import shlex
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.report.points import label_path, row_name
from experiments.settings.loading import load_data
from hierjax import data
from hierjax.data.inspection import Inspection, Level, Node, inspect
from hierjax.data.reading.texts import TextEncoding

_TREE_LINES = 40
_NUM_ROWS = 8
_NAMES = 5
_STRONG_IMBALANCE = 10
_DOMINANT = 0.7


def define_flags() -> None:
    """Flags of this command, shown by ``--help``."""
    command_line.define_data_flags()
    flags.adopt_module_key_flags(command_line)


def main() -> None:
    """Print what the data flags name, warnings, and the command that trains on it."""
    experiment = command_line.data_from_flags()
    dataset = load_data(dataclasses.replace(experiment, standardize=False))
    print(render(dataset, inspect(dataset)))
    given = command_line.explicit_flags().split("\n")
    print(f"\nnext:\n{shlex.join(['python', '-m', 'experiments.train', *given[:-1]])}")


def render(dataset: data.Dataset, found: Inspection) -> str:
    """The text about a data set."""
    parts = [
        _summary(dataset, found),
        "tree (rows):\n" + "\n".join(tree_lines(found.nodes, _TREE_LINES)),
        "levels, coarsest first:\n" + "\n".join(map(_level_line, found.levels)),
        "depth of the classes: "
        + ", ".join(f"{n} at {depth}" for depth, n in found.classes_of_depth.items()),
        "rows, evenly spaced:\n" + "\n".join(_some_rows(dataset)),
    ]
    notes = list(warnings_about(dataset, found))
    parts.append(
        "warnings:\n" + "\n".join(f"  - {note}" for note in notes)
        if notes
        else "no warnings"
    )
    return "\n\n".join(parts)


def _summary(dataset: data.Dataset, found: Inspection) -> str:
    splits = ", ".join(f"{split} {count}" for split, count in found.splits.items())
    unused = f", in no split {found.num_unused}" if found.num_unused else ""
    return (
        f"{dataset.name}: {len(dataset.labels)} rows, {dataset.hierarchy.num_classes} "
        f"classes, {dataset.hierarchy.num_levels} levels\n"
        f"features: {dataset.features.dtype} {list(dataset.features.shape[1:])}, "
        f"{found.low:g} to {found.high:g}\n"
        f"splits: {splits}{unused}\n"
        f"rows a class: {_sizes(found)}"
    )


def _sizes(found: Inspection) -> str:
    counts = found.levels[-1].rows_of_node
    least, most = counts.min(), counts.max()
    return f"{least}" if least == most else f"{least} to {most}"


def tree_lines(nodes: Sequence[Node], most: int) -> list[str]:
    """The tree indented, the largest children first, cut to about ``most`` lines.

    Children are left out first, then levels.
    """
    children: dict[tuple[str, ...], list[Node]] = {}
    for node in nodes:
        children.setdefault(node.path[:-1], []).append(node)
    depth = max(len(node.path) for node in nodes)
    for deepest in range(depth, 0, -1):
        for width in (math.inf, 12, 6, 3):
            lines = list(_lines_below((), children, width, deepest))
            if len(lines) <= most:
                return lines
    return lines


def _lines_below(path, children, width, deepest) -> Iterator[str]:
    below = sorted(children.get(path, []), key=lambda node: -node.num_rows)
    indent = "  " * (len(path) + 1)
    shown = below if len(below) <= width + 1 else below[:width]
    for node in shown:
        ending = f", {node.num_ending} of them no finer" if node.num_ending else ""
        line = f"{indent}{node.path[-1]} ({node.num_rows}{ending})"
        if len(node.path) < deepest or node.path not in children:
            yield line
            yield from _lines_below(node.path, children, width, deepest)
        else:
            yield f"{line} ... {len(children[node.path])} below"
    if len(shown) < len(below):
        left = below[len(shown) :]
        rows = sum(node.num_rows for node in left)
        yield f"{indent}... {len(left)} more ({rows})"


def _level_line(level: Level) -> str:
    counts = level.rows_of_node
    most, least = np.argmax(counts), np.argmin(counts)
    return (
        f"  {level.name}: {level.num_nodes} nodes with {counts.min()} / "
        f"{np.median(counts):g} / {counts.max()} rows (min, median, max), largest "
        f"{level.node_names[most]}, smallest {level.node_names[least]}; unknown in "
        f"{level.num_unknown} rows ({_percent(level.num_unknown, counts)})"
    )


def _percent(unknown: int, counts: np.ndarray) -> str:
    return f"{100 * unknown / max(unknown + counts.sum(), 1):.0f} %"


def _some_rows(dataset: data.Dataset) -> Iterator[str]:
    size = len(dataset.labels)
    for row in range(0, size, -(-size // _NUM_ROWS)):
        path = "/".join(label_path(dataset, row))
        yield f"  {row_name(dataset, row)}: {path or 'unknown'}"


def warnings_about(dataset: data.Dataset, found: Inspection) -> Iterator[str]:
    """What may make training or measuring go wrong, each with what to do."""

    def rows(group: Sequence[int]) -> str:
        return ", ".join(row_name(dataset, row) for row in group[:2])

    if found.duplicates_across:
        yield (
            f"examples that occur in several splits: {len(found.duplicates_across)}, "
            f"such as {rows(found.duplicates_across[0])}; measures will be too good: "
            "remove the copies, or give copies one group"
        )
    if found.duplicates_within:
        yield (
            "examples that occur several times in a split: "
            f"{len(found.duplicates_within)}, such as "
            f"{rows(found.duplicates_within[0])}"
        )
    first = dataset.feature_maps[0] if dataset.feature_maps else None
    if isinstance(first, TextEncoding):
        empty = np.flatnonzero(~dataset.features.any(axis=1))
        if empty.size:
            yield (
                "texts that are empty or have no n-gram of the training texts: "
                f"{empty.size}, such as row {empty[0]} ({rows(empty)}); remove them"
            )
    if found.contradictions:
        yield (
            "examples that occur with different labels: "
            f"{len(found.contradictions)}, such as {rows(found.contradictions[0])}; "
            "correct them"
        )
    if found.shared_groups:
        yield (
            f"groups ({dataset.unit_name}) that lie in several splits: "
            f"{found.shared_groups}; measures may be too good"
        )
    if found.alike:
        yield (
            f"nodes of one parent that are called alike, kept apart: {len(found.alike)}"
            f", such as {' and '.join(map('/'.join, found.alike[0]))}; write them the "
            "same if they are one"
        )
    for classes, what in (
        (found.empty_classes, "without rows, which stay in the tree"),
        (found.single_classes, "of one row, which cannot be trained on and tested"),
        (found.unseen_classes, "with rows, but none for training"),
        (found.untested_classes, "with training rows, but none to measure on"),
    ):
        if classes:
            yield f"classes {what}: {len(classes)}, {_listed(classes)}"
    for level in found.levels:
        if level.num_nodes == 1:
            yield (
                f"level {level.name} has one node, {level.node_names[0]}, and tells "
                "nothing"
            )
        if not level.rows_of_node.sum():
            yield f"level {level.name} is unknown in every row"
        share = level.rows_of_node.max() / max(level.rows_of_node.sum(), 1)
        if level.num_nodes > 1 and share > _DOMINANT:
            yield (
                f"level {level.name}: {share:.0%} of the rows are "
                f"{level.node_names[np.argmax(level.rows_of_node)]}, which a blind "
                "guess gets right; look at its macro F1"
            )
    if found.imbalance >= _STRONG_IMBALANCE:
        yield (
            f"classes are unequal, {found.imbalance:.3g} to 1; see measures a level, "
            "and --set=sampler=balanced"
        )
    # Pictures have margins and recordings end in silence.
    if found.constant_features and dataset.features.ndim == 2:
        yield (
            f"features that are the same in all training rows: "
            f"{found.constant_features} of {found.num_features}"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


if __name__ == "__main__":
    command_line.run(main, define_flags)
