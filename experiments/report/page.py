"""The self-contained page of a run: everything in one file, nothing fetched."""

import functools
import importlib.resources
import pathlib
import re
from collections.abc import Iterable, Mapping

import jinja2
import numpy as np

from experiments.papers import PRESETS, default_preset
from experiments.report.glossary import LOWER, TERMS, term_of
from experiments.report.pictures import file_uri, kind_of, row_picture
from experiments.report.points import label_path, map_data, row_name
from experiments.report.summary import accuracies, remarks, verdicts, warnings
from experiments.report.tables import by_kind, columns_of
from experiments.report.unseen import describe_unseen
from experiments.report.values import UNDEFINED, interval, number, side_of_zero
from experiments.runs.findings import Findings
from experiments.settings.experiment import Experiment
from hierjax import evaluation, options
from hierjax.data import Dataset
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
    columns, compared = accuracies(results), verdicts(results)
    rows = [
        {
            "level": name,
            "nodes": hierarchy.nodes_per_level[level],
            "known": results.get("known_queries", {}).get(name, results["queries"]),
            "k": k,
            "cells": [
                cell(column.get(name), "")
                | {"beside": _beside(compared.get(heading, {}).get(name), name)}
                for heading, column in columns.items()
            ],
        }
        for level, (name, k) in enumerate(
            zip(hierarchy.level_names, neighbors, strict=True)
        )
    ]
    said = [*remarks(results), results.get("collapse"), describe_unseen(results)]
    return {
        "headings": list(columns),
        "rows": rows,
        "remarks": filter(None, said),
        "warnings": warnings(results),
    }


def _beside(entry: dict | None, level: str) -> dict | None:
    """A difference to the input, with its verdict in a word; None if there is none."""
    word = (entry or {}).get("verdict")
    if not word:
        return None
    return cell(entry, f"knn/{level}", is_gain=True) | {"word": word}


def _settings(experiment: Experiment, given: Mapping[str, str]) -> dict:
    """Every field beside that of the preset, those that differ first.

    Args:
      experiment: what ran.
      given: flags that it was started with, by name.
    """
    name = given.get("experiment") or default_preset(experiment.dataset)
    preset = PRESETS[name].experiment if name in PRESETS else Experiment()
    values = dict(options.flat(preset))
    # Options of another method differ from the defaults of that method.
    own = options.changed(Experiment(), {"method": experiment.method.name})
    values |= {k: v for k, v in options.flat(own) if k not in values}
    fields = [
        {
            "name": field,
            "value": value,
            "preset": values.get(field, ""),
            "differs": value != values.get(field),
        }
        for field, value in options.flat(experiment)
    ]
    return {
        "preset": name if name in PRESETS else "",
        "fields": sorted(fields, key=lambda field: not field["differs"]),
    }


def _flags(text: str) -> dict[str, str]:
    """Flags of a file as ``--name=value`` lines; of repeated ones the last."""
    pairs = (line.removeprefix("--").partition("=") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


def _shares(findings: Findings, true: np.ndarray, predicted: np.ndarray) -> list[dict]:
    """What predictions have in common with the truth, from all to nothing."""
    hierarchy = findings.dataset.hierarchy
    right, wrong = evaluation.count_by_shared_level(predicted, true, hierarchy)
    total = max(right + int(wrong.sum()), 1)
    names = ["nothing but the root", *(f"same {n}" for n in hierarchy.level_names[:-1])]
    counts = [("right", right), *zip(names[::-1], wrong[::-1].tolist(), strict=True)]
    return [
        {"meaning": meaning, "count": count, "share": count / total}
        for meaning, count in counts
    ]


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


def _neighbors(findings: Findings) -> list[dict]:
    """Queries with the pictures of their nearest rows, by split."""
    dataset, found = findings.dataset, findings.neighbors
    if found is None or not kind_of(findings.given):
        return []

    def shown(row: int, query: int) -> dict:
        return {
            "name": row_name(dataset, row),
            "path": " / ".join(label_path(dataset, row)),
            "picture": row_picture(findings.given, row),
            "likeness": _likeness(dataset, row, query),
        }

    return [
        {
            "split": split,
            "queries": [
                [shown(row, query) for row in (query, *found.nearest[query])]
                for query in queries.tolist()
            ],
        }
        for split, queries in found.queries.items()
    ]


def _likeness(dataset: Dataset, row: int, query: int) -> str:
    """'same' where all known labels of a query are met, 'near' where the first is."""
    labels, wanted = dataset.labels[row], dataset.labels[query]
    known, first = wanted >= 0, _first_split(dataset.hierarchy)
    if not known[first]:
        return ""
    if (labels == wanted)[known].all():
        return "same"
    return "near" if labels[first] == wanted[first] else "other"


def _first_split(hierarchy: Hierarchy) -> int:
    """The coarsest level with several nodes, 0 if there is none."""
    return int(np.argmax(np.array(hierarchy.nodes_per_level) > 1))


def _caption(name: str) -> str:
    """What a picture shows, that of a subtree as that of the whole tree."""
    return _PICTURES[re.sub(r"^subtree_\d+_", "", name)]


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
    flag_file = folder.parent / "flags.txt"
    flags = flag_file.read_text() if flag_file.exists() else ""
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
                name: {"uri": file_uri(folder / f"{name}.png"), "text": _caption(name)}
                for name in drawn
            },
            map=map_data(dataset, measured, findings.embeddings),
            first=_first(results, hierarchy, measured.neighbors),
            shares=_shares(findings, true, predicted),
            num_unknown=int(np.sum(true < 0)),
            num_unpredicted=int(np.sum((predicted < 0) & (true >= 0))),
            num_wrong=int(wrong.sum()),
            confusions=_confusions(findings),
            mistakes=_mistakes(findings),
            neighbors=_neighbors(findings),
            near=hierarchy.level_names[_first_split(hierarchy)],
            kind=kind_of(findings.given),
            settings=_settings(findings.experiment, _flags(flags)),
            flags=flags,
        )
    )
