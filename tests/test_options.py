"""Options: checked, documented, chosen and set by key, stored and read again."""

import dataclasses

import pytest

from hierjax.errors import UserError
from hierjax.options import (
    Named,
    Options,
    Text,
    changed,
    flat,
    from_plain,
    option,
    path,
    stored,
    to_plain,
)


class Shape(Named):
    """A family of alternatives."""


@dataclasses.dataclass(frozen=True)
class Circle(Shape):
    """Round."""

    name = "circle"
    radius: float = option(1.0, "from the centre.", above=0)


@dataclasses.dataclass(frozen=True)
class Box(Shape):
    """Not round."""

    name = "box"
    width: int = option(2, "in cells.", minimum=1, maximum=9)
    kind: str = option("open", "of lid.", choices=("open", "shut"))


@dataclasses.dataclass(frozen=True)
class Drawing(Options):
    """Two shapes and a title."""

    title: str = option("", "above it.")
    framed: bool = option(False, "with a frame.", before=True)
    first: Shape = option(Circle(), "on the left.")
    second: Shape = option(Box(), "on the right.")


def test_options_document_themselves():
    assert "radius: from the centre." in Circle.__doc__
    assert Circle.summary() == "Round"
    assert list(Shape.kinds) == ["circle", "box"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circle(0.0), "radius must be above 0, got 0.0"),
        (lambda: Circle(float("nan")), "radius must be finite"),
        (lambda: Circle("1"), "radius must be a number, got '1'"),
        (lambda: Circle(True), "radius must be a number, got True"),
        (lambda: Box(0), "width must be at least 1, got 0"),
        (lambda: Box(10), "width must be at most 9, got 10"),
        (lambda: Box(2.0), "width must be of type int, got 2.0"),
        (lambda: Box(kind="ajar"), "kind must be one of open, shut, got 'ajar'"),
        (lambda: Drawing(first="circle"), "first must be one of circle, box"),
    ],
)
def test_each_option_is_checked(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_keys_choose_and_set():
    found = changed(
        Drawing(),
        {"second.radius": Text("3"), "second": "circle", "title": "x", "framed": True},
    )
    assert found == Drawing("x", True, Circle(), Circle(3.0))
    # What is chosen brings its own defaults, or comes with what it is.
    assert changed(found, {"second": "circle"}).second == Circle(1.0)
    assert changed(found, {"second": Box(5)}).second == Box(5)
    # The end of a path is enough where only one option has it.
    assert changed(Drawing(), {"width": Text("4")}).second == Box(4)
    assert changed(Drawing(), {"framed": Text("TRUE")}).framed
    assert path(Drawing(), "kind") == "second.kind"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"radios": 1}, "no field 'radios', did you mean 'radius'"),
        ({"second": "ring"}, "no shape 'ring'; there are circle, box"),
        ({"second": "circle", "radius": 2.0}, "any of first.radius, second.radius"),
        ({"width": Text("wide")}, "width takes a value of type int, got 'wide'"),
        ({"framed": Text("yes")}, "framed takes true or false, got 'yes'"),
        ({"first.width": 1}, "no field 'first.width'"),
    ],
)
def test_keys_that_mean_nothing(overrides, message):
    with pytest.raises(UserError, match=message):
        changed(Drawing(), overrides)


def test_options_are_checked_together():
    # On its own either would be out of place: a box has no radius, a circle no width.
    assert changed(Drawing(), {"first": "box", "first.width": 3}).first == Box(3)


def test_plain_values_and_back():
    drawing = Drawing("x", True, Box(3, "shut"), Circle(2.5))
    plain = to_plain(drawing)
    assert plain["first"] == {"name": "box", "width": 3, "kind": "shut"}
    assert from_plain(Drawing, plain) == drawing
    assert from_plain(Shape, {"name": "circle"}) == Circle()
    assert dict(flat(drawing)) == {
        "title": "x",
        "framed": True,
        "first": "box",
        "first.width": 3,
        "first.kind": "shut",
        "second": "circle",
        "second.radius": 2.5,
    }


def test_silence_of_old_files_means_what_it_meant():
    old = {"title": "x", "first": {"name": "box", "width": 4}}
    found = from_plain(Drawing, stored(Drawing, old))
    assert found == Drawing("x", True, Box(4))


def test_a_cell_may_be_run_again_but_a_name_is_taken():
    again = {"name": "circle", "__module__": __name__, "__qualname__": "Circle"}
    type("Circle", (Shape,), {**again, "__doc__": "Rounder."})
    assert Shape.kinds["circle"].__doc__ == "Rounder."
    Shape.kinds["circle"] = Circle
    with pytest.raises(ValueError, match="'box' is taken by .*Box"):
        type("Other", (Shape,), {"name": "box", "__doc__": "Another."})
