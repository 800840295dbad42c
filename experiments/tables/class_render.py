"""Tables of classes, from the JSON that `experiments.reproduce` writes."""

from experiments.report import document
from experiments.report.document import Bullets, Part, Table
from experiments.tables.render import frame, mean_sd, number

_DIGITS = 3

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


def _difference(entry: dict | None) -> str:
    """A difference with its interval, marked where that leaves out 0."""
    if entry is None or entry["mean"] is None:
        return "-"
    text = number(entry["mean"], _DIGITS, "+")
    if entry["low"] is None:
        return text
    mark = "" if entry["low"] <= 0 <= entry["high"] else " *"
    low, high = (number(entry[key], _DIGITS) for key in ("low", "high"))
    return f"{text} [{low}, {high}]{mark}"


def _accuracy(block: dict, row: str) -> float | None:
    measures = block["rows"][row]["measures"]
    entry = measures.get("accuracy/proxies") or measures["accuracy/means"]
    return entry["mean"]


def _comparison_cells(block: dict, comparison: dict, needed: float) -> list[str]:
    cells = [f"{comparison['row']} - {comparison['against']}", str(comparison["seeds"])]
    for names in _COMPARED.values():
        found = [comparison["differences"].get(name) for name in names]
        cells.append(_difference(next((entry for entry in found if entry), None)))
    p = comparison["class_permutation_p"]
    cells.append(
        " / ".join(number(p.get(f"gamma/{kind}"), 4) for kind in ("proxies", "means"))
    )
    if needed:
        lowest = min(_accuracy(block, comparison[key]) for key in ("row", "against"))
        too_low = f"not testable at this scale (top-1 {lowest:.2f})"
        accuracy = comparison["differences"].get("accuracy/proxies")
        differs = accuracy["low"] is None or accuracy["low"] > 0 or accuracy["high"] < 0
        similar = "no: it differs" if differs else "no difference shown"
        cells.append(similar if lowest >= needed else too_low)
    return cells


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
    lines = [f"{levels}; {splits} (seed 0).", f"Settings: {settings}."]
    if chosen:
        lines.append(f"Chosen on validation accuracy, seed 0: {chosen}.")
    for what, key in (
        ("without a training row", "untrained_classes"),
        ("without a query", "untested_classes"),
    ):
        names = next(iter(rows.values()))[key]
        if names:
            lines.append(f"{len(names)} classes {what}: {', '.join(names[:8])}.")
    return lines


def _block_parts(block: dict, content: dict) -> list[Part]:
    if not block["rows"]:
        return []
    shown = {
        heading: measure
        for heading, measure in _COLUMNS.items()
        if any(measure in row["measures"] for row in block["rows"].values())
    }
    lines = []
    for name in content["row_names"]:
        if name in block["rows"]:
            row = block["rows"][name]
            cells = [mean_sd(row["measures"].get(m), _DIGITS) for m in shown.values()]
            lines.append([name, str(row["seeds"]), *cells])
    parts = [Table(["row", "seeds", *shown], lines)]
    if block["comparisons"]:
        needed = content["needed_accuracy"]
        headings = ["difference", "seeds", *_COMPARED, "p over classes W / means"]
        headings += ["similar accuracy"] * bool(needed)
        lines = [_comparison_cells(block, c, needed) for c in block["comparisons"]]
        parts.append(Table(headings, lines))
    return [*parts, Bullets(_remarks(block))]


def parts(content: dict) -> list[Part]:
    """The whole table."""
    introduction = [
        f"Scale {content['run']['scale']}. Mean ± standard deviation over seeds. W: "
        "the learned "
        "proxies; means: class means of the training embeddings. AHC: hops of the "
        "prediction from the truth, 0 if right. HP@5: share of the five best classes "
        "among the nearest in the tree. AHS: hierarchical similarity of the 1 to 250 "
        "nearest queries (fewer where there are fewer). gamma: Goodman-Kruskal, all "
        "pairs of class pairs with unequal tree distance, 1 at best. rho: Spearman "
        "correlation a class with the tree, Fisher mean; with self: as published. "
        "clades: share of the tree's inner nodes found by UPGMA.",
        "Differences are paired by seed, with a 95 % t interval (* leaves out 0); p "
        "over classes: sign-flip permutation of the mean per-class gamma, which takes "
        "classes as independent though they share distances.",
    ]
    if content["needed_accuracy"]:
        introduction.append(
            f"Where top-1 is below {content['needed_accuracy']:.0%} a claim 'at "
            "similar accuracy' is called not testable."
        )
    return frame(content, introduction, _block_parts)


def comma_separated(content: dict) -> str:
    """Every measure of every row and every difference as CSV, a line each."""
    keys = ("mean", "sd", "low", "high")
    lines = []
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
                lines.append([block["name"], name, against, measure, seeds, *values])
    header = ["block", "row", "against", "measure", "seeds", *keys]
    return document.comma_separated(header, lines)
