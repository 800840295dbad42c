"""The measures of one run as Markdown tables."""

from experiments.report.document import Bullets, Paragraph, Part, Table, markdown
from experiments.report.values import with_interval
from hierjax.evaluation.names import KINDS, parse_measure

COLUMNS = ("input", "learned", "untrained", "gain")
"""Parts of ``results.json`` that have the measures of an embedding."""


def by_kind(measures: dict) -> dict[str, dict]:
    """Kind to measures, named without it; those of no kind under ''."""
    found = {kind: {} for kind in ("", *KINDS)}
    for text, entry in measures.items():
        name = parse_measure(text)
        found[name.kind][str(name._replace(kind=""))] = entry
    return {kind: entries for kind, entries in found.items() if entries}


def columns_of(results: dict) -> dict[str, dict]:
    """Heading to measures of the embedding: its input, what was learned, the gain."""
    return {
        name: results[name].get("measures", results[name])
        for name in COLUMNS
        if name in results
    }


def render(results: dict) -> str:
    """The content of ``results.json`` as Markdown."""
    columns = columns_of(results)
    neighbors = ", ".join(
        f"{name} {results[name]['neighbors']}" for name in columns if name != "gain"
    )
    parts: list[Part] = [
        _table(f"{results['split']}, n = {results['queries']}", columns),
        Paragraph(
            f"k of k-NN a level, coarsest first: {neighbors}. Brackets: 95 % bootstrap "
            f"interval over each {results['bootstrap_unit']}."
        ),
    ]
    if "collapse" in results:
        parts.append(Paragraph(results["collapse"]))
    if "input_linear" in results:
        parts += _input_parts(results)
    if "probes" in results:
        parts += _probe_parts(results["probes"])
    if "classes" in results:
        parts += _class_parts(results["classes"])
    return markdown(parts)


def _input_parts(results: dict) -> list[Part]:
    """The linear classifier of the input, and verdicts on what is beside it."""
    linear = results["input_linear"]
    rows = [
        [name, with_interval(entry), linear["chosen"][name.partition("/")[2]] or "-"]
        for name, entry in linear["measures"].items()
    ]
    parts: list[Part] = [
        Table(["input, linear classifier", "accuracy", "chosen"], rows),
        Paragraph(f"Neighbours of the input: {results['input']['form']}."),
    ]
    rows = [
        [f"{kind}/{level}", entry["verdict"] or "-", *_difference(entry)]
        for kind, by_level in results["verdicts"].items()
        for level, entry in by_level.items()
    ]
    if rows:
        headings = ["beside the input", "verdict", "difference, paired", "against"]
        parts.append(Table(headings, rows))
    return parts


def _difference(entry: dict) -> tuple[str, str]:
    return with_interval(entry, sign="+"), entry["against"]


def _table(title: str, columns: dict[str, dict]) -> Table:
    """Measures in the order in which they occur, a column a heading."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [
        [name, *(with_interval(column.get(name)) for column in columns.values())]
        for name in names
    ]
    return Table([title, *columns], rows)


def _kind_tables(title: str, measures: dict) -> list[Table]:
    """A column a kind of what is measured; what is of no kind stands by itself."""
    kinds = by_kind(measures)
    alone = kinds.pop("", {})
    tables = [_table(title, kinds)] if kinds else []
    return tables + ([_table(f"{title}, embedding", {"value": alone})] if alone else [])


def _probe_parts(probes: dict) -> list[Part]:
    inputs = (
        "inputs augmented anew" if probes["augmented"] else "features computed once"
    )
    note = (
        f"probe: linear, last epoch, on {inputs}; probe_best: best epoch on "
        "validation; nn: nearest training row."
    )
    return [*_kind_tables("frozen features", probes["measures"]), Paragraph(note)]


def _class_parts(classes: dict) -> list[Part]:
    absent = [
        f"{len(names)} classes have {what}: {', '.join(names[:5])}"
        + (", ..." if len(names) > 5 else "")
        for what, names in (
            ("no training row", classes["untrained_classes"]),
            ("no query", classes["untested_classes"]),
        )
        if names
    ]
    tables = _kind_tables("classes", classes["measures"])
    return [*tables, Bullets(absent)] if absent else list(tables)
