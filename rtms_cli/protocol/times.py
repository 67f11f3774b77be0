"""Zoom's timestamps, and the times that people write and read.

The size of a timestamp tells its unit: what names a moment from 2001 to 2255 is read as milliseconds. 10 digits are
seconds, 13 are milliseconds, 16 are µs, 19 are ns; each may have a fraction. Any other number stays what it is: nothing
tells its unit.
"""

import math
import re
from datetime import datetime

from rtms_cli.protocol.numbers import as_int

FIRST_MS = 10**12
"""The first moment that is told by its size, in 2001."""
LAST_MS = 9 * 10**12
"""The end of that time, in 2255: so 2**63 - 1, which stands for no time, is not read as one in ns either."""


def milliseconds(value: object) -> int | None:
    """A timestamp in milliseconds; `None` for what is not a number.

    A fraction is rounded. A whole number may also come as digits, as `whole` has it.
    """
    number = as_int(value)
    if number is not None:
        return number if FIRST_MS <= number < LAST_MS else _by_size(number)
    if isinstance(value, str) and len(value) < 40:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, float) and math.isfinite(value):
        return round(value * 1000) if FIRST_MS <= value * 1000 < LAST_MS else _by_size(round(value))
    return None


def unit(number: float) -> str:
    """The unit that a timestamp's size tells: `s`, `ms`, `µs` or `ns`; empty if it tells none."""
    for name, per_s in (("ms", 10**3), ("s", 1), ("µs", 10**6), ("ns", 10**9)):
        if FIRST_MS * per_s <= number * 1000 < LAST_MS * per_s:
            return name
    return ""


def _by_size(number: int) -> int:
    if FIRST_MS <= number * 1000 < LAST_MS:
        return number * 1000
    for per_ms in (10**3, 10**6):
        if FIRST_MS <= number // per_ms < LAST_MS:
            return (number + per_ms // 2) // per_ms
    return number


def iso_time(moment: datetime) -> str:
    """A moment as headers and manifests have it: with milliseconds, and `Z` for UTC."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


TIMES = "Use seconds, 1:30, 1:02:03 or 1m30s."
"""How people write a time, for an error."""
_CLOCK = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_UNITS = re.compile(r"\s*".join(rf"(?:{_NUMBER}\s*{unit})?" for unit in ("w", "d", "h", "m", "s", "ms")), re.ASCII)
_UNITS_S = (604800.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)


def seconds_in(text: str) -> float | None:
    """A time that a person wrote, in seconds; `None` if it is not one.

    It is a number of seconds (`90`, `0.5`), a clock (`1:30`, `1:02:03.5`), or numbers with units, the largest unit
    first: `90s`, `1m30s`, `200ms`, `2h`, `30d`, `1w`.
    """
    text = text.strip().lower()
    if (clock := _CLOCK.fullmatch(text)) is not None:
        hours, minutes, seconds = int(clock[1] or 0), int(clock[2] or 0), float(clock[3])
        is_clock = (clock[2] is None or seconds < 60) and (clock[1] is None or minutes < 60)
        return hours * 3600 + minutes * 60 + seconds if is_clock else None
    parts = _UNITS.fullmatch(text) if text else None
    if parts is None:
        return None
    return sum(float(number) * unit_s for number, unit_s in zip(parts.groups("0"), _UNITS_S, strict=True))


def clock_time(seconds: float) -> str:
    """A moment or a length for people, as `h:mm:ss`, without its fraction: `0:01:02`."""
    whole_s = max(0, int(seconds))
    return f"{whole_s // 3600}:{whole_s // 60 % 60:02d}:{whole_s % 60:02d}"


def spoken_length(seconds: float) -> str:
    """A length for people that may be short: `0.34 s`, `7.3 s`, `20 s`, and from a minute on `0:12:30`."""
    if seconds < 59.5:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return clock_time(round(seconds))
