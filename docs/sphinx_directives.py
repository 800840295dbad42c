"""Directives whose content is made from the code when the documentation is built.

``{api} MODULE`` lists every public name of a module, ``{picture} NAME`` draws a picture
of `pictures.PICTURES`, ``{commands}`` lists all commands and their flags, ``{fields}``
the fields of an experiment, ``{methods}`` the methods, and ``{presets}`` the presets.
"""

import dataclasses
import functools
import importlib
import inspect
import os
import pathlib
import types

import pictures
from absl import flags
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from experiments.cli import commands, help_text
from experiments.papers import PRESETS
from experiments.settings.experiment import Experiment
from hierjax.objectives import Method
from hierjax.options import Named, limits_of


class Api(SphinxDirective):
    """``{api} MODULE``: what the module says of itself and of its public names."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the directives of autodoc, which read the docstrings."""
        module = importlib.import_module(self.arguments[0])
        lines = [f".. automodule:: {module.__name__}", "   :no-members:", ""]
        for name in public_names(module):
            lines += [*_documentation(module.__name__, name, getattr(module, name)), ""]
        return self.parse_text_to_nodes(
            "\n".join(["```{eval-rst}", *lines, "```"]), allow_section_headings=True
        )


def public_names(module: types.ModuleType) -> list[str]:
    """``__all__`` or, without one, what is defined there and has no underscore."""
    return getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]


def _documentation(module: str, name: str, value: object) -> list[str]:
    full = f"{module}.{name}"
    if inspect.ismodule(value):
        return [f".. automodule:: {value.__name__}", "   :members:"]
    if inspect.isclass(value):
        # Linen adds what it needs to every module.
        return [f".. autoclass:: {full}", "   :members:", "   :exclude-members: setup"]
    if inspect.isroutine(value) or hasattr(value, "__wrapped__"):
        return [f".. autofunction:: {full}"]
    if isinstance(value, functools.partial):
        given = ", ".join(
            f"{key}={_brief(item)}" for key, item in value.keywords.items()
        )
        text = f"`{value.func.__name__}` with ``{given}``."
    elif isinstance(value, dict):
        text = "Names: " + ", ".join(f"``{key}``" for key in value) + "."
    elif isinstance(value, tuple):
        text = "One of " + ", ".join(f"``{item!r}``" for item in value) + "."
    else:
        text = f"``{value!r}``."
    return [f".. py:data:: {name}", f"   :module: {module}", "", f"   {text}"]


def _brief(value: object) -> str:
    return getattr(value, "__name__", repr(value))


class Picture(SphinxDirective):
    """``{picture} NAME`` with a caption; its text stands in for the picture too."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw it beside the doctrees, where builds find it again."""
        folder = pathlib.Path(self.env.app.doctreedir) / "pictures"
        path = pictures.draw(self.arguments[0], folder)
        here = pathlib.Path(self.env.doc2path(self.env.docname)).parent
        uri = pathlib.Path(os.path.relpath(path, here)).as_posix()
        text = " ".join(self.content)
        self.env.note_dependency(pictures.__file__)
        figure = nodes.figure("", nodes.image(uri=uri, alt=text))
        caption = nodes.caption(text, "")
        inline, messages = self.state.inline_text(text, self.lineno)
        caption += inline
        figure += caption
        return [figure, *messages]


class Commands(SphinxDirective):
    """``{commands}``: what every command says of itself, and its flags."""

    def run(self) -> list[nodes.Node]:
        """Define the flags of each and list them under the headings of ``--help``."""
        parts = []
        for name in sorted(commands.names(), key=lambda name: name != "train"):
            module = commands.module_of(name)
            parts += [f"## experiments.{name}", inspect.getdoc(module)]
            own = help_text.in_groups(help_text.flags_of(module))
            for title, members in own.items():
                rows = [
                    (
                        f"`--{flag.name}`",
                        _choices(flag) or _shown(flag.default),
                        flag.help.split(";\n")[0],
                    )
                    for flag in members
                ]
                parts.append(_table((title, "default", ""), rows))
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


# The first field of each group.
_GROUPS_OF_FIELDS = {
    "seed": "Training",
    "dataset": "Data",
    "model": "Network",
    "augment": "Views",
    "official_measures": "Measures and method",
}


class Fields(SphinxDirective):
    """``{fields}``: what ``--set`` accepts."""

    def run(self) -> list[nodes.Node]:
        """List the fields of an experiment as they are declared."""
        groups = {}
        for field in dataclasses.fields(Experiment):
            if field.name in _GROUPS_OF_FIELDS:
                rows = groups[_GROUPS_OF_FIELDS[field.name]] = []
            rows.append(_declared(field))
        tables = [_table((title, *_OF_OPTIONS), rows) for title, rows in groups.items()]
        return self.parse_text_to_nodes("\n\n".join(tables))


class Methods(SphinxDirective):
    """``{methods}``: every declared method and its options."""

    def run(self) -> list[nodes.Node]:
        """List the methods, then the alternatives that their options choose from."""
        parts, families = [], {}
        for method in Method.kinds.values():
            parts += self._of_kind(method, "###", families)
        for family in families:
            parts.append(f"### {family.__name__}\n\n{_first_line(family)}")
            for kind in family.kinds.values():
                parts += self._of_kind(kind, "####", {})
        text = "\n\n".join(parts)
        return self.parse_text_to_nodes(text, allow_section_headings=True)

    def _of_kind(self, kind: type[Named], mark: str, families: dict) -> list[str]:
        parts = [f"{mark} {kind.name}", f"{_first_line(kind)} {_reference(kind)}"]
        fields = dataclasses.fields(kind)
        families |= {f.type: None for f in fields if issubclass(f.type, Named)}
        if fields:
            parts.append(_table(("option", *_OF_OPTIONS), list(map(_declared, fields))))
        return parts


_OF_OPTIONS = ("type", "default", "")


def _declared(field: dataclasses.Field) -> tuple[str, str, str, str]:
    """An option as a row of a table."""
    default = getattr(field.default, "name", field.default)
    text = limits_of(field).help
    return f"`{field.name}`", field.type.__name__, _shown(default), text


def _first_line(kind: type) -> str:
    return inspect.getdoc(kind).split("\n")[0]


def _reference(kind: type) -> str:
    return f"({{py:class}}`hierjax.objectives.{kind.__name__}`)"


class Presets(SphinxDirective):
    """``{presets}``: every preset with its line of ``--list``."""

    def run(self) -> list[nodes.Node]:
        """List them in their order."""
        rows = [(f"`{name}`", preset.summary) for name, preset in PRESETS.items()]
        return self.parse_text_to_nodes(_table(("preset", ""), rows))


def _choices(flag: flags.Flag) -> str:
    values = getattr(flag.parser, "enum_values", None)
    if not values:
        return ""
    return ", ".join(
        f"**{value}**" if value == flag.default else value for value in values
    )


def _shown(value: object) -> str:
    return "" if value in (None, "", []) else f"`{value}`"


def _escaped(text: str) -> str:
    """Angle brackets as they are, which Markdown takes for HTML outside of code."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "\\<") for part in parts[::2]]
    return "`".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head)]
    lines += rows
    return "\n".join(
        "| " + " | ".join(_escaped(cell.replace("|", "\\|")) for cell in line) + " |"
        for line in lines
    )


def setup(app: Sphinx) -> dict:
    """Register the directives."""
    for directive in (Api, Picture, Commands, Fields, Methods, Presets):
        app.add_directive(directive.__name__.lower(), directive)
    # The machine has few cores and JAX would be imported in each process.
    return {"parallel_read_safe": False, "parallel_write_safe": True}
