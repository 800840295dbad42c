"""Tables of neighbours, from the JSON that `experiments.reproduce` writes."""

from collections.abc import Callable

from experiments.papers import published
from experiments.report import document
from experiments.report.document import Bullets, Heading, Paragraph, Part, Table


def number(value: float | None, digits: int = 2, sign: str = "") -> str:
    """A number, '-' where undefined."""
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def mean_sd(entry: dict | None, digits: int = 2) -> str:
    """Mean and standard deviation over seeds, '-' where undefined."""
    if entry is None:
        return "-"
    text = number(entry["mean"], digits)
    known = entry["mean"] is not None and entry["sd"] is not None
    return f"{text} ± {number(entry['sd'], digits)}" if known else text


def _mean_sd_interval(entry: dict) -> str:
    """As `mean_sd`, with the bootstrap interval where there is one."""
    if entry.get("low") is None:
        return mean_sd(entry)
    return f"{mean_sd(entry)} [{number(entry['low'])}, {number(entry['high'])}]"


def gain_cell(entry: dict | None) -> str:
    """A gain with its interval and its verdict."""
    if entry is None or entry["value"] is None:
        return "-"
    verdict = "="
    if entry["low"] is not None and entry["low"] > 0:
        verdict = "↑"
    elif entry["high"] is not None and entry["high"] < 0:
        verdict = "↓"
    return (
        f"{entry['value']:+.3f} [{number(entry['low'], 3)}, "
        f"{number(entry['high'], 3)}] {verdict}"
    )


def frame(
    content: dict,
    introduction: list[str],
    parts_of_block: Callable[[dict, dict], list[Part]],
) -> list[Part]:
    """What all tables share: title, command, notes, blocks, and what computed them.

    Args:
      content: of the JSON file.
      introduction: paragraphs under the command.
      parts_of_block: ``(block, content) -> parts``, called for blocks that were run.
    """
    run = content["run"]
    parts = [Heading(content["title"]), Paragraph(f"`{run['command']}`")]
    parts += map(Paragraph, introduction)
    if content["note"]:
        parts.append(Paragraph(content["note"]))
    for block in content["blocks"]:
        parts.append(Heading(block["name"], 3))
        if block["absent"]:
            parts.append(Paragraph("Not run: data absent."))
        if block["note"]:
            parts.append(Paragraph(block["note"]))
        found = parts_of_block(block, content)
        if not found and not block["absent"]:
            found = [Paragraph("Not run yet.")]
        parts += found
    if any(block.get("published") for block in content["blocks"]):
        parts.append(Paragraph(f"Published: {published.RANK_BASED_SOURCE}."))
    environment = ", ".join(f"{k} {v}" for k, v in run["environment"].items())
    computed = (
        f"Computed with {environment}; {run['seconds']:.0f} s of runs, tuning included."
    )
    return [*parts, Paragraph(computed)]


def _columns(levels: list[str]) -> dict[str, str]:
    """Heading -> measure for the finest and the coarsest level."""
    fine, coarse = levels[-1], levels[0]
    return {
        "sil fine": f"silhouette/{fine}",
        "sil coarse": f"silhouette/{coarse}",
        "sil avg": "silhouette/average",
        "kNN fine": f"knn/{fine}",
        "kNN coarse": f"knn/{coarse}",
    }


_GAINS = ("sil avg", "kNN fine", "kNN coarse")


def _row_cells(
    name: str, row: dict, columns: dict[str, str], baselines: list[str]
) -> list[str]:
    cells = [
        _mean_sd_interval(row["measures"][measure]) for measure in columns.values()
    ]
    cells.append(mean_sd(row["measures"]["mistake_distance/hops"]))
    for baseline in baselines:
        gain = row["gain"].get(baseline, {})
        cells += [gain_cell(gain.get(columns[heading])) for heading in _GAINS]
    return [name, *cells]


def _published_cells(name: str, values: list[float], num_gains: int) -> list[str]:
    cells = [f"_{number(value)}_" for value in values] + ["-"] * (1 + num_gains)
    return [f"_{name}, published_", *cells]


