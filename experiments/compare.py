"""Put runs side by side: ``python -m experiments.compare W1 W2 ... --out=FOLDER``."""

import pathlib
import re

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
    warnings,
)
from experiments.report.document import Bullets, Heading, Paragraph, Part, Table
from experiments.report.glossary import FIRST, term_of
from experiments.report.values import with_interval
from experiments.settings import notices
from hierjax.errors import UserError

_NOTE = (
    "Brackets: 95 % bootstrap interval. Bold: better than every other run by the "
    "paired intervals, query by query; each is at 95 %, so that among many measures "
    "some are marked by chance, and other seeds may order the runs otherwise."
)

_ENDS = ("value", "low", "high")


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
    with notices.printed():
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
        if term_of(measure)[0] in FIRST and not measure.endswith("/means")
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
    text = with_interval(entry)
    return f"**{text}**" if is_best else text


def _differences(runs: list[Run], measures: list[str]) -> Table | None:
    """The paired differences from the first run; None where there is none."""
    lines = []
    for measure in measures:
        found = [difference(runs[0], run, measure) for run in runs[1:]]
        if any(entry is not None for entry in found):
            cells = [with_interval(entry, sign="+") for entry in found]
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
    header = ["measure", "run", *_ENDS, "best"]
    header += [f"difference{end}" for end in ("", "_low", "_high")]
    lines = []
    for measure, leader in leaders.items():
        for k, run in enumerate(runs):
            found = difference(runs[0], run, measure) if k else None
            entry, against = run.measures.get(measure, {}), found or {}
            line = [measure, run.name, *map(entry.get, _ENDS), int(leader == k)]
            lines.append([*line, *map(against.get, _ENDS)])
    return document.comma_separated(header, lines)


if __name__ == "__main__":
    command_line.run(main, define_flags, arguments=True)
