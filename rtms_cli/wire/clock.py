"""The one clock of a session: microseconds since its capture began."""

import time


class Clock:
    """Counts microseconds from its creation, monotonically.

    :param speed: its microseconds per real microsecond. The simulator uses it to run faster.
    :param ahead_us: its initial value.
    """

    __slots__ = ("_ahead_us", "_speed", "_start_ns")

    def __init__(self, speed: float = 1, *, ahead_us: int = 0) -> None:
        self._start_ns = time.monotonic_ns()
        self._speed = speed
        self._ahead_us = ahead_us

    def now_us(self) -> int:
        """Return the current time."""
        return self._ahead_us + int((time.monotonic_ns() - self._start_ns) * self._speed) // 1000

    def seconds_until(self, at_us: int) -> float:
        """Return the real seconds until a time on this clock; 0 if it has passed."""
        return max(0.0, (at_us - self.now_us()) / 1_000_000 / self._speed)
