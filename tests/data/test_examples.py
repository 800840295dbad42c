import sys
import types

import pytest

from tests import doctests


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("dataset", ()),
        ("feature_maps", ("FrozenEncoder", "ImageEncoding")),
        ("samplers", ()),
        ("transforms", ()),
        ("registry", ()),
        ("splitting", ()),
        ("inspection", ("Level", "Node", "Inspection")),
        ("sets.digits", ()),
        ("sets.gm_notes", ()),
        ("sets.omniglot", ()),
        ("sets.unit_points", ()),
    ],
)
def test_examples(module, without):
    doctests.check(f"hierjax.data.{module}", without)


@pytest.mark.parametrize(
    ("example", "error"),
    [
        (">>> 1 + 1\n3", "Expected:\n    3\nGot:\n    2"),
        (">>> undefined", "NameError"),
        ("No example.", "no example in these"),
    ],
)
def test_a_wrong_or_missing_example_is_noticed(example, error, monkeypatch):
    module = types.ModuleType("shop")
    exec("def sell():\n    pass", vars(module))
    module.sell.__doc__ = example + "\n"
    monkeypatch.setitem(sys.modules, "shop", module)
    with pytest.raises(AssertionError, match=error):
        doctests.check("shop")
