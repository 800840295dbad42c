"""Tables as documents and as CSV, from the JSON that `experiments.reproduce` writes."""

import dataclasses
from collections.abc import Iterable

from experiments.papers import class_hierarchies, hierarchical_contrastive, rank_based
from experiments.papers.columns import Column, Style
from experiments.report import document, values
from experiments.report.document import Bullets, Heading, Paragraph, Part, Table
from hierjax.evaluation.names import parse_measure

STYLES = {
    "neighbors": rank_based.STYLE,
    "classes": class_hierarchies.STYLE,
    "probes": hierarchical_contrastive.STYLE,
}
"""How tables look, by what is measured."""

_KEYS = ("value", "sd", "low", "high")
_ENDS = ("value", "low", "high")


def parts(content: dict) -> list[Part]:
    """The whole table: title, command, notes, blocks, and what computed them.

    Args:
      content: of the JSON file, as `formats.read_table` gives it.
    """
    run, style = content["run"], STYLES[content["measured"]]
    words = {
        "scale": run["scale"],
        "settings": run["settings"],
        "trials": sorted(set(content["trials"].values())),
        "needed": f"{content['needed_accuracy']:.0%}",
    }
    texts = [f"`{run['command']}`"]
    texts += [
        text.format(**words)
        for text in style.introduction
        if content["needed_accuracy"] or "{needed}" not in text
    ]
    found = [Heading(content["title"]), *map(Paragraph, texts)]
    found += [Paragraph(content["note"])] if content["note"] else []
    for block in content["blocks"]:
        tables = _block_parts(block, content, style)
        if not tables and not block["absent"]:
            tables = [Paragraph("Not run yet.")]
        absent = "Not run: data absent." if block["absent"] else ""
        notes = [Paragraph(text) for text in (absent, block["note"]) if text]
        found += [Heading(block["name"], 3), *notes, *tables, *_failures(block)]
    environment = ", ".join(f"{k} {v}" for k, v in run["environment"].items())
    computed = (
        f"Computed with {environment}; {run['seconds']:.0f} s of runs, tuning included."
    )
    of_code = [Paragraph(run["code"])] if run.get("code") else []
    return [*found, *_sources(content["blocks"]), Paragraph(computed), *of_code]


def _failures(block: dict) -> list[Bullets]:
    """Rows of which a job failed, each with the first such and why."""
    lines = []
    for name, failed in block.get("failed", {}).items():
        place, why = next(iter(failed.items()))
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        lines.append(f"{name} failed in {place}{more}: {why}")
    return [Bullets(lines)] if lines else []


def _sources(blocks: list[dict]) -> list[Paragraph]:
    """Where published numbers are from; the blocks are named if that differs."""
    by_source: dict[str, list[str]] = {}
    for block in blocks:
        if block["published"]["rows"]:
            by_source.setdefault(block["published"]["source"], []).append(block["name"])
    if len(by_source) == 1:
        return [Paragraph(f"Published: {source}.") for source in by_source]
    return [
        Paragraph(f"Published for {', '.join(names)}: {source}.")
        for source, names in by_source.items()
    ]


def _named(block: dict, measure: str) -> str:
    """A measure at the levels of a block, as it stands before anything was run."""
    if "levels" not in block:
        return measure
    coarse, fine = block["levels"][0], block["levels"][-1]
    return measure.replace("{fine}", fine).replace("{coarse}", coarse)


def _columns(block: dict, columns: Iterable[Column], digits: int) -> list[Column]:
    """The columns with a value in any row, a target's for every target measured.

    Before anything was run: all that do not depend on the data.
    """
    rows = block["rows"].values()
    measured = dict.fromkeys(name for row in rows for name in row["measures"])
    shown = []
    for column in columns:
        wanted = parse_measure(_named(block, column.measure))
        names = [wanted]
        if wanted.level == "{target}":
            every = map(parse_measure, measured)
            names = [x for x in every if x._replace(level=wanted.level) == wanted]
        shown += [
            dataclasses.replace(
                column,
                heading=column.heading.format(target=name.level),
                measure=str(name),
                otherwise=_named(block, column.otherwise),
                digits=digits if column.digits is None else column.digits,
            )
            for name in names
        ]
    return [c for c in shown if not rows or {c.measure, c.otherwise} & measured.keys()]


def _differences(block: dict) -> dict[tuple[str, str], dict]:
    """Measure to difference, by the names of a row and of what it is compared with."""
    return {(c["row"], c["against"]): c["differences"] for c in block["comparisons"]}


