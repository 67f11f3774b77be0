"""Lines for people of which there may be too many: a few of each kind, and then how many more there were."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

MOST = 5
"""Lines of a kind that are told in one period."""
MOST_NEW = 20
"""As many are told while each says what none of its kind said before in the period: a scanner's noise hides no news."""
PERIOD_S = 60.0


class Notices:
    """Tells lines, on the event loop.

    :param say: is given each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._kinds: dict[str, _Period] = {}

    def tell(self, kind: str, text: str, what: str = "") -> None:
        """Tell a line, or count it where enough of its kind were told; see `may_tell`."""
        if self.may_tell(kind, what):
            self._say(text)

    def may_tell(self, kind: str, what: str = "") -> bool:
        """Whether to tell something; it is counted where enough of its kind were told.

        :param kind: what several of them are called; one of a few.
        :param what: what makes it news among those of its kind.
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
        """Tell what was held back."""
        for kind in list(self._kinds):
            self._end_period(kind)

    def _end_period(self, kind: str) -> None:
        period = self._kinds.pop(kind)
        period.timer.cancel()
        if period.held_back:
            self._say(f"{period.held_back} more {kind} in the last {PERIOD_S:.0f} s")


class _Period(Struct):
    """Which lines of a kind there were in this period, and what ends it."""

    timer: asyncio.TimerHandle
    seen: set[str]
    told: int = 0
    held_back: int = 0
