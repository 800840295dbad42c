"""The measures of one run as Markdown tables."""

import numpy as np

_COLUMNS = ("input", "learned", "untrained", "gain")


def _cell(entry: dict | None) -> str:
    """A value with its interval, '-' where undefined."""
    if entry is None or entry["value"] is None or np.isnan(entry["value"]):
        return "-"
    text = f"{entry['value']:.3f}"
    if entry.get("low") is not None and not np.isnan(entry["low"]):
        text += f" [{entry['low']:.3f}, {entry['high']:.3f}]"
    return text


def _measures_of(results: dict) -> list[str]:
    """Names of the measures in the order of the first column."""
    first = next(name for name in _COLUMNS if name in results)
    return list(results[first]["measures"])


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
    for measure in _measures_of(results):
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
    if "input" not in columns:
        lines.append("The input is images: its own neighbours are not measured.")
    if "probes" in results:
        lines += ["", render_probes(results["probes"])]
    if "classes" in results:
        lines += ["", render_classes(results["classes"])]
    return "\n".join(lines)


def render_probes(probes: dict) -> str:
    """The measures of a frozen encoder as a Markdown table."""
    lines = ["| frozen features | |", "| --- | --- |"]
    for name, entry in probes["measures"].items():
        lines.append(f"| {name} | {_cell(entry)} |")
    inputs = (
        "inputs augmented anew" if probes["augmented"] else "features computed once"
    )
    lines += [
        "",
        f"probe: linear, last epoch, on {inputs}; probe_best: best epoch on "
        "validation; nn: nearest training row.",
    ]
    return "\n".join(lines)


def render_classes(classes: dict) -> str:
    """The measures of classes as a Markdown table, a column a kind of representative.

    Measures of the embedding alone stand in a table of their own.
    """
    measures = classes["measures"]
    kinds = [kind for kind in ("proxies", "means") if f"accuracy/{kind}" in measures]
    by_kind = {name.split("/")[0] for name in measures if "/" in name}
    lines = [
        "| classes | " + " | ".join(kinds) + " |",
        "| --- " * (len(kinds) + 1) + "|",
    ]
    for name in dict.fromkeys(name.split("/")[0] for name in measures):
        if name in by_kind:
            cells = [_cell(measures.get(f"{name}/{kind}")) for kind in kinds]
        else:
            cells = [_cell(measures[name]), *[""] * (len(kinds) - 1)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    for what, names in (
        ("no training row", classes["untrained_classes"]),
        ("no query", classes["untested_classes"]),
    ):
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            lines.append(f"{len(names)} classes have {what}: {shown}")
    return "\n".join(lines)
