"""The few measures of a run that are looked at first, as plain text."""

import numpy as np

_NEIGHBORS = {"input": "k-NN of input", "untrained": "k-NN", "learned": "k-NN"}


def summarize_run(results: dict) -> str:
    """Accuracies a level beside a blind guess, and how far off mistakes are.

    Args:
      results: content of ``results.json``.

    Returns:
      A few lines for a terminal.
    """
    columns = accuracies(results)
    header = [f"right in {results['split']}", *columns]
    rows = [
        [level, *(_shown(column.get(level)) for column in columns.values())]
        for level in results["most_frequent"]
    ]
    widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True)]
        )
        for row in (header, *rows)
    ]
    return "\n".join([*lines, "", *remarks(results)])


def accuracies(results: dict) -> dict[str, dict]:
    """Heading to level to accuracy: a blind guess, neighbours, classifier, probe."""
    levels = results["most_frequent"]
    finest = list(levels)[-1]
    columns = {"blind guess": {name: {"value": levels[name]} for name in levels}}
    for part, heading in _NEIGHBORS.items():
        if part in results:
            measures = results[part]["measures"]
            columns[heading] = {name: measures.get(f"knn/{name}") for name in levels}
    classes = results.get("classes", {}).get("measures", {})
    if "accuracy/proxies" in classes:
        columns["classifier"] = {
            name: classes.get(f"accuracy_{name}/proxies") for name in levels
        } | {finest: classes["accuracy/proxies"]}
    probes = results.get("probes", {}).get("measures", {})
    if any(f"probe/{name}" in probes for name in levels):
        columns["linear probe"] = {name: probes.get(f"probe/{name}") for name in levels}
    return columns


def remarks(results: dict) -> list[str]:
    """A sentence on each of the other measures that are looked at first."""
    part = next(name for name in ("learned", "untrained", "input") if name in results)
    measures = results[part]["measures"]
    lines = [
        f"{results['queries']} rows, 95 % intervals. Blind guess: always the most "
        "frequent node of the training rows."
    ]
    hops = _value(measures.get("mistake_distance/hops"))
    if hops is not None and len(results["most_frequent"]) > 1:
        lines.append(
            f"Where k-NN is wrong, it is {hops:.1f} hops off in the tree on average; "
            "siblings are 2 apart."
        )
    silhouette = _value(measures.get("silhouette/average"))
    if silhouette is not None:
        before = results.get("input", {}).get("measures", {})
        before = _value(before.get("silhouette/average"))
        compared = (
            "" if before is None or part == "input" else f", of the input {before:.2f}"
        )
        lines.append(
            f"Silhouette {silhouette:.2f}{compared}: how far nodes lie apart, -1 to 1."
        )
    gamma = _value(results.get("classes", {}).get("measures", {}).get("gamma/proxies"))
    if gamma is not None:
        lines.append(
            f"Distances between classes agree with the tree by gamma {gamma:.2f}: "
            "chance 0, at most 1."
        )
    return lines


def _value(entry: dict | None) -> float | None:
    value = (entry or {}).get("value")
    return None if value is None or np.isnan(value) else value


def _shown(entry: dict | None) -> str:
    value = _value(entry)
    if value is None:
        return "-"
    text = f"{value:.3f}"
    if entry.get("low") is not None and not np.isnan(entry["low"]):
        text += f" [{entry['low']:.2f}, {entry['high']:.2f}]"
    return text
