"""The buffer between the thread that receives a stream and the program that consumes it: bounded in time and memory."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from rtms_cli.library.items import Audio, Item, Picture

MOST_NBYTES = 64 << 20
"""Media that may wait, whatever the time that it has waited."""
MOST_TEXTS, MOST_TEXT_NBYTES = 10_000, 16 << 20
"""Lines and states that may wait."""
ITEM_COST = 300
"""Bytes that an item takes beside its own."""


class _Waiting(NamedTuple):
    number: int
    came_at: float
    nbytes: int
    item: Item


class Waiting:
    """A stream's items, in the order in which they came. Media that has waited for too long goes first, the oldest
    before the others, and is counted; texts stay as long as there is memory for them.

    `put` and `end` may be called on any thread, `take` on the event loop.

    :param seconds: how long media may wait while more comes.
    :param loop: where items are taken.
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
        """What came, in all."""
        self.dropped = 0
        """Items that went because nobody took them in time."""
        self.dropped_seconds = 0.0
        """The sound among them."""

    def put(self, item: Item, nbytes: int) -> None:
        """Let an item wait; `nbytes` is what it takes."""
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
        """Nothing more comes; what waits can still be taken."""
        self._has_ended = True
        self._wake()

    def close(self) -> None:
        """Nobody takes anything any more: forget what waits, and what still comes."""
        with self._lock:
            self._is_closed = self._has_ended = True
            self._media.clear()
            self._texts.clear()
            self._media_nbytes = self._text_nbytes = 0
        self._wake()

    async def take(self) -> Item | None:
        """Wait for the next item; `None` if there will be none. May be cancelled, which loses nothing."""
        await asyncio.sleep(0)  # the loop has other work, also where there is always one more item
        while (item := self._next()) is None and not self._has_ended:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            self._is_awaited = True
            item = self._next()  # it may have come in between
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
        """Throw away what is too old or too much; the newest stays."""
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
            pass  # the event loop is closed: nobody takes anything any more

    def _resolve(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
