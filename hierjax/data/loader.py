"""How a data set is loaded by name; every module of one declares its own."""

from collections.abc import Callable
from typing import NamedTuple

from hierjax.data.dataset import Dataset

OPTIONS = (
    "hierarchy",
    "label_fields",
    "image_size",
    "missing_as_names",
    "skip_unreadable",
    "pixel_max",
)
"""Arguments that say how to read the user's own data."""
PREPARED = "the folder that python -m hierjax.data.prepare has written it to"
"""Where sets are that are prepared first."""


def without(option: str) -> tuple[str, ...]:
    """All `OPTIONS` but one."""
    return tuple(other for other in OPTIONS if other != option)


class Loader(NamedTuple):
    """How to load a data set.

    A module in `data.sets` or `data.own` that has ``LOADERS``, a dict of these by name,
    is found by the registry.

    Attributes:
      load: The function.
      place: Which argument says where the data are, None if they come along.
      where: What that place is, for the sentence that asks for it.
      has_protocols: Whether there are several protocols.
      has_folds: Whether a protocol may have several folds.
      has_seed: Whether the split is drawn at random.
      options: Which of `OPTIONS` it takes.
    """

    load: Callable[..., Dataset]
    place: str | None = None
    where: str = ""
    has_protocols: bool = False
    has_folds: bool = False
    has_seed: bool = False
    options: tuple[str, ...] = ()
