"""Text on a terminal: names of the user's are shown and not obeyed."""

from typing import Any, TextIO


def printable(text: str) -> str:
    r"""Lines of text with everything that a terminal would obey written out.

    Examples:
      >>> print(printable("red\\x1b[31m owl"))
      red\\x1b[31m owl
    """
    return "".join(
        mark
        if mark == "\n" or mark.isprintable()
        else mark.encode("unicode_escape").decode()
        for mark in text
    )


class Printable:
    """A stream that takes any text: `printable`, in what its encoding can say.

    Args:
      stream: where the text goes; all but writing is left to it.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Writes text."""
        said = printable(text).encode(self._encoding, "backslashreplace")
        self._stream.write(said.decode(self._encoding))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
