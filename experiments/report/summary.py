"""The few measures of a run that are looked at first, as plain text."""

from collections.abc import Iterable, Sequence

from experiments.report.values import is_known, number, with_interval

_NEIGHBORS = {"untrained": "k-NN", "learned": "k-NN"}
_LEARNED = {"knn": "k-NN", "classifier": "classifier", "probe": "linear probe"}
"""Keys of `baselines.verdicts` to headings."""
_INPUT = {"knn": "k-NN of input", "linear": "linear on input"}


def summarize_run(results: dict) -> str:
    """Accuracies a level beside a blind guess and the input, and how far off mistakes.

    Args:
      results: content of ``results.json``.

    Returns:
      A few lines for a terminal, warnings last.
    """
    columns = accuracies(results)
    own = set(_LEARNED.values())
    known = results.get("known_queries", {})
    rows = [[f"right in {results['split']}", "rows", *columns]]
    for level in results["most_frequent"]:
        cells = (
            with_interval(column.get(level))
            if heading in own
            else number((column.get(level) or {}).get("value"))
            for heading, column in columns.items()
        )
        rows.append([level, str(known.get(level, results["queries"])), *cells])
    blocks = [_aligned(rows)]
    compared = verdicts(results)
    if compared:
        rows = [["beside the input", *compared]]
        for level in results["most_frequent"]:
            entries = (column.get(level) for column in compared.values())
            rows.append([level, *map(_verdict, entries)])
        blocks.append(_aligned(rows))
    blocks.append("\n".join(remarks(results)))
    if found := warnings(results):
        blocks.append("\n".join(f"warning: {line}" for line in found))
    return "\n\n".join(blocks)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    )


def _verdict(entry: dict | None) -> str:
    word = (entry or {}).get("verdict")
    return f"{word} {with_interval(entry, sign='+')}" if word else "-"


def accuracies(results: dict) -> dict[str, dict]:
    """Heading to level to accuracy: a blind guess, the input's, and what was learned.

    Of the input there are neighbours and a linear classifier; of what was learned
    neighbours, and the classifier or the linear probe.
    """
    levels = results["most_frequent"]
    columns = {"blind guess": {name: {"value": levels[name]} for name in levels}}
    parts = {part: entry.get("measures", {}) for part, entry in _parts(results)}
    for part, heading, pattern in (
        ("input", _INPUT["knn"], "knn/{}"),
        ("input_linear", _INPUT["linear"], "linear/{}"),
        *((part, heading, "knn/{}") for part, heading in _NEIGHBORS.items()),
        ("classes", "classifier", "accuracy/{}/proxies"),
        ("probes", "linear probe", "probe/{}/features"),
    ):
        measures = parts.get(part, {})
        column = {name: measures.get(pattern.format(name)) for name in levels}
        if any(column.values()):
            columns[heading] = column
    return columns


def _parts(results: dict) -> Iterable[tuple[str, dict]]:
    return ((key, value) for key, value in results.items() if isinstance(value, dict))


def verdicts(results: dict) -> dict[str, dict]:
    """Heading to level to the difference to the input, with its verdict."""
    return {
        _LEARNED[kind]: by_level
        for kind, by_level in results.get("verdicts", {}).items()
        if by_level
    }


def warnings(results: dict) -> list[str]:
    """Sentences on every level at which the embedding is below its input."""
    columns = accuracies(results)
    lines = []
    for sure in (True, False):
        found = []
        for kind, by_level in results.get("verdicts", {}).items():
            own = _LEARNED[kind]
            for level, entry in by_level.items():
                if entry["verdict"] is None or entry["value"] >= 0:
                    continue
                if (entry["verdict"] == "worse") == sure:
                    other = _INPUT[entry["against"].partition("/")[0]]
                    values = (columns[h][level]["value"] for h in (own, other))
                    shown = " against ".join(map(number, values))
                    found.append(f"{own} at {level} ({shown}, {other})")
        if found:
            chance = "" if sure else ", which may be chance"
            lines.append(
                f"the embedding is below its input{chance}: {', '.join(found)}"
            )
    return lines


def remarks(results: dict) -> list[str]:
    """A sentence on each of the other measures that are looked at first."""
    part = next(name for name in ("learned", "untrained", "input") if name in results)
    measures = results[part]["measures"]
    lines = [
        f"{results['queries']} rows, 95 % intervals. Blind guess: always the most "
        "frequent node of the training rows."
    ]
    chosen = results.get("input_linear", {}).get("chosen")
    if chosen:
        kinds = dict.fromkeys(chosen.values())
        levels = {
            kind: ", ".join(level for level in chosen if chosen[level] == kind)
            for kind in kinds
        }
        by_kind = (f"{kind or 'nothing'} at {where}" for kind, where in levels.items())
        text = next(iter(kinds)) if len(kinds) == 1 else "; ".join(by_kind)
        lines.append(
            f"Input: neighbours among its vectors ({results['input']['form']}); linear "
            f"classifier, chosen on validation: {text}. Verdicts are against the "
            "better of the two, by paired differences."
        )
    if told := results.get("named"):
        shown = ", ".join(
            f"{level} {entry['covered']:.0%} ({number(entry['right'])} of them right)"
            for level, entry in told["levels"].items()
        )
        lines.append(
            f"Named at confidence {told['threshold']:g} by `embed`, backing off: "
            f"{shown}."
        )
    if unlabelled := (told or {}).get("unlabelled"):
        lines.append(
            f"Of {unlabelled['rows']} rows without any label it leaves "
            f"{unlabelled['unnamed']:.0%} unnamed."
        )
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
