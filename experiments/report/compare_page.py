"""The self-contained page that shows runs side by side."""

from experiments.report.comparison import (
    Run,
    difference,
    differing_fields,
    term_key,
    warnings,
)
from experiments.report.glossary import TERMS, term_of
from experiments.report.page import axis_of, cell, templates


def render(runs: list[Run], leaders: dict[str, int | None]) -> str:
    """The page as HTML.

    Args:
      runs: two or more; the first is what the others are compared with.
      leaders: the measures to show, each with the place of the run that is better than
        all others, or None.
    """
    keys = dict.fromkeys(map(term_key, leaders))
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
            terms={key: TERMS[key] for key in keys if key in TERMS},
            warnings=warnings(runs),
            fields=differing_fields(runs),
            curves={name: found for name, found in curves.items() if found},
        )
    )


def _groups(runs: list[Run], leaders: dict[str, int | None]) -> list[dict]:
    """The measures in groups of one explanation each, a cell a run."""
    groups: dict[tuple, dict] = {}
    for measure, leader in leaders.items():
        key = term_key(measure)
        part = measure.split("/")[0] if measure.split("/")[0] != key else ""
        part = part if part in ("probes", "classes") else ""
        title = TERMS[key].title if key in TERMS else key
        group = groups.setdefault(
            (part, key),
            {
                "key": key,
                "title": title,
                "part": {"probes": "frozen features", "classes": "classes"}.get(part),
                "axis": axis_of(key),
                "rows": [],
            },
        )
        bare = measure.removeprefix(f"{part}/") if part else measure
        cells = []
        for k, run in enumerate(runs):
            shown = cell(run.measures.get(measure), bare)
            found = difference(runs[0], run, measure) if k else None
            shown["difference"] = (
                cell(
                    {"value": found.mean, "low": found.low, "high": found.high},
                    bare,
                    is_gain=True,
                )
                if found
                else None
            )
            shown["best"] = leader == k
            cells.append(shown)
        label = term_of(bare)[1].replace("_", " ")
        group["rows"].append({"label": label, "cells": cells})
    return list(groups.values())
