"""Options declared once: a field that says its range and what it is for.

`Options` are frozen dataclasses whose fields are made by `option`; they check
themselves and document themselves. `Named` options come in families of alternatives,
each known by its name (a method, a kind of proxies), and may hold further ones, so that
``representatives=ema`` chooses and ``representatives.decay=0.1`` sets. As plain values
they are what a run stores: `to_plain` and `from_plain`.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from hierjax.errors import UserError

__all__ = [
    "Named",
    "Options",
    "Text",
    "changed",
    "find",
    "flat",
    "from_plain",
    "limits_of",
    "option",
    "path",
    "stored",
    "to_plain",
]

_KEY = "option"


class Limits(NamedTuple):
    """What `option` says of a field besides its default.

    Attributes:
      help: one line.
      minimum: least value.
      above: what a value must exceed.
      maximum: greatest value.
      below: what a value must stay below.
      choices: accepted words; empty: any.
      before: what files meant that were written before there was this option; None:
        the default.
    """

    help: str
    minimum: float | None
    above: float | None
    maximum: float | None
    below: float | None
    choices: tuple[str, ...]
    before: Any


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    before: Any = None,
) -> Any:
    """A field of an `Options` class: its default, its range and what it is for.

    Args:
      default: value of the field's type.
      help: one line, without the name; shown by ``--help`` and in the documentation.
      minimum: least value of a number.
      above: what a number must exceed.
      maximum: greatest value of a number.
      below: what a number must stay below.
      choices: words that are accepted; empty: any.
      before: what files meant that were written before there was this option; None:
        the default.
    """
    limits = Limits(help, minimum, above, maximum, below, choices, before)
    return dataclasses.field(default=default, metadata={_KEY: limits})


class Options:
    """Base of dataclasses whose fields are options, checked when one is made.

    Subclasses are decorated with ``@dataclasses.dataclass(frozen=True)``; the help of
    their options is added to their docstring. A subclass that checks more calls
    ``super().__post_init__()`` first.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = {
            name: value.metadata[_KEY].help
            for name, value in vars(cls).items()
            if isinstance(value, dataclasses.Field) and _KEY in value.metadata
        }
        if own and cls.__doc__:
            lines = "".join(f"\n      {name}: {text}" for name, text in own.items())
            cls.__doc__ = f"{cls.__doc__.rstrip()}\n\n    Attributes:{lines}\n    "

    def __post_init__(self):
        """Check every option on its own.

        Raises:
          UserError: a value of another type, not finite, out of range or not among the
            choices.
        """
        for field in dataclasses.fields(self):
            if _KEY in field.metadata:
                _check(field, getattr(self, field.name))


class Named(Options):
    """Options that are one of several alternatives, known by a name.

    A direct subclass begins a family; its own subclasses that have a ``name`` belong to
    it from the moment they are defined, wherever that is.
    """

    name: ClassVar[str]
    kinds: ClassVar[dict[str, type["Named"]]]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if Named in cls.__bases__:
            cls.kinds = {}
        elif "name" in vars(cls):
            there = cls.kinds.get(cls.name)
            # A notebook's cell may be run again.
            if there and _place(there) != _place(cls):
                raise UserError(
                    f"{cls.name!r} is taken by {_place(there)}: give {_place(cls)} "
                    "another name"
                )
            cls.kinds[cls.name] = cls

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring, without its full stop."""
        return cls.__doc__.split("\n")[0].removesuffix(".")


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _check(field: dataclasses.Field, value: Any) -> None:
    """One value against its field."""
    name, kind, limits = field.name, field.type, field.metadata[_KEY]
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(f"{name} must be a number, got {value!r}")
        if not math.isfinite(value):
            raise UserError(f"{name} must be finite, got {value}")
    elif kind in (int, str, bool):
        if type(value) is not kind:
            raise UserError(f"{name} must be of type {kind.__name__}, got {value!r}")
    elif not isinstance(value, kind):
        raise UserError(f"{name} must be one of {', '.join(kind.kinds)}, got {value!r}")
    for outside, said in (
        (limits.minimum is not None and value < limits.minimum, "at least {0.minimum}"),
        (limits.maximum is not None and value > limits.maximum, "at most {0.maximum}"),
        (limits.above is not None and value <= limits.above, "above {0.above}"),
        (limits.below is not None and value >= limits.below, "below {0.below}"),
        (limits.choices and value not in limits.choices, "one of {1}"),
    ):
        if outside:
            accepted = said.format(limits, ", ".join(filter(None, limits.choices)))
            raise UserError(f"{name} must be {accepted}, got {value!r}")


def limits_of(field: dataclasses.Field) -> Limits:
    """What was declared of a field."""
    return field.metadata[_KEY]


def to_plain(options: Options) -> dict[str, Any]:
    """Options as a dict of plain values; of `Named` ones with their ``name``."""
    plain = {"name": options.name} if isinstance(options, Named) else {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        plain[field.name] = to_plain(value) if isinstance(value, Options) else value
    return plain


def from_plain(cls: type[Options], plain: Mapping[str, Any]) -> Options:
    """Options from `to_plain`; what is left out takes its default.

    Args:
      cls: the class, or the family of `Named` ones.
      plain: as `to_plain` gives it.

    Raises:
      UserError: an unknown name or option, or a value out of range.
    """
    cls = kind_of(cls, plain)
    values = {key: value for key, value in plain.items() if key != "name"}
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise UserError(_unknown(key, fields, cls))
        kind = fields[key].type
        if issubclass(kind, Options) and isinstance(values[key], Mapping):
            values[key] = from_plain(kind, values[key])
    return cls(**values)


def stored(cls: type[Options], plain: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of an earlier time says, with what that time meant by its silence.

    Args:
      cls: the class, or the family of `Named` ones.
      plain: as `to_plain` gave it then, perhaps without options of today.
    """
    found = dict(plain)
    for field in dataclasses.fields(kind_of(cls, plain)):
        before = limits_of(field).before
        if field.name not in found:
            if before is not None:
                found[field.name] = before
        elif issubclass(field.type, Options):
            found[field.name] = stored(field.type, found[field.name])
    return found


