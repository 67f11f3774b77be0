"""Lines for people of which there may be too many: a few of each kind, and then how many more there were."""

import asyncio
from collections.abc import Callable

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
        self._kinds: dict[str, _Kind] = {}

    def tell(self, kind: str, text: str) -> None:
        """Tell a line, or count it where enough of its kind were told.

        :param kind: what several of them are called; one of a few.
        """
        if len(self._kinds) >= MOST_KINDS and kind not in self._kinds:
            kind = "others"
        counts = self._kinds.get(kind)
        if counts is None:
            counts = self._kinds[kind] = _Kind()
            counts.timer = asyncio.get_running_loop().call_later(PERIOD_S, self._end_period, kind)
        if counts.told < MOST:
            counts.told += 1
            self._say(text)
        else:
            counts.held_back += 1

    def close(self) -> None:
        """Tell what was held back."""
        for kind in list(self._kinds):
            self._end_period(kind)

    def _end_period(self, kind: str) -> None:
        counts = self._kinds.pop(kind)
        if counts.timer is not None:
            counts.timer.cancel()
        if counts.held_back:
            self._say(f"{counts.held_back} more {kind} in the last {PERIOD_S:.0f} s")


class _Kind:
    """What was told of a kind in this period."""

    __slots__ = ("held_back", "timer", "told")

    def __init__(self) -> None:
        self.told = self.held_back = 0
        self.timer: asyncio.TimerHandle | None = None
