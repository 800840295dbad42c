"""What trains nothing: the controls that every trained row stands beside."""

import dataclasses

from hierjax.objectives.method import Method
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class Input(Method):
    """The input itself, nothing trained."""

    name = "input"
    trains = False
    needs_classes = False

    distance: str = option(
        "cosine",
        "in which its neighbours are searched.",
        choices=("cosine", "euclidean", "sqeuclidean"),
    )

    @property
    def neighbor_distance(self) -> str:
        """As chosen."""
        return self.distance


@dataclasses.dataclass(frozen=True)
class Untrained(Method):
    """The network as it was initialised."""

    name = "untrained"
    trains = False
    needs_classes = False
    family = "class_hierarchies"
