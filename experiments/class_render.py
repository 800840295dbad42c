"""Tables of classes as Markdown and CSV, from the JSON of `experiments.reproduce`."""

import csv
import io

# Heading -> measure. W are the learned proxies.
_COLUMNS = {
    "top-1 W": "accuracy/proxies",
    "top-1 means": "accuracy/means",
    "AHC W": "cost/proxies",
    "HP@5 W": "precision@5/proxies",
    "AHS": "similarity_area",
    "gamma W": "gamma/proxies",
    "gamma means": "gamma/means",
    "Mantel p means": "mantel_p/means",
    "rho W": "spearman/proxies",
    "rho means": "spearman/means",
    "rho with self W": "spearman_with_self/proxies",
    "clades W": "clades_overall/proxies",
    "clades means": "clades_overall/means",
}
_COMPARED = {
    "top-1": ("accuracy/proxies", "accuracy/means"),
    "AHC": ("cost/proxies", "cost/means"),
    "AHS": ("similarity_area",),
    "gamma W": ("gamma/proxies",),
    "gamma means": ("gamma/means",),
}


def _number(value: float | None, digits: int = 3, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def _mean_sd(entry: dict | None) -> str:
    if entry is None or entry["mean"] is None:
        return "-"
    text = _number(entry["mean"])
    return text if entry["sd"] is None else f"{text} ± {_number(entry['sd'])}"


def _difference(entry: dict | None) -> str:
    """A difference with its interval, marked where that leaves out 0."""
    if entry is None or entry["mean"] is None:
        return "-"
    text = _number(entry["mean"], sign="+")
    if entry["low"] is None:
        return text
    mark = "" if entry["low"] <= 0 <= entry["high"] else " *"
    return f"{text} [{_number(entry['low'])}, {_number(entry['high'])}]{mark}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(count: int) -> str:
    return "| --- " * count + "|"


def _accuracy(block: dict, row: str) -> float | None:
    measures = block["rows"][row]["measures"]
    entry = measures.get("accuracy/proxies") or measures["accuracy/means"]
    return entry["mean"]


def _comparison_line(block: dict, comparison: dict, needed: float) -> str:
    cells = [f"{comparison['row']} - {comparison['against']}", str(comparison["seeds"])]
    for names in _COMPARED.values():
        found = [comparison["differences"].get(name) for name in names]
        cells.append(_difference(next((entry for entry in found if entry), None)))
    p = comparison["class_permutation_p"]
    cells.append(
        " / ".join(_number(p.get(f"gamma/{kind}"), 4) for kind in ("proxies", "means"))
    )
    if needed:
        lowest = min(_accuracy(block, comparison[key]) for key in ("row", "against"))
        too_low = f"not testable at this scale (top-1 {lowest:.2f})"
        accuracy = comparison["differences"].get("accuracy/proxies")
        differs = accuracy["low"] is None or accuracy["low"] > 0 or accuracy["high"] < 0
        similar = "no: it differs" if differs else "no difference shown"
        cells.append(similar if lowest >= needed else too_low)
    return _line(cells)


def _remarks(block: dict) -> list[str]:
    rows = block["rows"]
    levels = ", ".join(
        f"{count} {name}"
        for name, count in zip(block["levels"], block["nodes"], strict=True)
    )
    splits = ", ".join(f"{name} {count}" for name, count in block["splits"].items())
    chosen = "; ".join(
        f"{name} {row['chosen']}" for name, row in rows.items() if row["chosen"]
    )
    settings = ", ".join(f"{k} {v}" for k, v in block["settings"].items())
    lines = [f"- {levels}; {splits} (seed 0).", f"- Settings: {settings}."]
    if chosen:
        lines.append(f"- Chosen on validation accuracy, seed 0: {chosen}.")
    for what, key in (
        ("without a training row", "untrained_classes"),
        ("without a query", "untested_classes"),
    ):
        names = next(iter(rows.values()))[key]
        if names:
            lines.append(f"- {len(names)} classes {what}: {', '.join(names[:8])}.")
    return lines


def _block_lines(block: dict, content: dict) -> list[str]:
    lines = [f"### {block['name']}", ""]
    if block["absent"]:
        lines += ["Not run: data absent.", ""]
    if block["note"]:
        lines += [block["note"], ""]
    if not block["rows"]:
        return lines if block["absent"] else [*lines, "Not run yet.", ""]
    shown = {
        heading: measure
        for heading, measure in _COLUMNS.items()
        if any(measure in row["measures"] for row in block["rows"].values())
    }
    lines += [_line(["row", "seeds", *shown]), _rule(len(shown) + 2)]
    for name in content["row_names"]:
        if name in block["rows"]:
            row = block["rows"][name]
            cells = [_mean_sd(row["measures"].get(m)) for m in shown.values()]
            lines.append(_line([name, str(row["seeds"]), *cells]))
    if block["comparisons"]:
        needed = content["needed_accuracy"]
        headings = ["difference", "seeds", *_COMPARED, "p over classes W / means"]
        headings += ["similar accuracy"] * bool(needed)
        lines += ["", _line(headings), _rule(len(headings))]
        lines += [_comparison_line(block, c, needed) for c in block["comparisons"]]
    return [*lines, "", *_remarks(block), ""]


def markdown(content: dict) -> str:
    """The whole table as Markdown."""
    run = content["run"]
    lines = [
        f"# {content['title']}",
        "",
        f"`{run['command']}`",
        "",
        f"Scale {run['scale']}. Mean ± standard deviation over seeds. W: the learned "
        "proxies; means: class means of the training embeddings. AHC: hops of the "
        "prediction from the truth, 0 if right. HP@5: share of the five best classes "
        "among the nearest in the tree. AHS: hierarchical similarity of the 1 to 250 "
        "nearest queries (fewer where there are fewer). gamma: Goodman-Kruskal, all "
        "pairs of class pairs with unequal tree distance, 1 at best. rho: Spearman "
        "correlation a class with the tree, Fisher mean; with self: as published. "
        "clades: share of the tree's inner nodes found by UPGMA.",
        "",
        "Differences are paired by seed, with a 95 % t interval (* leaves out 0); p "
        "over classes: sign-flip permutation of the mean per-class gamma, which takes "
        "classes as independent though they share distances.",
        "",
    ]
    if content["needed_accuracy"]:
        lines += [
            f"Where top-1 is below {content['needed_accuracy']:.0%} a claim 'at "
            "similar accuracy' is called not testable.",
            "",
        ]
    if content["note"]:
        lines += [content["note"], ""]
    for block in content["blocks"]:
        lines += _block_lines(block, content)
    environment = ", ".join(f"{k} {v}" for k, v in run["environment"].items())
    lines.append(
        f"Computed with {environment}; {run['seconds']:.0f} s of runs, tuning included."
    )
    return "\n".join(lines) + "\n"


def comma_separated(content: dict) -> str:
    """Every measure of every row and every difference as CSV, a line each."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    keys = ("mean", "sd", "low", "high")
    writer.writerow(["block", "row", "against", "measure", "seeds", *keys])
    for block in content["blocks"]:
        entries = [
            (name, "", row["seeds"], row["measures"])
            for name, row in block["rows"].items()
        ]
        entries += [
            (entry["row"], entry["against"], entry["seeds"], entry["differences"])
            for entry in block["comparisons"]
        ]
        for name, against, seeds, measures in entries:
            for measure, entry in measures.items():
                values = [entry[key] for key in keys]
                writer.writerow([block["name"], name, against, measure, seeds, *values])
    return buffer.getvalue()
