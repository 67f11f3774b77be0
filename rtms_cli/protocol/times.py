"""Zoom's timestamps, whose unit is told by their size: what names a moment from 2001 to 2255 is read as milliseconds.

10 digits are seconds, 13 are milliseconds, 16 are µs, 19 are ns; each may have a fraction. Any other number stays what
it is: nothing tells its unit.
"""

import math
from datetime import datetime

from rtms_cli.protocol.numbers import whole

FIRST_MS = 10**12
"""The first moment that is told by its size, in 2001."""
LAST_MS = 9 * 10**12
"""The end of that time, in 2255: so 2**63 - 1, which stands for no time, is not read as one in ns either."""


def milliseconds(value: object) -> int | None:
    """A timestamp in milliseconds; `None` for what is not a number.

    A fraction is rounded. A whole number may also come as digits, as `whole` has it.
    """
    number = whole(value)
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
    """The unit that a timestamp's size tells: `s`, `ms`, `µs` or `ns`; empty where it tells none."""
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
