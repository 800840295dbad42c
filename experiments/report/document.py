r"""Tables with text around them, written as Markdown and as LaTeX.

Text is plain but for two marks: `code` in backticks, and a whole cell between
underscores, which is in italics.

The LaTeX is to be read with ``\input``; it needs booktabs and graphicx, and shrinks
tables that are wider than a line. Unicode beyond that of a table's own signs is left as
it is, for engines with UTF-8.
"""

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 1


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of remarks."""

    items: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; its first column names the rows."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


Part = Heading | Paragraph | Bullets | Table


def markdown(parts: Iterable[Part]) -> str:
    """The document as Markdown."""
    return "\n\n".join(_markdown_part(part) for part in parts) + "\n"


def _markdown_part(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(headings, rows):
            rule = "| --- " * len(headings) + "|"
            lines = [
                "| " + " | ".join(map(_markdown_cell, cells)) + " |"
                for cells in (headings, *rows)
            ]
            return "\n".join([lines[0], rule, *lines[1:]])


def _markdown_cell(text: str) -> str:
    """One line, in which a bar begins no further cell."""
    return " ".join(text.splitlines()).replace("|", r"\|")


_SECTIONS = {1: "section", 2: "subsection", 3: "subsubsection"}
_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "–": "--",
    "…": r"\dots{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_NUMBER = re.compile(r"[+-](\d+(\.\d+)?)?$")
_SIGN = re.compile("|".join(map(re.escape, _SIGNS)))


def latex(parts: Iterable[Part]) -> str:
    """The document as LaTeX, a fragment without preamble."""
    preamble = r"% \usepackage{booktabs,graphicx}"
    return "\n\n".join([preamble, *map(_latex_part, parts)]) + "\n"


def _latex_part(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"\\{_SECTIONS[level]}*{{{_latex_text(text)}}}"
        case Paragraph(text):
            return _latex_text(text)
        case Bullets(items):
            lines = [f"\\item {_latex_text(item)}" for item in items]
            return "\n".join([r"\begin{itemize}", *lines, r"\end{itemize}"])
        case Table(headings, rows):
            return _latex_table(headings, rows)


def _latex_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first, *others = (
        " & ".join(map(_latex_cell, cells)) + r" \\" for cells in (headings, *rows)
    )
    return "\n".join(
        [
            r"\begin{center}\small",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"\\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
            r"\toprule",
            first,
            r"\midrule",
            *others,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{center}",
        ]
    )


def _latex_cell(text: str) -> str:
    for mark, command in (("**", "textbf"), ("_", "emph")):
        inner = text.removeprefix(mark).removesuffix(mark)
        if len(text) - len(inner) == 2 * len(mark):
            return f"\\{command}{{{_latex_cell(inner)}}}"
    escaped = _latex_text(text)
    # A bracket after \\ would be its argument, and a hyphen is no minus sign.
    escaped = re.sub(r"(?<![\w.])-(?=[\d.])", "$-$", escaped)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def _latex_text(text: str) -> str:
    """Escaped text; what stands in backticks is in typewriter."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        pieces = [text]
    return "".join(
        f"\\texttt{{{_typewriter(piece)}}}" if index % 2 else _escape(piece)
        for index, piece in enumerate(pieces)
    )


def _escape(text: str) -> str:
    return _SIGN.sub(lambda sign: _SIGNS[sign[0]], text)


def _typewriter(text: str) -> str:
    """Two hyphens stay two, and a long command may be broken at its spaces."""
    return _escape(text).replace("--", "-{}-")


def comma_separated(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Lines of CSV; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for cells in (header, *rows):
        writer.writerow([as_text(x) if isinstance(x, str) else x for x in cells])
    return buffer.getvalue()


def as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    formula = cell.lstrip().startswith(("=", "+", "-", "@")) and not _NUMBER.match(
        cell.strip()
    )
    return f"'{cell}" if formula else cell