def kind_of(cls: type[Options], plain: Mapping[str, Any]) -> type[Options]:
    """The class that plain values stand for."""
    if not issubclass(cls, Named) or "name" in vars(cls):
        return cls
    name = plain.get("name")
    if name not in cls.kinds:
        raise UserError(
            f"there is no {cls.__name__.lower()} {name!r}; there are "
            f"{', '.join(cls.kinds)}, and those that a file of your own declares: run "
            "the command through that file"
        )
    return cls.kinds[name]


def flat(options: Options) -> Iterator[tuple[str, Any]]:
    """Every option by its path with dots; one that holds options has their name."""
    plain = to_plain(options)
    for leaf in leaves(type(options), plain):
        value = options
        for name in leaf.path:
            value = getattr(value, name)
        yield ".".join(leaf.path), value.name if isinstance(value, Named) else value


class Text(str):
    """A value as it was typed, to be read as its option's type."""


class Leaf(NamedTuple):
    """An option within options.

    Attributes:
      path: names of fields from the outermost on.
      field: its declaration.
    """

    path: tuple[str, ...]
    field: dataclasses.Field


def leaves(cls: type[Options], plain: Mapping[str, Any]) -> Iterator[Leaf]:
    """All options of what `to_plain` gave, outermost first."""
    fields = dataclasses.fields(kind_of(cls, plain))
    for field in fields:
        yield Leaf((field.name,), field)
    for field in fields:
        if issubclass(field.type, Options):
            for leaf in leaves(field.type, plain[field.name]):
                yield Leaf((field.name, *leaf.path), leaf.field)


def find(cls: type[Options], plain: Mapping[str, Any], key: str) -> Leaf:
    """The option that a key means: its path with dots, or the end of just one path.

    Raises:
      UserError: there is no such option, or there are several.
    """
    wanted = tuple(key.split("."))
    everything = list(leaves(cls, plain))
    ending = [leaf for leaf in everything if leaf.path[-len(wanted) :] == wanted]
    exact = [leaf for leaf in ending if leaf.path == wanted]
    if len(ending) > 1 and not exact:
        names = ", ".join(".".join(leaf.path) for leaf in ending)
        raise UserError(f"{key} could be any of {names}")
    if not ending:
        names = sorted({leaf.path[-1] for leaf in everything})
        raise UserError(_unknown(key, names, kind_of(cls, plain)))
    return (exact or ending)[0]


def path(options: Options, key: str) -> str:
    """The whole path, with dots, of the option that a key means, see `find`."""
    return ".".join(find(type(options), to_plain(options), key).path)


def _unknown(key: str, names: Iterable[str], cls: type[Options]) -> str:
    of = f" of {cls.name}" if issubclass(cls, Named) else ""
    close = difflib.get_close_matches(key, list(names), n=1, cutoff=0.0)
    hint = f", did you mean {close[0]!r}?" if close else ": it has none"
    return f"no field {key!r}{of}{hint}"


def changed(options: Options, overrides: Mapping[str, Any]) -> Options:
    """Options with some of them set, checked once all of them are.

    Args:
      options: to begin with.
      overrides: values by key, see `find`, those of `Text` still to be read. An option
        that holds `Named` ones takes a name, which brings the defaults of that
        alternative, or such options.

    Raises:
      UserError: a key that is unknown here or ambiguous, or a value that is no value or
        out of range.
    """
    cls, plain = type(options), to_plain(options)
    left = dict(overrides)
    # What is chosen decides what there is to set.
    chosen = True
    while chosen:
        chosen = False
        for key in list(left):
            try:
                leaf = find(cls, plain, key)
            except UserError:
                continue
            if issubclass(leaf.field.type, Named):
                _put(plain, leaf.path, _alternative(leaf.field.type, left.pop(key)))
                chosen = True
    for key, value in left.items():
        leaf = find(cls, plain, key)
        _put(plain, leaf.path, parse(leaf.field, value))
    return from_plain(cls, plain)


def _alternative(family: type[Named], value: Any) -> dict[str, Any]:
    if not isinstance(value, Named):
        value = kind_of(family, {"name": str(value)})()
    return to_plain(value)


def _put(plain: dict, path: tuple[str, ...], value: Any) -> None:
    *outer, last = path
    for name in outer:
        plain = plain[name]
    plain[last] = value


def parse(field: dataclasses.Field, value: Any) -> Any:
    """A value of a field's type, read if it is `Text`.

    Raises:
      UserError: the text is no such value.
    """
    if not isinstance(value, Text):
        return value
    if field.type is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"{field.name} takes true or false, got {str(value)!r}")
        return value.lower() == "true"
    try:
        return field.type(value)
    except ValueError:
        raise UserError(
            f"{field.name} takes a value of type {field.type.__name__}, got "
            f"{str(value)!r}"
        ) from None
