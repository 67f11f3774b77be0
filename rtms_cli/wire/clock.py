"""The one clock of a session: microseconds since its capture began."""

import time


class Clock:
    """Counts microseconds from its making, never backward.

    :param speed: how many of its microseconds pass in a real one; the simulator plays faster by it.
    :param ahead_us: what it shows when it is made.
    """

    __slots__ = ("_ahead_us", "_speed", "_start_ns")

    def __init__(self, speed: float = 1, *, ahead_us: int = 0) -> None:
        self._start_ns = time.monotonic_ns()
        self._speed = speed
        self._ahead_us = ahead_us

    def now_us(self) -> int:
        """The time now."""
        return self._ahead_us + int((time.monotonic_ns() - self._start_ns) * self._speed) // 1000

    def seconds_until(self, at_us: int) -> float:
        """How long to wait, in real seconds, until a time on this clock; 0 where it has passed."""
        return max(0.0, (at_us - self.now_us()) / 1_000_000 / self._speed)
