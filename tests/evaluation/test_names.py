"""Names of measures: parsed and put together again."""

import pytest

from hierjax.errors import UserError
from hierjax.evaluation.names import MeasureName, parse_measure


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("knn/family", ("knn", "family", "", None)),
        ("silhouette/average", ("silhouette", "average", "", None)),
        ("similarity@250/all", ("similarity", "all", "", 250)),
        ("accuracy@5/scene/proxies", ("accuracy", "scene", "proxies", 5)),
        ("map_at_r/class_name/features", ("map_at_r", "class_name", "features", None)),
        ("effective_rank/all/projections", ("effective_rank", "all", "projections")),
        # Levels are called as the user likes.
        ("knn/means", ("knn", "means", "", None)),
        ("knn/means/means", ("knn", "means", "means", None)),
        ("knn/a/b", ("knn", "a/b", "", None)),
        ("knn/a/b/means", ("knn", "a/b", "means", None)),
        ("knn/Größe @5\n", ("knn", "Größe @5\n", "", None)),
    ],
)
def test_names_are_parsed_and_put_together(text, parts):
    found = parse_measure(text)
    assert found == MeasureName(*parts)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "knn",
        "knn/",
        "/family",
        "HP@5/all",
        "knn@0/a",
        "knn@/a",
        "knn@05/a",
        "a b/c",
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(UserError, match="measure\\[@k\\]/level"):
        parse_measure(text)
