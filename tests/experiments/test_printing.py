"""What reaches a terminal, and what may be in flags."""

import io

import pytest

from experiments import compare, embed, evaluate, train
from experiments.cli.printing import Printable, printable
from experiments.report import document


def test_names_are_shown_and_not_obeyed():
    shown = printable("a\x1b[31mb\u202e\n\tcafé\u2028")
    assert shown == "a\\x1b[31mb\\u202e\n\\tcafé\\u2028"


def test_a_stream_takes_what_its_encoding_cannot_say():
    for encoding, expected in (
        ("ascii", "caf\\xe9 \\u732b \\ud800\n"),
        ("utf-8", "café \u732b \\ud800\n"),
    ):
        raw = io.BytesIO()
        stream = Printable(io.TextIOWrapper(raw, encoding=encoding))
        print("café \u732b \ud800", file=stream, flush=True)
        assert raw.getvalue().decode(encoding) == expected
        assert stream.encoding == encoding


@pytest.mark.parametrize("bad", ["\x00", "\n", "\x1b[31m", "\x7f", "\udcff"])
def test_control_characters_in_flags(fails, tmp_path, bad):
    text = f"a{bad}b"
    fails(train, [f"--set=num_steps={text}"], "--set", "which no name and no value")
    fails(train, [f"--set={text}=1"], "--set", "which no name and no value")
    fails(train, [f"--data_path={text}"], "--data_path", "which no name")
    fails(evaluate, [f"--workdir={text}"], "--workdir", "which no name")
    fails(embed, [f"--out={text}"], "--out", "which no name")


def test_control_characters_in_arguments(run, capsys):
    assert run(compare, "a\x00b", "c", positional=True) == 2
    assert capsys.readouterr().err.startswith("error: 'a\\x00b' holds")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"--seed=\x00\n", b"\x80" * 99])
def test_a_file_of_flags_that_is_none(fails, tmp_path, content):
    path = tmp_path / "flags.txt"
    path.write_bytes(content)
    fails(train, [f"--flagfile={path}", "--dry_run"])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("@sum", "'@sum"),
        ("-2+3", "'-2+3"),
        (" =1", "' =1"),
        ("\t=1", "'\t=1"),
        ("-0.5", "-0.5"),
        ("+3", "+3"),
        ("-", "-"),
        ("owl", "owl"),
        ("", ""),
        (-0.5, "-0.5"),
        (None, ""),
    ],
)
def test_no_cell_is_a_formula(cell, expected):
    text = document.comma_separated(["name", "x"], [[cell, 1]])
    assert text == f"name,x\n{expected},1\n"


def test_a_bar_in_a_cell_of_markdown():
    table = document.Table(["a|b", "c"], [["two\nlines", "x|y"]])
    lines = document.markdown([table]).splitlines()
    assert lines == [r"| a\|b | c |", "| --- | --- |", r"| two lines | x\|y |"]