def _difference_cells(
    differences: dict, columns: list[Column], style: Style
) -> list[str]:
    return [
        values.difference(
            differences.get(column.measure, differences.get(column.otherwise)),
            style.marks,
        )
        for column in columns
    ]


def _block_parts(block: dict, content: dict, style: Style) -> list[Part]:
    if not block["rows"] and not block["published"]["rows"]:
        return []
    compared = _columns(block, style.compared, style.digits)
    beside = content["baselines"] if style.differences == "beside" else []
    tables = [_rows_table(block, content["row_names"], compared, beside, style)]
    if style.differences == "each baseline":
        tables += _baseline_tables(block, content, compared, style)
    elif style.differences == "pairs" and block["comparisons"]:
        tables.append(_pairs_table(block, content["needed_accuracy"], compared, style))
    return [*tables, Bullets(_remarks(block, style))] if block["rows"] else tables


def _rows_table(
    block: dict,
    names: list[str],
    compared: list[Column],
    beside: list[str],
    style: Style,
) -> Table:
    """A line a row, with its differences from some baselines; what is published."""
    columns = _columns(block, style.columns, style.digits)
    differences, published = _differences(block), block["published"]
    measures = [_named(block, measure) for measure in published["measures"]]

    def line(name: str, row: dict, measures: dict, gains: list[str]) -> list[str]:
        cells = [
            values.with_spread(
                measures.get(c.measure), c.digits, show_interval=c.show_interval
            )
            for c in columns
        ]
        return [name, *[str(row["seeds"])] * style.show_seeds, *cells, *gains]

    lines = []
    for name in names:
        no_gains = [values.UNDEFINED] * len(compared) * len(beside)
        if name in block["rows"]:
            row, gains = block["rows"][name], []
            for base in beside:
                found = differences.get((name, base), {})
                gains += _difference_cells(found, compared, style)
            if "true_tree" in row:
                shown = f"{name}, on the true tree"
                lines.append(line(shown, row, row["true_tree"], gains))
                gains = no_gains
            lines.append(line(name, row, row["measures"], gains))
        if name in published["rows"]:
            found = dict(zip(measures, published["rows"][name], strict=True))
            cells = [values.number(found.get(c.measure), c.digits) for c in columns]
            shown = [
                cell if cell == values.UNDEFINED else f"_{cell}_" for cell in cells
            ]
            lines.append([f"_{name}, published_", *shown, *no_gains])
    headings = ["row", *["seeds"] * style.show_seeds, *(c.heading for c in columns)]
    headings += [f"{c.heading} vs {base}" for base in beside for c in compared]
    return Table(headings, lines)


def _baseline_tables(
    block: dict, content: dict, compared: list[Column], style: Style
) -> list[Table]:
    """A table a baseline, a line a row."""
    differences = _differences(block)
    tables = {
        base: [
            [name, *_difference_cells(differences[name, base], compared, style)]
            for name in content["row_names"]
            if (name, base) in differences
        ]
        for base in content["baselines"]
    }
    headings = [column.heading for column in compared]
    return [
        Table([f"against {base}", *headings], lines)
        for base, lines in tables.items()
        if lines
    ]


def _pairs_table(
    block: dict, needed: float, compared: list[Column], style: Style
) -> Table:
    """A line a comparison, with p over classes and what accuracies allow to say."""
    heading, tested = style.tested
    headings = ["difference", "seeds", *(c.heading for c in compared), heading]
    lines = []
    for pair in block["comparisons"]:
        found = pair["differences"]
        p = [values.number(found.get(name, {}).get("p"), 4) for name in tested]
        cells = _difference_cells(found, compared, style)
        shown = f"{pair['row']} - {pair['against']}"
        lines.append([shown, str(pair["seeds"]), *cells, " / ".join(p)])
        if needed:
            lines[-1].append(_similarity(block, pair, needed))
    return Table(headings + ["similar accuracy"] * bool(needed), lines)


def _similarity(block: dict, pair: dict, needed: float) -> str:
    """Whether two rows are of similar accuracy, if both reach what is needed."""
    proxies, means = (
        _named(block, f"accuracy/{{fine}}/{kind}") for kind in ("proxies", "means")
    )
    both = [block["rows"][pair[key]]["measures"] for key in ("row", "against")]
    lowest = min(found.get(proxies, found[means])["value"] for found in both)
    if lowest < needed:
        return f"not testable at this scale (top-1 {lowest:.2f})"
    accuracy = pair["differences"][proxies]
    differs = accuracy["low"] is None or values.side_of_zero(accuracy) != 0
    return "no: it differs" if differs else "no difference shown"