def _block_parts(block: dict, content: dict) -> list[Part]:
    if not block["rows"] and not block["published"]:
        return []
    baselines = content["baselines"]
    num_gains = len(_GAINS) * len(baselines)
    headings = ["row", *_columns([""]), "mistakes (hops)"]
    headings += [f"{name} vs {base}" for base in baselines for name in _GAINS]
    columns = _columns(block.get("levels", [""]))
    lines = []
    for name in content["row_names"]:
        if name in block["rows"]:
            row = block["rows"][name]
            if "true_tree" in row:
                on_true = row | {"measures": row["true_tree"]}
                shown = f"{name}, on the true tree"
                lines.append(_row_cells(shown, on_true, columns, baselines))
                row = row | {"gain": {}}
            lines.append(_row_cells(name, row, columns, baselines))
        if name in block["published"]:
            lines.append(_published_cells(name, block["published"][name], num_gains))
    remarks = [Bullets(_remarks(block))] if block["rows"] else []
    return [Table(headings, lines), *remarks]


def _remarks(block: dict) -> list[str]:
    """What must be known to read a block's rows."""
    rows = block["rows"]
    levels = ", ".join(
        f"{present} of {nodes} {level}"
        for level, nodes, present in zip(
            block["levels"], block["nodes"], block["nodes_present"], strict=True
        )
    )
    folds = max(row["folds"] for row in rows.values())
    seeds = sorted({row["seeds"] for row in rows.values()})
    neighbors = "; ".join(f"{name} {row['neighbors'][0]}" for name, row in rows.items())
    lines = [
        f"n = {block['queries']} queries from {block['units']} x {block['unit']} in "
        f"{folds} fold(s); present: {levels}. Seeds a row: {seeds}.",
        f"k in fold 0, coarsest level first: {neighbors}.",
    ]
    lines += [
        f"{name}: {mean_sd(row['sibling_overlap'])} of the true pairs of siblings "
        "are siblings in the shuffled tree too."
        for name, row in rows.items()
        if "sibling_overlap" in row
    ]
    for name, values in block.get("by_stratum", {}).items():
        shown = ", ".join(f"{key}: {number(v)}" for key, v in values.items())
        lines.append(f"kNN fine by pitch, {name}: {shown}.")
    return lines


def parts(content: dict) -> list[Part]:
    """The whole table."""
    run = content["run"]
    trials = sorted(set(content["trials"].values()))
    introduction = (
        f"Scale {run['scale']}: {run['settings']}. Trials a row, chosen on "
        f"validation: {trials}. Mean ± standard deviation over seeds; brackets: 95 % "
        "bootstrap interval over seeds and units, given the test set; gains are paired "
        "on the same queries (↑ better, ↓ worse, = the interval includes 0). "
        "Silhouettes with cosine distance; inputs of init and their distance in k-NN "
        "are chosen on validation k-NN accuracy."
    )
    return frame(content, [introduction], _block_parts)


def comma_separated(content: dict) -> str:
    """Every measure of every row as CSV, a line each."""
    header = ["block", "row", "tree", "measure", "seeds", "mean", "sd", "low", "high"]
    for baseline in content["baselines"]:
        header += [f"gain_{baseline}{end}" for end in ("", "_low", "_high")]
    lines = []
    for block in content["blocks"]:
        for name, row in block["rows"].items():
            shuffled = "true_tree" in row
            scored = {"shuffled": row["measures"]} if shuffled else {}
            scored["true"] = row.get("true_tree", row["measures"])
            for tree, measures in scored.items():
                for measure, entry in measures.items():
                    line = [block["name"], name, tree, measure, row["seeds"]]
                    line += [entry.get(key) for key in ("mean", "sd", "low", "high")]
                    for baseline in content["baselines"]:
                        gain = row["gain"].get(baseline, {}).get(measure, {})
                        gain = gain if tree == "true" else {}
                        line += [gain.get(key) for key in ("value", "low", "high")]
                    lines.append(line)
    return document.comma_separated(header, lines)
