"""Names of classes and levels that matplotlib would take for something else."""

import io
import warnings

import numpy as np
import pytest
from matplotlib.text import Text

from hierjax import Hierarchy, plotting
from hierjax.plotting.style import legend_dot, literal, text_width

NAMES = [
    "$x^{$",
    "$",
    "a$b$c",
    r"a\$b",
    r"\frac{",
    "_hidden",
    "100 %",
    "x^2_3",
    "two\nlines",
    "\u202eright to left\u200f",
    "\U0001f989 owl",
    "\u732b",
    "n" * 500,
    "=1+1",
    "<b>&amp;</b>",
    "\x1b[31mred",
]
TREE = Hierarchy.from_paths(
    [(f"group {k % 4} $x^{{$", name) for k, name in enumerate(NAMES)],
    level_names=["$level_{$", "_fine"],
)
RNG = np.random.default_rng(0)
MEANS = RNG.normal(size=(len(NAMES), 5)).astype(np.float32)
ROWS = np.repeat(np.arange(len(NAMES)), 2)
LABELS = TREE.labels_of(ROWS)
POINTS = RNG.normal(size=(len(ROWS), 5)).astype(np.float32)
RECORDS = [{"step": s, "loss": 1 / s, "validation/nn/$level_{$": 0.5} for s in (1, 2)]
PICTURES = {
    "dendrograms": lambda: plotting.dendrograms(MEANS, TREE),
    "distances": lambda: plotting.class_distances(MEANS, TREE),
    "map": lambda: plotting.embedding_map(POINTS, LABELS, TREE),
    "space": lambda: plotting.embedding_space(POINTS, LABELS, TREE),
    "masks": lambda: plotting.mask_heatmap(np.ones((2, 4)), TREE.level_names),
    "curves": lambda: plotting.training_curves(RECORDS),
    "projections": lambda: plotting.tsne_grid(
        {"PCA": POINTS[:, :2]},
        {"$level_{$": LABELS[:, 0]},
        label_names={"$level_{$": TREE.node_names(0)},
    ),
    "examples": lambda: plotting.example_grid(
        np.zeros((6, 4, 4)), [f"{name}\nsecond line" for name in NAMES[:6]]
    ),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_every_picture_is_drawn(picture):
    figure = PICTURES[picture]()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(io.BytesIO(), dpi=30)
    assert max(figure.get_size_inches()) < 40
    written = [text.get_text() for text in figure.findobj(Text)]
    shown = [text for text in written if r"\$" in text]
    assert shown, written
    # Nothing is left of what would begin a formula.
    assert not any(text.replace(r"\$", "").count("$") for text in written)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("$x^{$", r"\$x^{\$"),
        ("", ""),
        (" two\n\tlines ", "two lines"),
        ("a\u200fb\x1b\x00c\u00a0d", "abc d"),
        ("n" * 60, "n" * 60),
        ("a" * 40 + "b" * 100, "a" * 40 + "…" + "b" * 19),
    ],
)
def test_literal(name, expected):
    assert literal(name) == expected


def test_a_dollar_is_as_wide_as_it_is_written():
    assert text_width(literal("$"), 9) == pytest.approx(text_width("$", 9))


def test_an_underscore_does_not_hide_a_mark():
    assert legend_dot("_a", "red", "red").get_label() == " _a"
