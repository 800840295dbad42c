import unicodedata

import numpy as np
import pandas
import pytest

from hierjax.errors import UserError
from hierjax.names import as_names, clean, find_separator, read_cell, split_paths


def test_what_looks_alike_is_one_name():
    decomposed = unicodedata.normalize("NFD", "Épervier")
    assert len(decomposed) == 9
    for text in ("Épervier", decomposed, f"\ufeff{decomposed}\u00a0", " Épervier\r"):
        assert clean(text) == "Épervier"
    assert clean("\u200b") == clean(" \ufeff ") == ""
    assert clean("owl") == "owl" and clean("Owl") == "Owl"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (" owl ", "owl"),
        (np.str_("owl"), "owl"),
        (b"owl", "owl"),
        ("é".encode(), "é"),
        (7, "7"),
        (np.uint64(2**63), str(2**63)),
        (3.0, "3"),
        (np.float32(3), "3"),
        *[(unknown, "") for unknown in (
            None, "", " ", "-1", "-1.0", -1, -1.0, np.int64(-1), float("nan"),
            np.float32("nan"), pandas.NA, pandas.NaT,
        )],
        *[(bad, None) for bad in (True, -2, 1.5, float("inf"), b"\xff", [], 1j)],
    ],
)  # fmt: skip
def test_cells(value, name):
    assert read_cell(value) == name
    if name:
        assert as_names([value], "x") == (name,)
    else:
        with pytest.raises(UserError, match="x has .* at position 0; a name is"):
            as_names([value], "x")


@pytest.mark.parametrize(
    ("cells", "paths"),
    [
        (["a/b", " a / c ", "d", ""], [("a", "b"), ("a", "c"), ("d",), ()]),
        (["a/b/", "/a/c", "//a/d//"], [("a", "b"), ("a", "c"), ("a", "d")]),
        (["a//b/c", "d//e", "f"], [("a", "b/c"), ("d", "e"), ("f",)]),
        (["a > b/c", "d>e"], [("a", "b/c"), ("d", "e")]),
        (["a -> b", "a -> c"], [("a", "b"), ("a", "c")]),
        (["a; b", "a;c;d"], [("a", "b"), ("a", "c", "d")]),
        (["a/b;c", "a/d"], [("a", "b;c"), ("a", "d")]),
        (["/", "a"], [(), ("a",)]),
        (["a", "b"], [("a",), ("b",)]),
        ([], []),
    ],
)
def test_one_separator_for_all_paths(cells, paths):
    assert split_paths(cells) == paths


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a/b", "a//c"], "row 1 has an empty name inside the path 'a//c'; .*write //"),
        (["a/ /b"], "row 0 has an empty name"),
        (["a///b"], "row 0 has an empty name"),
        (["a;;b"], "row 0 has an empty name inside the path 'a;;b'; put a name betwee"),
        (["x", "a>b", "a/c"], "row 1 separates names by '>' .'a>b'. and row 2 by '/'"),
    ],
)
def test_paths_that_do_not_agree(cells, message):
    with pytest.raises(UserError, match=message):
        split_paths(cells)


def test_no_separator():
    assert find_separator(["a", "b"]) is None
    assert find_separator(["a", "b;c"]) == ";"
