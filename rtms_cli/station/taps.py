"""Taps: sinks beside the recorder. Whatever goes wrong in one costs neither the recording nor the other taps."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rtms_cli.machine import Frame, FrameSink
from rtms_cli.protocol.webhooks import Stream

log = logging.getLogger(__name__)


class Tap(FrameSink, Protocol):
    """A sink beside the recorder, for one session. One that must not hold the others up is never `full`."""

    async def close(self) -> object:
        """Finish what was put: the session has ended."""


TapMaker = Callable[[Stream], Tap]
"""Opens a tap for a session; where it raises, the session goes on without it."""


class GuardedTap:
    """A `Tap` that a defect in it ends: it gets nothing more, and is closed with the session.

    :param give_up: is told of the defect, once.
    """

    __slots__ = ("_give_up", "_is_given_up", "_tap")

    def __init__(self, tap: Tap, give_up: Callable[[Exception], None]) -> None:
        self._tap = tap
        self._give_up = give_up
        self._is_given_up = False

    def put(self, frame: Frame) -> None:
        """See `FrameSink.put`."""
        if not self._is_given_up:
            with self._guarded():
                self._tap.put(frame)

    @property
    def full(self) -> bool:
        """See `FrameSink.full`."""
        if not self._is_given_up:
            with self._guarded():
                return self._tap.full
        return False

    async def room(self) -> None:
        """See `FrameSink.room`."""
        if not self._is_given_up:
            with self._guarded():
                await self._tap.room()

    async def close(self) -> None:
        """See `Tap.close`."""
        with self._guarded():
            await self._tap.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as defect:
            log.exception("a tap is given up")
            if not self._is_given_up:
                self._is_given_up = True
                self._give_up(defect)
