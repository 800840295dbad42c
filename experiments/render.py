"""Tables as Markdown and CSV, from the JSON that `experiments.reproduce` writes."""

import csv
import io

from experiments import published


def number(value: float | None, digits: int = 2) -> str:
    """A number, '-' where undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def mean_sd(entry: dict, digits: int = 2) -> str:
    """Mean and standard deviation over seeds."""
    text = number(entry["mean"], digits)
    known = entry["mean"] is not None and entry["sd"] is not None
    return f"{text} ± {number(entry['sd'], digits)}" if known else text


def _mean_sd_interval(entry: dict) -> str:
    """As `_mean_sd`, with the bootstrap interval where there is one."""
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


def _row_line(
    name: str, row: dict, columns: dict[str, str], baselines: list[str]
) -> str:
    cells = [
        _mean_sd_interval(row["measures"][measure]) for measure in columns.values()
    ]
    cells.append(mean_sd(row["measures"]["mistake_distance/hops"]))
    for baseline in baselines:
        gain = row["gain"].get(baseline, {})
        cells += [gain_cell(gain.get(columns[heading])) for heading in _GAINS]
    return f"| {name} | " + " | ".join(cells) + " |"


def _published_line(name: str, values: list[float], num_gains: int) -> str:
    cells = [f"_{number(value)}_" for value in values] + ["-"] * (1 + num_gains)
    return f"| _{name}, published_ | " + " | ".join(cells) + " |"


def _block_lines(block: dict, content: dict) -> list[str]:
    lines = [f"### {block['name']}", ""]
    if block["absent"]:
        lines += ["Not run: data absent.", ""]
    if block["note"]:
        lines += [block["note"], ""]
    if not block["rows"] and not block["published"]:
        return [*lines, "Not run yet.", ""]
    baselines = content["baselines"]
    num_gains = len(_GAINS) * len(baselines)
    headings = [*_columns([""]), "mistakes (hops)"]
    headings += [f"{name} vs {base}" for base in baselines for name in _GAINS]
    lines.append("| row | " + " | ".join(headings) + " |")
    lines.append("| --- " * (len(headings) + 1) + "|")
    columns = _columns(block.get("levels", [""]))
    for name in content["row_names"]:
        if name in block["rows"]:
            row = block["rows"][name]
            if "true_tree" in row:
                on_true = row | {"measures": row["true_tree"]}
                shown = f"{name}, on the true tree"
                lines.append(_row_line(shown, on_true, columns, baselines))
                row = row | {"gain": {}}
            lines.append(_row_line(name, row, columns, baselines))
        if name in block["published"]:
            lines.append(_published_line(name, block["published"][name], num_gains))
    return [*lines, "", *_remarks(block), ""] if block["rows"] else [*lines, ""]


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
        f"- n = {block['queries']} queries from {block['units']} x {block['unit']} in "
        f"{folds} fold(s); present: {levels}. Seeds a row: {seeds}.",
        f"- k in fold 0, coarsest level first: {neighbors}.",
    ]
    lines += [
        f"- {name}: {mean_sd(row['sibling_overlap'])} of the true pairs of siblings "
        "are siblings in the shuffled tree too."
        for name, row in rows.items()
        if "sibling_overlap" in row
    ]
    for name, values in block.get("by_stratum", {}).items():
        shown = ", ".join(f"{key}: {number(v)}" for key, v in values.items())
        lines.append(f"- kNN fine by pitch, {name}: {shown}.")
    return lines


def markdown(content: dict) -> str:
    """The whole table as Markdown."""
    run = content["run"]
    trials = sorted(set(content["trials"].values()))
    lines = [
        f"# {content['title']}",
        "",
        f"`{run['command']}`",
        "",
        f"Scale {run['scale']}: {run['settings']}. Trials a row, chosen on "
        f"validation: {trials}. Mean ± standard deviation over seeds; brackets: 95 % "
        "bootstrap interval over seeds and units, given the test set; gains are paired "
        "on the same queries (↑ better, ↓ worse, = the interval includes 0). "
        "Silhouettes with cosine distance; inputs of init and their distance in k-NN "
        "are chosen on validation k-NN accuracy.",
        "",
    ]
    if content["note"]:
        lines += [content["note"], ""]
    for block in content["blocks"]:
        lines += _block_lines(block, content)
    if any(block["published"] for block in content["blocks"]):
        lines += [f"Published: {published.RANK_BASED_SOURCE}.", ""]
    environment = ", ".join(f"{k} {v}" for k, v in run["environment"].items())
    lines.append(
        f"Computed with {environment}; {run['seconds']:.0f} s of runs, tuning included."
    )
    return "\n".join(lines) + "\n"


def comma_separated(content: dict) -> str:
    """Every measure of every row as CSV, a line each."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    header = ["block", "row", "tree", "measure", "seeds", "mean", "sd", "low", "high"]
    for baseline in content["baselines"]:
        header += [f"gain_{baseline}{end}" for end in ("", "_low", "_high")]
    writer.writerow(header)
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
                    writer.writerow(line)
    return buffer.getvalue()
