"""The queue between the thread that receives a stream and the program: bounded in time and memory."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from rtms_cli.library.items import Audio, Item, Picture

MOST_NBYTES = 64 << 20
"""Limit of waiting media in bytes, regardless of age."""
MOST_TEXTS, MOST_TEXT_NBYTES = 10_000, 16 << 20
"""Limit of waiting lines and states."""
ITEM_COST = 300
"""Overhead of an item in bytes."""


class _Waiting(NamedTuple):
    number: int
    came_at: float
    nbytes: int
    item: Item


class Waiting:
    """A stream's items in order. Media that have waited too long are dropped and counted, the oldest first. Text stays
    as long as there is memory for it.

    `put` and `end` may be called on any thread, `take` on the event loop.

    :param seconds: how long media may wait while more arrive.
    :param loop: the event loop that takes items.
    """

    def __init__(
        self, seconds: float, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._loop = loop
        self._clock = clock
        self._lock = threading.Lock()
        self._media: deque[_Waiting] = deque()
        self._texts: deque[_Waiting] = deque()
        self._media_nbytes = self._text_nbytes = self._number = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._is_awaited = False
        self._has_ended = self._is_closed = False
        self.put_nbytes = 0
        """Number of items received."""
        self.dropped = 0
        """Number of items dropped because they were not taken in time."""
        self.dropped_seconds = 0.0
        """Seconds of dropped audio."""

    def put(self, item: Item, nbytes: int) -> None:
        """Add an item of `nbytes` bytes."""
        with self._lock:
            if self._is_closed:
                return
            now = self._clock()
            self.put_nbytes += nbytes
            waiting = _Waiting(self._number, now, nbytes + ITEM_COST, item)
            self._number += 1
            if isinstance(item, Audio | Picture):
                self._media.append(waiting)
                self._media_nbytes += waiting.nbytes
                self._drop_media(now - self._seconds)
            else:
                self._texts.append(waiting)
                self._text_nbytes += waiting.nbytes
                self._drop_texts()
        self._wake()

    def end(self) -> None:
        """Mark the end. Waiting items can still be taken."""
        self._has_ended = True
        self._wake()

    def close(self) -> None:
        """Drop all waiting and future items."""
        with self._lock:
            self._is_closed = self._has_ended = True
            self._media.clear()
            self._texts.clear()
            self._media_nbytes = self._text_nbytes = 0
        self._wake()

    async def take(self) -> Item | None:
        """Wait for the next item, or return `None` at the end. Cancelling loses nothing."""
        await asyncio.sleep(0)  # let the loop do other work, even if there is always another item
        while (item := self._next()) is None and not self._has_ended:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            self._is_awaited = True
            item = self._next()  # it may have arrived in between
            if item is not None or self._has_ended:
                self._waiters.remove(waiter)
                break
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return item if item is not None else self._next()

    def _next(self) -> Item | None:
        media, texts = self._media, self._texts
        with self._lock:
            if media and (not texts or media[0].number < texts[0].number):
                found = media.popleft()
                self._media_nbytes -= found.nbytes
            elif texts:
                found = texts.popleft()
                self._text_nbytes -= found.nbytes
            else:
                return None
        return found.item

    def _drop_media(self, before: float) -> None:
        """Drop what is too old or too much, except the newest item."""
        media = self._media
        while len(media) > 1 and (media[0].came_at < before or self._media_nbytes > MOST_NBYTES):
            oldest = media.popleft()
            self._media_nbytes -= oldest.nbytes
            self.dropped += 1
            if isinstance(oldest.item, Audio):
                self.dropped_seconds += oldest.item.seconds

    def _drop_texts(self) -> None:
        texts = self._texts
        while len(texts) > 1 and (len(texts) > MOST_TEXTS or self._text_nbytes > MOST_TEXT_NBYTES):
            self._text_nbytes -= texts.popleft().nbytes
            self.dropped += 1

    def _wake(self) -> None:
        if not self._is_awaited:
            return
        self._is_awaited = False
        try:
            self._loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:
            pass  # the event loop is closed: nothing is taken any more

    def _resolve(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
