import pytest

from tests import doctests


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("encoders", ("BatchNormEncoder", "ImageEncoder", "UniformDense")),
        ("pointnet", ()),
        ("resnet", ()),
    ],
)
def test_examples(module, without):
    doctests.check(f"hierjax.models.{module}", without)