def _remarks(block: dict, style: Style) -> list[str]:
    """What must be known to read a block's rows."""
    rows, digits = block["rows"], style.digits
    chosen = {name: row["chosen"][0] for name, row in rows.items()}
    if style.chosen_field:
        key = style.chosen_field
        chosen = {name: f"{c[key]:g}" for name, c in chosen.items() if key in c}
    settings = ", ".join(f"{k} {v}" for k, v in block["settings"].items())
    neighbors = {n: row["neighbors"][0] for n, row in rows.items() if row["neighbors"]}
    lines = [_tested_on(block)]
    if style.settings:
        lines.append(style.settings.format(settings=settings))
    if any(neighbors.values()):
        lines.append(f"k in fold 0, coarsest level first: {_listed(neighbors)}.")
    if style.chosen and any(chosen.values()):
        lines.append(style.chosen.format(chosen=_listed(chosen)))
    heading, share = style.shares
    names = {level: share.replace("{level}", level) for level in block["levels"]}
    shares = {
        name: ", ".join(
            f"{level} {values.number(row['measures'][measure]['value'], 2)}"
            for level, measure in names.items()
        )
        for name, row in rows.items()
        if row["measures"].keys() >= set(names.values())
    }
    if shares:
        lines.append(f"{heading}: {_listed(shares)}.")
    lines += [
        f"{name}: {values.with_spread(row['sibling_overlap'], digits)} of the true "
        "pairs of siblings are siblings in the shuffled tree too."
        for name, row in rows.items()
        if "sibling_overlap" in row
    ]
    for name, strata in block.get("by_stratum", {}).items():
        shown = ", ".join(f"{k}: {values.number(v, digits)}" for k, v in strata.items())
        lines.append(f"kNN fine by pitch, {name}: {shown}.")
    for what, key in (
        ("without a training row", "untrained_classes"),
        ("without a query", "untested_classes"),
    ):
        if block[key]:
            found = ", ".join(block[key][:8])
            lines.append(f"{len(block[key])} classes {what}: {found}.")
    return lines


def _listed(of_rows: dict) -> str:
    return "; ".join(f"{name} {shown}" for name, shown in of_rows.items() if shown)


def _tested_on(block: dict) -> str:
    """The tree, and the rows of the splits or the queries."""
    if "queries" not in block:
        levels = zip(block["nodes"], block["levels"], strict=True)
        nodes = ", ".join(f"{count} {level}" for count, level in levels)
        splits = ", ".join(f"{name} {count}" for name, count in block["splits"].items())
        return f"{nodes}; {splits} (seed 0)."
    present = zip(block["nodes_present"], block["nodes"], block["levels"], strict=True)
    nodes = ", ".join(f"{some} of {count} {level}" for some, count, level in present)
    rows = block["rows"].values()
    return (
        f"n = {block['queries']} queries from {block['units']} x {block['unit']} in "
        f"{max(row['folds'] for row in rows)} fold(s); present: {nodes}. Seeds a row: "
        f"{sorted({row['seeds'] for row in rows})}."
    )


def comma_separated(content: dict) -> str:
    """Every measure of every row and every difference as CSV.

    Differences from baselines stand in columns beside the measures, those of pairs of
    rows in lines of their own.
    """
    pairs = STYLES[content["measured"]].differences == "pairs"
    baselines = [] if pairs else content["baselines"]
    header = ["block", "row", "against" if pairs else "tree", "measure", "seeds"]
    header += ["mean", *_KEYS[1:]]
    header += [
        f"gain_{base}{end}" for base in baselines for end in ("", "_low", "_high")
    ]
    lines = []
    for block in content["blocks"]:
        entries = []
        for name, row in block["rows"].items():
            if "true_tree" in row:
                entries.append((name, "shuffled", row["seeds"], row["measures"]))
            on_true = row.get("true_tree", row["measures"])
            entries.append((name, "" if pairs else "true", row["seeds"], on_true))
        if pairs:
            entries += [
                (pair["row"], pair["against"], pair["seeds"], pair["differences"])
                for pair in block["comparisons"]
            ]
        differences = _differences(block)
        for name, second, seeds, measures in entries:
            bases = baselines if second == "true" else ()
            beside = [differences.get((name, base), {}) for base in bases]
            empty = [None] * len(_ENDS) * (len(baselines) - len(bases))
            for measure, entry in measures.items():
                line = [block["name"], name, second, measure, seeds]
                line += map(entry.get, _KEYS)
                for found in beside:
                    line += map(found.get(measure, {}).get, _ENDS)
                lines.append(line + empty)
    return document.comma_separated(header, lines)
