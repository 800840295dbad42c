"""Tables as Markdown and CSV, from the JSON that `experiments.reproduce` writes."""

import csv
import io

from experiments import published


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _mean_sd(entry: dict) -> str:
    text = _number(entry["mean"])
    return text if entry["sd"] is None else f"{text} ± {_number(entry['sd'])}"


def _range(entry: dict | None) -> str:
    if entry is None or entry["value"] is None:
        return "-"
    sign = "+" if entry["value"] >= 0 else ""
    return (
        f"{sign}{_number(entry['value'])} "
        f"[{_number(entry['low'])}, {_number(entry['high'])}]"
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


def _row_line(name: str, row: dict, baselines: list[str]) -> str:
    columns = _columns(row["levels"])
    cells = [_mean_sd(row["measures"][measure]) for measure in columns.values()]
    cells.append(_mean_sd(row["measures"]["mistake_distance/hops"]))
    for baseline in baselines:
        gain = row["gain"].get(baseline, {})
        cells += [_range(gain.get(columns[heading])) for heading in _GAINS]
    return f"| {name} | " + " | ".join(cells) + " |"


def _published_line(name: str, values: list[float], num_gains: int) -> str:
    cells = [f"_{_number(value)}_" for value in values] + ["-"] * (1 + num_gains)
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
    for name in content["row_names"]:
        if name in block["rows"]:
            row = block["rows"][name]
            if "true_tree" in row:
                lines.append(_row_line(name, row | {"gain": {}}, baselines))
                row = row | {"measures": row["true_tree"]}
                name = f"{name}, on the true tree"
            lines.append(_row_line(name, row, baselines))
        name = name.partition(",")[0]
        if name in block["published"]:
            lines.append(_published_line(name, block["published"][name], num_gains))
    lines.append("")
    for name, row in block["rows"].items():
        if name == content["row_names"][0]:
            lines.append(
                f"n = {row['queries']} queries, {row['units']} x {row['unit']}, "
                f"{row['folds']} fold(s), levels {' -> '.join(row['levels'])}."
            )
        if "sibling_overlap" in row:
            lines.append(
                f"{name}: {_mean_sd(row['sibling_overlap'])} of the true pairs of "
                "siblings are siblings in the shuffled tree too."
            )
    seeds = {name: row["seeds"] for name, row in block["rows"].items()}
    if seeds:
        neighbors = "; ".join(
            f"{name} {row['neighbors'][0]}" for name, row in block["rows"].items()
        )
        lines.append(f"Seeds a row: {sorted(set(seeds.values()))}. k (fold 0, coarsest")
        lines[-1] += f" level first): {neighbors}."
    return lines + [""]


def markdown(content: dict) -> str:
    """The whole table as Markdown."""
    run = content["run"]
    trials = sorted(set(content["trials"].values()))
    lines = [
        f"# {content['title']}",
        "",
        f"`{run['command']}`",
        "",
        f"Scale {run['scale']}: {run['settings']}. Trials a row, chosen on validation: "
        f"{trials}. Mean ± standard deviation over seeds; brackets: 95 % bootstrap "
        "interval over units of the paired gain on the same queries, averaged over "
        "seeds. Silhouettes with cosine distance; the distance of k-NN for init is "
        "chosen on validation.",
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
    header = ["block", "row", "measure", "seeds", "mean", "sd", "low", "high"]
    for baseline in content["baselines"]:
        header += [f"gain_{baseline}{end}" for end in ("", "_low", "_high")]
    writer.writerow(header)
    for block in content["blocks"]:
        for name, row in block["rows"].items():
            for measure, entry in row["measures"].items():
                line = [block["name"], name, measure, row["seeds"], entry["mean"]]
                line += [entry["sd"], entry.get("low"), entry.get("high")]
                for baseline in content["baselines"]:
                    gain = row["gain"].get(baseline, {}).get(measure, {})
                    line += [gain.get(key) for key in ("value", "low", "high")]
                writer.writerow(line)
    return buffer.getvalue()
