"""The self-contained page that shows runs side by side."""

from experiments.report.comparison import (
    Run,
    difference,
    differing_fields,
    warnings,
)
from experiments.report.glossary import TERMS, term_of
from experiments.report.page import axis_of, cell, templates, used_terms
from hierjax.evaluation.names import parse_measure

_PARTS = {
    "features": "frozen features",
    "projections": "frozen features",
    "proxies": "classes",
    "means": "classes",
}


def render(runs: list[Run], leaders: dict[str, int | None]) -> str:
    """The page as HTML.

    Args:
      runs: two or more; the first is what the others are compared with.
      leaders: the measures to show, each with the place of the run that is better than
        all others, or None.
    """
    curves = {
        run.name: {
            name: [[r["step"], r[name]] for r in run.records if r.get(name) is not None]
            for name in dict.fromkeys(key for r in run.records for key in r)
            if name != "step"
        }
        for run in runs
    }
    return (
        templates()
        .get_template("compare.html")
        .render(
            title="Comparison of runs",
            names=[run.name for run in runs],
            groups=_groups(runs, leaders),
            terms=used_terms(leaders),
            warnings=warnings(runs),
            fields=differing_fields(runs),
            curves={name: found for name, found in curves.items() if found},
        )
    )


def _groups(runs: list[Run], leaders: dict[str, int | None]) -> list[dict]:
    """The measures in groups of one explanation each, a cell a run."""
    groups: dict[tuple, dict] = {}
    for measure, leader in leaders.items():
        key, label = term_of(measure)
        part = _PARTS.get(parse_measure(measure).kind)
        group = groups.setdefault(
            (part, key),
            {
                "key": key,
                "title": TERMS[key].title if key in TERMS else key,
                "part": part,
                "axis": axis_of(key),
                "rows": [],
            },
        )
        cells = []
        for k, run in enumerate(runs):
            found = difference(runs[0], run, measure) if k else None
            shown = cell(run.measures.get(measure), measure)
            shown["difference"] = cell(found, measure, is_gain=True) if found else None
            shown["best"] = leader == k
            cells.append(shown)
        group["rows"].append({"label": label, "cells": cells})
    return list(groups.values())
