"""Tables as Markdown, LaTeX and CSV."""

import re

import pytest

from experiments.report import document
from experiments.report.document import Bullets, Heading, Paragraph, Table

PARTS = [
    Heading("A & B_1"),
    Paragraph("Run `python -m x --table=a_b`, 95 % sure ± ↑."),
    Table(
        ["row", "50 % {of} it"],
        [["a_b~c^d", "-0.12 [-0.20, -.04] ↓"], ["_published_", "-"], ["[x]", "**1**"]],
    ),
    Bullets(["$1 #2 \\ <b>|"]),
]


def test_markdown():
    assert document.markdown(PARTS[:3]) == (
        "# A & B_1\n\nRun `python -m x --table=a_b`, 95 % sure ± ↑.\n\n"
        "| row | 50 % {of} it |\n| --- | --- |\n"
        "| a_b~c^d | -0.12 [-0.20, -.04] ↓ |\n| _published_ | - |\n| [x] | **1** |\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        r"\section*{A \& B\_1}",
        r"Run \texttt{python -m x -{}-table=a\_b}, 95 \% sure $\pm$ $\uparrow$.",
        r"\begin{tabular}{lr}",
        r"row & 50 \% \{of\} it \\",
        r"a\_b\textasciitilde{}c\textasciicircum{}d & "
        r"$-$0.12 [$-$0.20, $-$.04] $\downarrow$ \\",
        r"\emph{published} & - \\",
        r"{}[x] & \textbf{1} \\",
        r"\item \$1 \#2 \textbackslash{} \textless{}b\textgreater{}\textbar{}",
    ],
)
def test_latex_is_escaped(line):
    assert line in document.latex(PARTS).splitlines()


def test_latex_braces_and_environments_are_closed():
    text = document.latex(PARTS)
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")
    begun, ended = (re.findall(rf"\\{end}{{(\w+)}}", text) for end in ("begin", "end"))
    assert sorted(begun) == sorted(ended) == ["center", "itemize", "tabular"]


def test_comma_separated():
    assert document.comma_separated(["a", "b"], [[1, None], ['"x"', "y,z"]]) == (
        'a,b\n1,\n"""x""","y,z"\n'
    )
