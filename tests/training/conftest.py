"""Validation measures by script."""

import pytest

from hierjax import evaluation


@pytest.fixture
def script(monkeypatch):
    """Replaces the validation measures by given values, one an evaluation."""

    def play(*values):
        left = list(values)

        def measures(embed, data, selection, *, classifier):
            value = left.pop(0)
            if isinstance(value, BaseException):
                raise value
            return {selection: value}

        monkeypatch.setattr(evaluation, "validation_measures", measures)
        return left

    return play
