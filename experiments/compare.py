"""Put runs side by side: ``python -m experiments.compare W1 W2 ... --out=FOLDER``."""

import pathlib
import re

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.report import document
from experiments.report.compare_page import render
from experiments.report.comparison import (
    Run,
    best,
    difference,
    differing_fields,
    load_run,
    term_key,
    warnings,
)
from experiments.report.document import Bullets, Heading, Paragraph, Part, Table
from experiments.report.glossary import FIRST
from hierjax.errors import UserError

_NOTE = (
    "Brackets: 95 % bootstrap interval. Bold: better than every other run by the "
    "paired intervals, query by query; each is at 95 %, so that among many measures "
    "some are marked by chance, and other seeds may order the runs otherwise."
)


def define_flags() -> None:
    """Flags of this command."""
    flags.DEFINE_string("out", "runs/compare", "Folder for tables and page.")
    flags.DEFINE_string("measures", "", "Regular expression; default all measures.")


def main(workdirs: list[str]) -> None:
    """Print the runs side by side and write Markdown, CSV, LaTeX and a page."""
    values = flags.FLAGS
    if len(workdirs) < 2:
        raise UserError(
            "give two or more workdirs of runs, such as runs/first runs/second; found "
            f"{len(workdirs)}"
        )
    paths = [pathlib.Path(text) for text in workdirs]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"a workdir is given twice: {' '.join(workdirs)}")
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = workdirs
    runs = [load_run(path, name) for path, name in zip(paths, names, strict=True)]
    chosen = _chosen_measures(runs, values.measures)
    leaders = {measure: best(runs, measure) for measure in chosen}
    parts = _parts(runs, leaders)
    folder = pathlib.Path(values.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("compare.md", document.markdown(parts)),
            ("compare.tex", document.latex(parts)),
            ("compare.csv", _comma_separated(runs, leaders)),
            ("index.html", render(runs, leaders)),
        ):
            (folder / name).write_text(content, "utf-8")
    except OSError as error:
        raise UserError(
            f"--out={folder} cannot be written: {error.strerror}; choose another folder"
        ) from None
    first = {
        measure: leader
        for measure, leader in leaders.items()
        if term_key(measure) in FIRST and not measure.endswith("/means")
    }
    shown = leaders if values.measures else first
    print(document.markdown(_parts(runs, shown)))
    print(
        f"written, with all {len(leaders)} measures: {folder}/index.html (open it in a "
        "browser), compare.md, .tex and .csv"
    )


def _chosen_measures(runs: list[Run], pattern: str) -> list[str]:
    names = list(dict.fromkeys(name for run in runs for name in run.measures))
    try:
        chosen = [name for name in names if re.search(pattern, name)]
    except re.error as error:
        raise UserError(
            f"--measures={pattern} is no regular expression: {error}"
        ) from None
    if not chosen:
        raise UserError(
            f"--measures={pattern} fits no measure; there are {', '.join(names)}"
        )
    return chosen


def _cell(entry: dict | None, is_best: bool) -> str:
    text = _with_interval(**entry) if entry else "-"
    return f"**{text}**" if is_best else text


def _with_interval(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    sign: str = "",
) -> str:
    """A value with its interval, '-' where undefined."""
    if value is None or np.isnan(value):
        return "-"
    text = f"{value:{sign}.3f}"
    if low is not None and not np.isnan(low):
        text += f" [{low:.3f}, {high:.3f}]"
    return text


def _differences(runs: list[Run], measures: list[str]) -> Table | None:
    """The paired differences from the first run; None where there is none."""
    lines = []
    for measure in measures:
        found = [difference(runs[0], run, measure) for run in runs[1:]]
        if any(interval is not None for interval in found):
            cells = [
                _with_interval(*interval, sign="+") if interval else "-"
                for interval in found
            ]
            lines.append([measure, *cells])
    headings = [f"{run.name} - {runs[0].name}" for run in runs[1:]]
    return Table(["difference", *headings], lines) if lines else None


def _parts(runs: list[Run], leaders: dict[str, int | None]) -> list[Part]:
    parts: list[Part] = [Heading("Comparison of runs")]
    if problems := warnings(runs):
        parts.append(Bullets([f"Warning: {text}" for text in problems]))
    names = [run.name for run in runs]
    lines = [
        [measure]
        + [_cell(run.measures.get(measure), leader == k) for k, run in enumerate(runs)]
        for measure, leader in leaders.items()
    ]
    parts += [Table(["measure", *names], lines), Paragraph(_NOTE)]
    differences = _differences(runs, list(leaders))
    if differences is not None:
        parts += [Heading("Paired differences", 3), differences]
    parts.append(Heading("Fields that differ", 3))
    fields = differing_fields(runs)
    if fields:
        lines = [[field, *map(str, values)] for field, values in fields.items()]
        parts.append(Table(["field", *names], lines))
    else:
        parts.append(Paragraph("None."))
    return parts


def _comma_separated(runs: list[Run], leaders: dict[str, int | None]) -> str:
    header = ["measure", "run", "value", "low", "high", "best"]
    header += [f"difference{end}" for end in ("", "_low", "_high")]
    lines = []
    for measure, leader in leaders.items():
        for k, run in enumerate(runs):
            entry = run.measures.get(measure, {})
            values = [entry.get(key) for key in ("value", "low", "high")]
            found = difference(runs[0], run, measure) if k else None
            lines.append(
                [measure, run.name, *values, int(leader == k)]
                + (list(found) if found else [None] * 3)
            )
    return document.comma_separated(header, lines)


if __name__ == "__main__":
    command_line.run(main, define_flags, arguments=True)
