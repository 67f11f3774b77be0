"""Taps: sinks beside the recorder. Whatever goes wrong in one costs neither the recording nor the other taps."""

import logging
from collections.abc import Callable
from typing import Protocol

from rtms_cli.machine import Frame, Item, frames_of
from rtms_cli.protocol.webhooks import Stream

log = logging.getLogger(__name__)


class Tap(Protocol):
    """A sink of frames beside the recorder, for one session. One that must not hold the others up is never `full`."""

    def put(self, frame: Frame) -> None:
        """Take a frame. Never blocks, never raises."""

    @property
    def full(self) -> bool:
        """See `FrameSink.full`."""

    async def room(self) -> None:
        """See `FrameSink.room`."""

    async def close(self) -> object:
        """Finish what was put: the session has ended."""


TapMaker = Callable[[Stream], Tap]
"""Opens a tap for a session; where it raises, the session goes on without it."""


class GuardedTap:
    """A tap whose first defect ends it: it gets no more frames, and is closed with the session.

    :param give_up: called once, with the defect.
    """

    __slots__ = ("_give_up", "_is_given_up", "_tap")

    def __init__(self, tap: Tap, give_up: Callable[[Exception], None]) -> None:
        self._tap = tap
        self._give_up = give_up
        self._is_given_up = False

    def put(self, item: Item) -> None:
        """Hand frames to the tap, which get it one by one, and read."""
        if not self._is_given_up:
            try:
                for frame in frames_of(item):
                    self._tap.put(frame)
            except Exception as defect:  # a tap's affair, whatever it is
                self._fail(defect)

    @property
    def full(self) -> bool:
        """See `FrameSink.full`."""
        if not self._is_given_up:
            try:
                return self._tap.full
            except Exception as defect:  # a tap's affair, whatever it is
                self._fail(defect)
        return False

    async def room(self) -> None:
        """See `FrameSink.room`."""
        if not self._is_given_up:
            try:
                await self._tap.room()
            except Exception as defect:  # a tap's affair, whatever it is
                self._fail(defect)

    async def close(self) -> None:
        """See `Tap.close`."""
        try:
            await self._tap.close()
        except Exception as defect:  # a tap's affair, whatever it is
            self._fail(defect)

    def _fail(self, defect: Exception) -> None:
        log.error("a tap is given up", exc_info=defect)
        if not self._is_given_up:
            self._is_given_up = True
            self._give_up(defect)
