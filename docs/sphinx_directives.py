"""Directives whose content is made from the code when the documentation is built.

``{api} MODULE`` lists every public name of a module, ``{picture} NAME`` draws a picture
of `pictures.PICTURES`, ``{commands}`` lists all commands and their flags, ``{fields}``
the fields of an experiment, and ``{presets}`` the presets.
"""

import dataclasses
import functools
import importlib
import inspect
import os
import pathlib
import re
import types

import pictures
from absl import flags
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from experiments import completion
from experiments.cli import help_text
from experiments.papers import PRESETS
from experiments.settings.experiment import Experiment
from hierjax import training


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
        for name in sorted(completion.commands(), key=lambda name: name != "train"):
            module = importlib.import_module(f"experiments.{name}")
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


# The first field of each group, in the order of the docstrings.
_GROUPS_OF_FIELDS = {
    "dataset": "Data",
    "model": "Network",
    "augment": "Views",
    "loss": "Loss and objective",
    "seed": "Training",
}


class Fields(SphinxDirective):
    """``{fields}``: what ``--set`` accepts."""

    def run(self) -> list[nodes.Node]:
        """List the fields of an experiment in the order of their docstrings."""
        own = {field.name: field for field in dataclasses.fields(Experiment)}
        groups = {}
        for cls in (Experiment, training.Config):
            for name, text in documented(cls).items():
                if name in _GROUPS_OF_FIELDS:
                    rows = groups[_GROUPS_OF_FIELDS[name]] = []
                kind, default = own[name].type.__name__, _shown(own[name].default)
                rows.append((f"`{name}`", kind, default, text))
        head = ("type", "default", "")
        tables = [_table((title, *head), rows) for title, rows in groups.items()]
        return self.parse_text_to_nodes("\n\n".join(tables))


class Presets(SphinxDirective):
    """``{presets}``: every preset with its line of ``--list``."""

    def run(self) -> list[nodes.Node]:
        """List them in their order."""
        rows = [(f"`{name}`", preset.summary) for name, preset in PRESETS.items()]
        return self.parse_text_to_nodes(_table(("preset", ""), rows))


def documented(cls: type) -> dict[str, str]:
    """The ``Attributes`` of a Google docstring: name -> text."""
    section = re.search(r"Attributes:\n(.*?)(\n\n|\Z)", cls.__doc__, re.DOTALL)[1]
    entries = re.split(r"\n? {4,6}(?=\w+: )", "\n" + section)
    pairs = (entry.split(": ", 1) for entry in entries if entry.strip())
    return {name.strip(): " ".join(text.split()) for name, text in pairs}


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
    for directive in (Api, Picture, Commands, Fields, Presets):
        app.add_directive(directive.__name__.lower(), directive)
    # The machine has few cores and JAX would be imported in each process.
    return {"parallel_read_safe": False, "parallel_write_safe": True}
