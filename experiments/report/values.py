"""How a value is written: with its spread, its interval, or what it is beside 0.

An entry is a dict with ``value`` and, where there are any, ``sd``, its standard
deviation over seeds, and ``low`` and ``high``, the ends of its 95 % interval. None and
NaN are undefined.
"""

import math

UNDEFINED = "-"


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """A number; ``sign='+'`` shows the sign of positive ones too."""
    return f"{value:{sign}.{digits}f}" if is_known(value) else UNDEFINED


def interval(entry: dict, digits: int = 3) -> str:
    """The interval in brackets; '' where an end is undefined."""
    if not _has_interval(entry):
        return ""
    return f"[{entry['low']:.{digits}f}, {entry['high']:.{digits}f}]"


def with_interval(entry: dict | None, digits: int = 3, sign: str = "") -> str:
    """A value with its interval."""
    return _shown(entry, number((entry or {}).get("value"), digits, sign), digits)


def with_spread(
    entry: dict | None, digits: int = 3, *, show_interval: bool = False
) -> str:
    """Mean and standard deviation over seeds, on demand with the interval."""
    text = number((entry or {}).get("value"), digits)
    if text != UNDEFINED and is_known(entry.get("sd")):
        text += f" ± {number(entry['sd'], digits)}"
    return _shown(entry, text, digits) if show_interval else text


def side_of_zero(entry: dict | None) -> int:
    """1 or -1 where the interval lies above or below 0, else 0."""
    if not _has_interval(entry or {}):
        return 0
    return int(entry["low"] > 0) - int(entry["high"] < 0)


def difference(entry: dict | None, marks: tuple[str, str, str], digits: int = 3) -> str:
    """A difference with its interval and a mark.

    Args:
      entry: the difference; None where there is none. Without an interval it has no
        mark.
      marks: where the interval includes 0, lies above it, lies below it.
      digits: decimals.
    """
    text = with_interval(entry, digits, "+")
    if not text.endswith("]"):
        return text
    return f"{text} {marks[side_of_zero(entry)]}".rstrip()


def _shown(entry: dict | None, text: str, digits: int) -> str:
    if text == UNDEFINED:
        return text
    return f"{text} {interval(entry, digits)}".rstrip()


def _has_interval(entry: dict) -> bool:
    return is_known(entry.get("low")) and is_known(entry.get("high"))


def is_known(value: float | None) -> bool:
    """Whether a value is defined."""
    return value is not None and not math.isnan(value)
