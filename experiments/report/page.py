"""The self-contained page of a run: everything in one file, nothing fetched."""

import functools
import importlib.resources
import pathlib
from collections.abc import Iterable

import jinja2
import numpy as np

from experiments.report.glossary import LOWER, TERMS, term_of
from experiments.report.pictures import file_uri, kind_of, row_picture
from experiments.report.points import label_path, map_data, row_name
from experiments.report.summary import accuracies, remarks
from experiments.report.tables import by_kind, columns_of
from experiments.report.values import UNDEFINED, interval, number, side_of_zero
from experiments.runs.findings import Findings
from experiments.settings.experiment import Experiment
from hierjax import evaluation, options
from hierjax.hierarchy import Hierarchy

NUM_MISTAKES = 24
NUM_CONFUSIONS = 15
_PICTURES = {
    "training_curves": "Loss and validation measures over the steps",
    "embeddings": "The embedding, coloured by every level",
    "embeddings_3d": "The embedding in three dimensions, coloured by every level",
    "dendrograms": "Learned tree of the class means beside the true tree",
    "class_distances": "Distances between class means, in tree order",
    "dendrograms_proxies": "Learned tree of the proxies beside the true tree",
    "class_distances_proxies": "Distances between proxies, in tree order",
    "level_masks": "Mean mask of every level over the dimensions",
}


@functools.cache
def templates() -> jinja2.Environment:
    """The templates of all pages; what they are given is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["plotly"] = _plotly
    return environment


def _plotly() -> str:
    """The library that draws the interactive plots, as JavaScript."""
    path = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return path.read_text("utf-8").replace("</script", "<\\/script")


def used_terms(measures: Iterable[str]) -> dict:
    """The explanations of the measures that occur, by key."""
    keys = dict.fromkeys(term_of(measure)[0] for measure in measures)
    return {key: TERMS[key] for key in keys if key in TERMS}


def verdict(entry: dict | None, measure: str) -> str:
    """'better' or 'worse' for a difference whose interval leaves out 0, else ''."""
    side = side_of_zero(entry)
    term = TERMS.get(term_of(measure)[0]) if side else None
    if term is None or not term.better:
        return ""
    return "better" if (side > 0) != (term.better == LOWER) else "worse"


def cell(entry: dict | None, measure: str, *, is_gain: bool = False) -> dict:
    """A value of a table with its interval and how to show it."""
    entry = entry or {"value": None}
    value, bounds = entry["value"], interval(entry)
    shown = number(value, sign="+" if is_gain else "")
    low, high = (entry["low"], entry["high"]) if bounds else (value, value)
    return {
        "value": shown,
        "interval": bounds,
        "verdict": verdict(entry, measure) if is_gain else "",
        "whisker": None if shown == UNDEFINED else [low, value, high],
    }


def axis_of(key: str) -> list[float] | None:
    """Ends of the axis on which a measure's intervals are drawn."""
    term = TERMS.get(key)
    for start in (0, -1):
        if term is not None and term.range.startswith(f"{start} to 1"):
            return [start, 1]
    return None


def grouped(columns: dict[str, dict]) -> list[dict]:
    """Measures in groups of one explanation each.

    Args:
      columns: heading to ``{measure: entry}``; the heading 'gain' has differences.
    """
    groups: dict[str, dict] = {}
    for measure in dict.fromkeys(
        name for column in columns.values() for name in column
    ):
        key, rest = term_of(measure)
        group = groups.setdefault(
            key,
            {
                "key": key,
                "title": TERMS[key].title if key in TERMS else key,
                "axis": axis_of(key),
                "rows": [],
            },
        )
        cells = {
            heading: cell(column.get(measure), measure, is_gain=heading == "gain")
            for heading, column in columns.items()
        }
        group["rows"].append({"label": rest, "cells": cells})
    return list(groups.values())


def _tables(results: dict) -> list[dict]:
    shown = grouped(columns_of(results))
    tables = [{"title": "Neighbours and clusters", "groups": shown}]
    for part, title in (("probes", "Frozen features"), ("classes", "Classes")):
        kinds = by_kind(results.get(part, {}).get("measures", {}))
        alone = kinds.pop("", None)
        if kinds:
            tables.append({"title": title, "groups": grouped(kinds)})
        if alone:
            shown = grouped({"value": alone})
            tables.append({"title": f"{title} in the embedding", "groups": shown})
    for table in tables:
        table["headings"] = list(table["groups"][0]["rows"][0]["cells"])
    return tables


def _first(results: dict, hierarchy: Hierarchy, neighbors: Iterable[int]) -> dict:
    """What is looked at first: accuracies a level, and a few remarks."""
    columns = accuracies(results)
    rows = [
        {
            "level": name,
            "nodes": hierarchy.nodes_per_level[level],
            "k": k,
            "cells": [cell(column.get(name), "") for column in columns.values()],
        }
        for level, (name, k) in enumerate(
            zip(hierarchy.level_names, neighbors, strict=True)
        )
    ]
    return {"headings": list(columns), "rows": rows, "remarks": remarks(results)}


