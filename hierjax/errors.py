"""The one exception for mistakes a user can make and mend."""


class UserError(ValueError):
    """Wrong input; the message is one sentence that says what is accepted.

    The command line prints the message alone and exits with code 2. Everything that
    is not a ``UserError`` is a bug and keeps its traceback.
    """
