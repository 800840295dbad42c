"""The one exception for mistakes a user can make and mend."""


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