def _settings(experiment: Experiment) -> list[dict]:
    """Every field with its default, those that differ first."""
    defaults = dict(options.flat(Experiment()))
    # Options of another method differ from the defaults of that method.
    own = options.changed(Experiment(), {"method": experiment.method.name})
    defaults |= {k: v for k, v in options.flat(own) if k not in defaults}
    fields = [
        {
            "name": name,
            "value": value,
            "default": defaults.get(name, ""),
            "differs": value != defaults.get(name),
        }
        for name, value in options.flat(experiment)
    ]
    return sorted(fields, key=lambda field: not field["differs"])


def _heights(findings: Findings, true: np.ndarray, predicted: np.ndarray) -> list[dict]:
    hierarchy = findings.dataset.hierarchy
    counts = evaluation.count_by_height(predicted, true, hierarchy)
    total = max(int(counts.sum()), 1)
    return [
        {
            "height": height,
            "meaning": _meaning(hierarchy, height),
            "count": int(count),
            "share": count / total,
        }
        for height, count in enumerate(counts)
    ]


def _meaning(hierarchy: Hierarchy, height: int) -> str:
    """What the truth and a prediction have in common at a height."""
    if height == 0:
        return "right"
    if height == hierarchy.num_levels:
        return "nothing but the root in common"
    if (hierarchy.depths == hierarchy.num_levels).all():
        return f"same {hierarchy.level_names[hierarchy.num_levels - 1 - height]}"
    return f"common ancestor {height} above the deepest class below it"


def _confusions(findings: Findings) -> list[dict]:
    measured, hierarchy = findings.measured, findings.dataset.hierarchy
    labels = findings.dataset.labels[measured.rows]
    found = []
    for level, name in enumerate(hierarchy.level_names):
        nodes = hierarchy.node_names(level)
        pairs = evaluation.largest_confusions(
            measured.predictions[:, level], labels[:, level], NUM_CONFUSIONS
        )
        rows = [
            {
                "true": nodes[pair.true],
                "predicted": nodes[pair.predicted],
                "count": pair.count,
                "queries": pair.queries,
            }
            for pair in pairs
        ]
        found.append({"level": name, "rows": rows})
    return found


def _path(hierarchy: Hierarchy, class_id: int) -> str:
    return " / ".join(hierarchy.paths[class_id])


def _mistakes(findings: Findings) -> list[dict]:
    measured, dataset = findings.measured, findings.dataset
    hierarchy = dataset.hierarchy
    true, predicted = dataset.labels[measured.rows, -1], measured.predictions[:, -1]
    confidence, k = measured.confidence[:, -1], measured.neighbors[-1]
    hops = hierarchy.path_length()
    return [
        {
            "name": row_name(dataset, measured.rows[query]),
            "true": _path(hierarchy, true[query]),
            "predicted": _path(hierarchy, predicted[query]),
            "hops": int(hops[true[query], predicted[query]]),
            "votes": f"{round(confidence[query] * k)} of {k}",
            "picture": row_picture(findings.given, measured.rows[query]),
            "nearest": row_name(dataset, measured.nearest[query]),
            "nearest_path": " / ".join(label_path(dataset, measured.nearest[query])),
            "nearest_picture": row_picture(findings.given, measured.nearest[query]),
        }
        for query in evaluation.worst_mistakes(
            predicted,
            true,
            confidence,
            measured.nearest_distance,
            hierarchy,
            NUM_MISTAKES,
        )
    ]


def render(folder: pathlib.Path, findings: Findings, drawn: Iterable[str]) -> str:
    """The page as HTML.

    Args:
      folder: ``report`` of the run, where the pictures are.
      findings: what to show.
      drawn: names of the pictures in ``folder``, without ``.png``.
    """
    results, dataset = findings.results, findings.dataset
    measured, hierarchy = findings.measured, dataset.hierarchy
    true, predicted = dataset.labels[measured.rows, -1], measured.predictions[:, -1]
    tables = _tables(results)
    measures = [name for column in columns_of(results).values() for name in column]
    for part in ("probes", "classes"):
        measures += results.get(part, {}).get("measures", {})
    flags = folder.parent / "flags.txt"
    wrong = (predicted >= 0) & (true >= 0) & (predicted != true)
    return (
        templates()
        .get_template("run.html")
        .render(
            title=folder.resolve().parent.name,
            experiment=findings.experiment,
            results=results,
            dataset=dataset,
            hierarchy=hierarchy,
            split=findings.split,
            tables=tables,
            terms=used_terms(measures),
            pictures={
                name: {"uri": file_uri(folder / f"{name}.png"), "text": _PICTURES[name]}
                for name in drawn
            },
            map=map_data(dataset, measured, findings.embeddings),
            first=_first(results, hierarchy, measured.neighbors),
            heights=_heights(findings, true, predicted),
            num_unknown=int(np.sum(true < 0)),
            num_unpredicted=int(np.sum((predicted < 0) & (true >= 0))),
            num_wrong=int(wrong.sum()),
            confusions=_confusions(findings),
            mistakes=_mistakes(findings),
            kind=kind_of(findings.given),
            settings=_settings(findings.experiment),
            flags=flags.read_text() if flags.exists() else "",
        )
    )
