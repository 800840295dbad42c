"""The one exception for mistakes a user can make and mend.

One rule says which error a function raises. What is checked on the host (flags, files,
data, trees, settings, arrays to measure or to draw) comes from a person, who reads one
sentence and mends it: `UserError`. Functions that JAX traces (losses, distances, level
masks, mixtures, the ``apply`` of objectives) are handed arrays and options by other
code, whose author needs the traceback: a bare ``ValueError``. As a ``UserError`` is a
``ValueError``, code that catches the latter catches both.
"""

import warnings


class UserError(ValueError):
    """Wrong input; the message is one sentence that says what is accepted.

    The command line prints the message alone and exits with code 2. Everything that
    is not a ``UserError`` is a bug and keeps its traceback.
    """


class MissingDataError(UserError):
    """Data that are not on this machine; the message says where to put them."""


class DivergedError(UserError):
    """Training whose loss stopped being finite."""


class DataNotice(UserWarning):
    """What was decided about a user's own data, to be shown in one line."""


def notice(message: str) -> None:
    """Gives a `DataNotice`, shown at the place that called the caller."""
    warnings.warn(message, DataNotice, stacklevel=3)
