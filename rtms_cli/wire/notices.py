"""Limits repeated lines for users: shows a few of each kind, then how many more there were."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

MOST = 5
"""How many lines of a kind are shown per period."""
MOST_NEW = 20
"""The limit for distinct lines of a kind per period, so that a scanner's noise does not hide other lines."""
PERIOD_S = 60.0


class Notices:
    """Shows lines, on the event loop.

    :param say: called with each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._kinds: dict[str, _Period] = {}

    def tell(self, kind: str, text: str, what: str = "") -> None:
        """Show a line, or only count it if enough of its kind were shown; see `may_tell`."""
        if self.may_tell(kind, what):
            self._say(text)

    def may_tell(self, kind: str, what: str = "") -> bool:
        """Return whether to show a line. If enough of its kind were shown, count it.

        :param kind: plural name of its kind, one of a few.
        :param what: what distinguishes it from others of its kind.
        """
        period = self._kinds.get(kind)
        if period is None:
            timer = asyncio.get_running_loop().call_later(PERIOD_S, self._end_period, kind)
            period = self._kinds[kind] = _Period(timer, set())
        is_new = what not in period.seen and len(period.seen) < MOST_NEW
        if is_new or period.told < MOST:
            period.seen.add(what)
            period.told += 1
            return True
        period.held_back += 1
        return False

    def close(self) -> None:
        """Show how many lines were suppressed."""
        for kind in list(self._kinds):
            self._end_period(kind)

    def _end_period(self, kind: str) -> None:
        period = self._kinds.pop(kind)
        period.timer.cancel()
        if period.held_back:
            self._say(f"{period.held_back} more {kind} in the last {PERIOD_S:.0f} s")


class _Period(Struct):
    """The lines of a kind in this period, and the timer that ends it."""

    timer: asyncio.TimerHandle
    seen: set[str]
    told: int = 0
    held_back: int = 0
