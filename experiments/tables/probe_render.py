"""Tables of probes, from the JSON that `experiments.reproduce` writes.

Their CSV is that of `experiments.tables.render`.
"""

from experiments.report.document import Bullets, Part, Table
from experiments.tables.render import (
    comma_separated,
    frame,
    gain_cell,
    mean_sd,
    number,
)

__all__ = ["comma_separated", "parts"]

_EXTRAS = {
    "val": "validation",
    "rank": "effective_rank",
    "var 2": "explained_variance",
    "DP": "inferred_levels",
    "guard": "guarded",
}


def _targets(block: dict, measure: str) -> list[str]:
    """Targets for which any row has a measure, coarsest first."""
    names = dict.fromkeys(
        name.removeprefix(f"{measure}/")
        for row in block["rows"].values()
        for name in row["measures"]
        if name.startswith(f"{measure}/")
    )
    return list(names)


def _values_table(block: dict, content: dict) -> Table:
    columns = {f"probe {t}": f"probe/{t}" for t in _targets(block, "probe")}
    columns |= {f"1-NN {t}": f"nn/{t}" for t in _targets(block, "nn")}
    retrieved = _targets(block, "map_at_r")
    columns |= {f"MAP@R {t}": f"map_at_r/{t}" for t in retrieved}
    columns |= {f"sil {t}": f"silhouette/{t}" for t in _targets(block, "silhouette")}
    columns |= _EXTRAS
    lines = []
    for name in content["row_names"]:
        if name in block["rows"]:
            measures = block["rows"][name]["measures"]
            digits = {m: 1 if m == "effective_rank" else 3 for m in columns.values()}
            cells = [
                mean_sd(measures[m], digits[m]) if m in measures else "-"
                for m in columns.values()
            ]
            lines.append([name, *cells])
    return Table(["row", *columns], lines)


def _gains_table(block: dict, content: dict, baseline: str) -> Table:
    columns = {f"probe {t}": f"probe/{t}" for t in _targets(block, "probe")}
    columns |= {f"1-NN {t}": f"nn/{t}" for t in _targets(block, "nn")}
    lines = []
    for name in content["row_names"]:
        gain = block["rows"].get(name, {}).get("gain", {}).get(baseline)
        if gain is not None:
            cells = [gain_cell(gain.get(measure)) for measure in columns.values()]
            lines.append([name, *cells])
    return Table([f"against {baseline}", *columns], lines)


def _remarks(block: dict) -> list[str]:
    rows = block["rows"]
    levels = ", ".join(
        f"{present} of {nodes} {level}"
        for level, nodes, present in zip(
            block["levels"], block["nodes"], block["nodes_present"], strict=True
        )
    )
    folds = max(row["folds"] for row in rows.values())
    seeds = sorted({row["seeds"] for row in rows.values()})
    settings = ", ".join(f"{k} {v}" for k, v in block["settings"].items())
    chosen = "; ".join(
        f"{name} {row['chosen'][0]['learning_rate']:g}"
        for name, row in rows.items()
        if "learning_rate" in row["chosen"][0]
    )
    shares = "; ".join(
        f"{name} "
        + ", ".join(
            f"{level} {number(row['measures'][f'mask_share/{level}']['mean'])}"
            for level in block["levels"]
        )
        for name, row in rows.items()
        if f"mask_share/{block['levels'][0]}" in row["measures"]
    )
    lines = [
        f"n = {block['queries']} queries from {block['units']} x {block['unit']} in "
        f"{folds} fold(s); present: {levels}. Seeds a row: {seeds}.",
        f"The same for all rows: {settings}.",
    ]
    if chosen:
        lines.append(f"Learning rate chosen on validation (fold 0): {chosen}.")
    if shares:
        lines.append(f"Mean mask a level: {shares}.")
    return lines


def _block_parts(block: dict, content: dict) -> list[Part]:
    if not block["rows"]:
        return []
    gains = [
        _gains_table(block, content, baseline)
        for baseline in content["baselines"]
        if any(baseline in row["gain"] for row in block["rows"].values())
    ]
    return [_values_table(block, content), *gains, Bullets(_remarks(block))]


def parts(content: dict) -> list[Part]:
    """The whole table."""
    trials = sorted(set(content["trials"].values()))
    introduction = [
        f"Scale {content['run']['scale']}. Frozen features before the projection "
        "head. probe: "
        "linear classifier, last epoch, its learning rate chosen on validation; 1-NN: "
        "nearest training row by cosine; MAP@R: retrieval among the test rows; sil: "
        "silhouette of the test rows; rank: effective rank of their features; var 2: "
        "share of variance in two principal components; DP: number of groups that a "
        "Dirichlet-process mixture finds among the dimensions of the mean projection; "
        "guard: share of rows whose mixture left a level too few dimensions; val: the "
        "selection measure, nearest training row on validation. Mean ± standard "
        f"deviation over seeds. Trials a row, chosen on validation: {trials}.",
        "Differences are paired on the same queries; brackets: 95 % bootstrap interval "
        "over seeds and units, given the test set (↑ better, ↓ worse, = the interval "
        "includes 0). Many comparisons stand side by side: single arrows are weak "
        "evidence.",
    ]
    return frame(content, introduction, _block_parts)
