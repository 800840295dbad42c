"""The few measures of a run that are looked at first, as plain text."""

from experiments.report.values import is_known, with_interval

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
        [level, *(with_interval(column.get(level)) for column in columns.values())]
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
    columns = {"blind guess": {name: {"value": levels[name]} for name in levels}}
    for part, heading in _NEIGHBORS.items():
        if part in results:
            measures = results[part]["measures"]
            columns[heading] = {name: measures.get(f"knn/{name}") for name in levels}
    classes = results.get("classes", {}).get("measures", {})
    probes = results.get("probes", {}).get("measures", {})
    for heading, measures, pattern in (
        ("classifier", classes, "accuracy/{}/proxies"),
        ("linear probe", probes, "probe/{}/features"),
    ):
        column = {name: measures.get(pattern.format(name)) for name in levels}
        if any(column.values()):
            columns[heading] = column
    return columns


def remarks(results: dict) -> list[str]:
    """A sentence on each of the other measures that are looked at first."""
    part = next(name for name in ("learned", "untrained", "input") if name in results)
    measures = results[part]["measures"]
    lines = [
        f"{results['queries']} rows, 95 % intervals. Blind guess: always the most "
        "frequent node of the training rows."
    ]
    hops = _value(measures.get("mistake_hops/all"))
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
    classes = results.get("classes", {}).get("measures", {})
    gamma = _value(classes.get("gamma/all/proxies"))
    if gamma is not None:
        lines.append(
            f"Distances between classes agree with the tree by gamma {gamma:.2f}: "
            "chance 0, at most 1."
        )
    return lines


def _value(entry: dict | None) -> float | None:
    value = (entry or {}).get("value")
    return value if is_known(value) else None
