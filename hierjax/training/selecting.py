"""What measures on validation select of one training, each as if it were alone."""

import dataclasses
import math

from hierjax.errors import UserError
from hierjax.training import hosts
from hierjax.training.resuming import Selection
from hierjax.training.state import State


@dataclasses.dataclass(frozen=True)
class Best:
    """What one measure on validation has selected.

    Attributes:
      state: the best one; the last one without a validation split.
      step: of ``state``.
      value: of the measure, NaN without a validation split.
      end: last step of a run that selects by this measure alone.
    """

    state: State
    step: int
    value: float
    end: int


@dataclasses.dataclass
class Candidate:
    """The best state by one measure so far.

    Attributes:
      state: the best one, on the host; the initial one before the first evaluation.
      selection: over the evaluations that ``eval_every`` asked for.
      closing_value: see `resuming.Standing`.
      end: step of the last evaluation that looked at the measure.
    """

    state: State
    selection: Selection = dataclasses.field(default_factory=Selection)
    closing_value: float | None = None
    end: int = 0

    def best(self, last: State, *, validated: bool) -> Best:
        """What has been selected, once the run is over.

        Args:
          last: state after the last step.
          validated: whether there was a validation split.
        """
        state, value = self.state, self.selection.best_value
        if not validated:
            state, value = last, math.nan
        elif self.closing_value is not None and self.closing_value > value:
            state, value = last, self.closing_value
        return Best(state, int(state.step), value, self.end)


def selection_value(measures: dict[str, float], selection: str) -> float:
    """What the best state is chosen by, the same on all hosts.

    Args:
      measures: of the validation split.
      selection: the name of one of them.

    Raises:
      UserError: it is NaN.
    """
    value = hosts.agree(measures[selection])
    if math.isnan(value):
        raise UserError(
            f"selection measure {selection} is undefined on the validation split; "
            "choose another or leave the split out"
        )
    return value
