"""Runs the examples in the docstrings of a module."""

import doctest
import importlib
import inspect
import io


def check(module: str, without: tuple[str, ...] = ()) -> None:
    """Every public function and class defined there has an example, and all are true.

    Examples see what their module sees. White space does not matter.

    Args:
      module: Dotted name.
      without: Names that need no example; one of them that has one is an error.
    """
    found = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    shown, printed = set(), io.StringIO()
    for test in doctest.DocTestFinder().find(found, module):
        runner.run(test, out=printed.write)
        if test.examples:
            shown.add(test.name.removeprefix(f"{module}."))
    assert not runner.failures, printed.getvalue()
    public = {
        name
        for name, value in vars(found).items()
        if (inspect.isroutine(value) or inspect.isclass(value))
        and not name.startswith("_")
        and value.__module__ == module
    }
    assert public - shown == set(without), f"{module}: no example in these"
