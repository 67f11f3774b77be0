"""Lines for people of which there may be too many: a few of each kind, and then how many more there were."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

MOST = 5
"""Lines of a kind that are told in one period."""
MOST_KINDS = 50
PERIOD_S = 60.0


class Notices:
    """Tells lines, on the event loop.

    :param say: is given each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._kinds: dict[str, _Period] = {}

    def tell(self, kind: str, text: str) -> None:
        """Tell a line, or count it where enough of its kind were told.

        :param kind: what several of them are called; one of a few.
        """
        if len(self._kinds) >= MOST_KINDS and kind not in self._kinds:
            kind = "others"
        period = self._kinds.get(kind)
        if period is None:
            timer = asyncio.get_running_loop().call_later(PERIOD_S, self._end_period, kind)
            period = self._kinds[kind] = _Period(timer)
        period.count += 1
        if period.count <= MOST:
            self._say(text)

    def close(self) -> None:
        """Tell what was held back."""
        for kind in list(self._kinds):
            self._end_period(kind)

    def _end_period(self, kind: str) -> None:
        period = self._kinds.pop(kind)
        period.timer.cancel()
        if period.count > MOST:
            self._say(f"{period.count - MOST} more {kind} in the last {PERIOD_S:.0f} s")


class _Period(Struct):
    """How many lines of a kind there were in this period, and what ends it."""

    timer: asyncio.TimerHandle
    count: int = 0
