"""Names of measures: ``measure[@k]/level[/kind]``.

``knn/family`` is the k-NN accuracy at the level 'family', ``knn/average`` its mean over
the levels, ``hierarchical_precision@5/all/proxies`` the precision of the five best
classes in the tree as a whole, by the learned proxies.
"""

import re
from typing import NamedTuple

from hierjax.errors import UserError
from hierjax.names import RESERVED_ENDS, RESERVED_LEVELS

ALL, AVERAGE = RESERVED_LEVELS
"""The level of what is of no single one (of the whole tree, or of no labels at all),
and that of a mean over the levels."""
KINDS = RESERVED_ENDS
"""What is measured, where it is not the embedding: the representatives of the classes
(learned, or means of the training rows), the features before a projection head, the
projections behind it."""

_NAME = re.compile(
    r"(?P<measure>[a-z][a-z0-9_]*)(?:@(?P<k>[1-9][0-9]*))?/(?P<level>.+?)"
    rf"(?:/(?P<kind>{'|'.join(KINDS)}))?",
    re.DOTALL,
)


class MeasureName(NamedTuple):
    """The parts of a measure's name; ``str`` puts them together.

    Attributes:
      measure: what is computed, in lower case, such as 'knn'.
      level: a level of the tree, or the name of another labelling; `AVERAGE` or `ALL`.
      kind: one of `KINDS`, '' for the embedding itself.
      k: the number of neighbours or classes that are ranked, None where it is no part
        of the definition.
    """

    measure: str
    level: str = ALL
    kind: str = ""
    k: int | None = None

    def __str__(self) -> str:
        at = "" if self.k is None else f"@{self.k}"
        return f"{self.measure}{at}/{self.level}" + (
            f"/{self.kind}" if self.kind else ""
        )


def parse_measure(name: str) -> MeasureName:
    """The parts of a measure's name.

    A level may hold a slash, and may be called as a kind is: the kind is what follows
    the last slash, if it is one of `KINDS` and a level stands before it.

    Raises:
      UserError: the text is no name of a measure.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise UserError(
            f"{name!r} is no name of a measure: measure[@k]/level[/kind] with a kind "
            f"of {', '.join(KINDS)}"
        )
    k = found["k"]
    return MeasureName(
        found["measure"],
        found["level"],
        found["kind"] or "",
        None if k is None else int(k),
    )
