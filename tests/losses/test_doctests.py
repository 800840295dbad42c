"""Every public loss has examples, and they are true."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from hierjax import losses

MODULES = [
    module.name for module in pkgutil.iter_modules(losses.__path__, "hierjax.losses.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    found = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert not found.failed


def test_every_loss_has_an_example():
    functions = [
        value
        for value in (getattr(losses, name) for name in losses.__all__)
        if inspect.isfunction(value)
    ]
    assert len(functions) >= 15
    assert not [f.__name__ for f in functions if ">>>" not in f.__doc__]
