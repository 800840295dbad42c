"""The examples in docstrings of metrics and evaluation."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from hierjax import evaluation, metrics

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (metrics, evaluation)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert not found.failed


def test_every_metric_has_an_example():
    functions = [
        value
        for value in (getattr(metrics, name) for name in metrics.__all__)
        if inspect.isfunction(value)
    ]
    without = [f.__name__ for f in functions if ">>>" not in f.__doc__]
    assert len(functions) > 40 and not without
