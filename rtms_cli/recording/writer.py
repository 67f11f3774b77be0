"""The thread that writes: one for all recorders of a process, so that the event loop never waits for a disk.

Theory of operation. `Sink.put` appends to its stream's queue and counts bytes; the thread takes what has come, at most
`SLICE` bytes of a stream at a time so that one cannot keep the others waiting, and folds it. Each stream has its turn
once in a period, so that small frames are written in batches, and the turns are spread over the period: while the
thread works, the event loop gets on slowly, and many short delays are better than a long one. A prompt stream, to which
someone listens, has more turns of its own. Only where more waits than real time brings, or someone waits for room,
all streams have their turn at once.

Each counter has one writer: the event loop's thread adds, the writing thread takes off. A `deque` may be appended to
and popped from by two threads. So `put` needs no lock.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import structs

from rtms_cli.machine import WEBHOOK, ChannelState, Direction, Frame, Item, Packets, State, state_frame
from rtms_cli.protocol.messages import Media
from rtms_cli.recording.hearing import Listener
from rtms_cli.recording.recorder import Recorder, RecorderSnapshot

log = logging.getLogger(__name__)

PERIOD_S, LONGEST_PERIOD_S = 0.2, 0.7
PERIOD_PER_STREAM_S = 0.0015
"""Many streams are written less often, each with more at once; never later than what a killed process may lack."""
TICK_S = 0.02
"""The shortest sleep between two turns; of hundreds of streams, a dozen have theirs together."""
PROMPT_S = 0.02
"""How long a prompt stream waits for its next turn."""
MANIFEST_S = 2.0
MANIFEST_PER_STREAM_S = 0.05
STREAMS_PER_MANIFEST = 80
"""One manifest is renewed for this many streams that have their turn together: a renamed file is written out by ext4,
and frames must not wait for that."""
MANIFEST_BYTES_PER_S = 50_000
"""A large manifest is renewed less often."""
SLICE = 1 << 19
"""Of larger batches less would still be in the processor's cache when it is written, and their memory would be asked of
the system again each time."""
WAKE, WAKE_PER_STREAM = SLICE, 32 << 10
"""What waits before all streams have their turn at once: someone sends faster than in real time."""
FRAME_COST = 300
"""Bytes that a waiting frame may take beside its own; those are there twice, as they came and read, but in packets."""
PACKET_COST = 50
"""The same of each packet of a run."""
SOFT_LIMIT, SOFT_LIMIT_PER_STREAM = 16 << 20, 64 << 10
"""How much may wait while the thread is writing; beyond it, a faster sender is slowed down."""
STALLED_S = 0.25
"""A thread that has not got on for this long waits for a disk: then more may wait, so that keep-alives are read."""


class Writer:
    """Runs recorders on one thread.

    :param max_buffer: bytes that all streams together may have waiting. From half of that on, and already from
        `SOFT_LIMIT` on while the thread gets on, sinks are full and who reads media waits: what comes still is what
        was read in one go. Beyond all of it, other messages are dropped and counted.
    """

    def __init__(self, max_buffer: int = 256 << 20) -> None:
        self.max_buffer = max_buffer
        self._soft_limit = self._wake_from = self._little = 0
        self._progress = time.monotonic()
        self._added = 0
        self._taken = 0
        self._sinks: list[Sink] = []
        self._prompt: list[Sink] = []
        self._next = 0
        self._last_turn = time.monotonic()
        self._owed = 0.0
        """Turns, and parts of one, that are due."""
        self._set_soft_limit()
        self._waiters: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._wake = threading.Event()
        self._has_work = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def backlog(self) -> int:
        """Bytes that wait to be written."""
        return self._added - self._taken

    @property
    def full(self) -> bool:
        """Whether more waits than should."""
        backlog = self._added - self._taken
        if backlog < self._soft_limit:
            return False
        return backlog >= self.max_buffer // 2 or time.monotonic() - self._progress < STALLED_S

    def open(self, recorder: Recorder, now_us: Callable[[], int] | None = None) -> "Sink":
        """Start to write a recording; close the sink when its stream is done.

        A recorder to which someone listens has its turn every `PROMPT_S`. The turns of the others stay as they are.

        :param now_us: the stream's clock, for who listens.
        """
        sink = Sink(self, recorder, now_us)
        self._sinks.append(sink)
        if sink.is_prompt:
            self._prompt.append(sink)
        self._set_soft_limit()
        if self._thread is None:
            # A daemon: a process that must go at once leaves files that are valid, as after kill -9.
            self._thread = threading.Thread(target=self._run, name="rtms-writer", daemon=True)
            self._thread.start()
        self._has_work.set()
        return sink

    def _set_soft_limit(self) -> None:
        self._soft_limit = min(self.max_buffer // 2, SOFT_LIMIT + SOFT_LIMIT_PER_STREAM * len(self._sinks))
        self._little = self._soft_limit // 2
        """What may wait for sinks not to be full any more."""
        self._wake_from = min(self._little, WAKE + WAKE_PER_STREAM * len(self._sinks))

    async def close(self) -> None:
        """Close all sinks that are open, and end the thread."""
        for sink in list(self._sinks):
            await sink.close()
        self._closing = True
        self._has_work.set()
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def room(self) -> None:
        """Wait until clearly less is waiting than makes sinks full."""
        loop = asyncio.get_running_loop()
        while self.full:  # again: what was let go may have been full again by then
            future = loop.create_future()
            self._waiters.append((loop, future))
            self._wake.set()  # in case the thread came by before it could see this waiter
            # A thread that waits for a disk cannot report: then there is room after all.
            await asyncio.wait([future], timeout=STALLED_S)

    # The writing thread.

    def _run(self) -> None:
        while True:
            self._has_work.wait()
            if self._closing:
                return
            count = max(1, len(self._sinks))
            period_s = min(LONGEST_PERIOD_S, max(PERIOD_S, PERIOD_PER_STREAM_S * count))
            pause_s = max(TICK_S, period_s / count)
            self._wake.wait(min(pause_s, PROMPT_S) if self._prompt else pause_s)
            self._wake.clear()
            if self.backlog > self._wake_from or self._waiters:
                self._take_turns(list(self._sinks), ())
                self._wake.clear()  # what came meanwhile asked for this, and small batches cost the most
                if self.backlog > self._wake_from or self._waiters:
                    self._wake.set()
            else:
                self._take_turns(self._whose_turn(period_s), tuple(self._prompt))
            if not self._sinks:
                self._has_work.clear()
                if self._sinks or self._closing:  # in between
                    self._has_work.set()

    def _whose_turn(self, period_s: float) -> list["Sink"]:
        """The next ones in order, as many as the time that has passed is for; and those that are to be closed."""
        now = time.monotonic()
        sinks = list(self._sinks)
        self._owed = min(len(sinks), self._owed + len(sinks) * (now - self._last_turn) / period_s)
        self._last_turn = now
        count = int(self._owed)
        self._owed -= count
        first = self._next if self._next < len(sinks) else 0
        self._next = first + count
        chosen = sinks[first : first + count]
        if self._next > len(sinks):
            self._next -= len(sinks)
            chosen += sinks[: self._next]
        others = [sink for sink in sinks if sink._close_asked]
        return chosen + [sink for sink in dict.fromkeys(others) if sink not in chosen]

    def _take_turns(self, sinks: list["Sink"], heard: Sequence["Sink"]) -> None:
        """Fold until nothing of what had come is left.

        :param heard: have a turn in which nothing is written.
        """
        for sink in heard:
            sink._fold_some(writes=False)
        busy = True
        while busy:
            busy = False
            for sink in sinks:
                busy |= sink._fold_some()
                self._let_go()
        now, due = time.monotonic(), 1 + len(sinks) // STREAMS_PER_MANIFEST
        for sink in sorted(sinks, key=lambda sink: sink._manifest_due):
            if due > 0:
                due -= sink._checkpoint(now)
        for sink in sinks:
            if sink._close_asked and not sink._queue:
                self._sinks.remove(sink)
                self._set_prompt(sink, is_prompt=False)
                sink._finish()
        self._let_go()

    def _set_prompt(self, sink: "Sink", *, is_prompt: bool) -> None:
        """Give a sink turns of its own, or no more."""
        if is_prompt and sink not in self._prompt and sink in self._sinks:
            self._prompt.append(sink)
        elif not is_prompt and sink in self._prompt:
            self._prompt.remove(sink)

    def _let_go(self) -> None:
        if self.backlog >= self._little:
            return
        while self._waiters:
            _tell(*self._waiters.popleft())


class Sink:
    """Where one stream's frames go to be kept: a `machine.FrameSink`. Use it from one event loop."""

    __slots__ = (
        "_added",
        "_clock",
        "_close_asked",
        "_closed",
        "_dropped",
        "_dropped_us",
        "_guests",
        "_is_closed",
        "_manifest_due",
        "_manifest_taken",
        "_now_us",
        "_queue",
        "_recorder",
        "_taken",
        "_writer",
    )

    def __init__(self, writer: Writer, recorder: Recorder, now_us: Callable[[], int] | None = None) -> None:
        self._writer = writer
        self._recorder = recorder
        self._clock = now_us
        self._now_us = now_us if recorder.is_heard else None
        """The clock, while someone listens."""
        self._guests: deque[tuple[Listener | None, asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        """Who is let in next, and who waits for that; `None` sees the guest off."""
        self._queue: deque[Item] = deque()
        self._added = 0
        self._taken = 0
        self._dropped = 0
        self._dropped_us = 0
        self._close_asked = False
        self._closed: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._is_closed = False
        self._manifest_due = 0.0
        self._manifest_taken = 0

    @property
    def full(self) -> bool:
        """Whether more waits to be written, of all streams, than the buffer should hold."""
        return self._writer.full

    @property
    def is_prompt(self) -> bool:
        """Whether someone listens, so that it has turns of its own."""
        return self._now_us is not None

    def invite(self, guest: Listener | None) -> asyncio.Future[None]:
        """Let one more listen, in place of the one before; `None` sees that one off.

        :returns: is done when the one before hears nothing more.
        """
        loop = asyncio.get_running_loop()
        received = loop.create_future()
        self._guests.append((guest, loop, received))
        if self._is_closed:
            self._receive()
        self._writer._wake.set()
        return received

    def put(self, item: Item) -> None:
        """Keep a frame, or packets. Never blocks, never raises. After `close` nothing is kept any more."""
        writer = self._writer
        if self._close_asked:
            return
        if writer._added - writer._taken > writer.max_buffer and isinstance(item, Frame) and _may_be_dropped(item):
            self._dropped += 1
            self._dropped_us = item.at_us
            return
        if self._dropped:
            self._report_dropped()
        cost = _cost(item)
        self._queue.append(item)
        self._added += cost
        writer._added += cost
        if writer._added - writer._taken > writer._wake_from and not writer._wake.is_set():
            writer._wake.set()

    async def room(self) -> None:
        """Wait until the sink can take more."""
        await self._writer.room()

    def snapshot(self) -> RecorderSnapshot:
        """The recorder's counters, with what waits for it."""
        return structs.replace(self._recorder.snapshot(), backlog_nbytes=self._added - self._taken)

    async def close(self) -> RecorderSnapshot:
        """Write all that was put, and the final manifest."""
        if not self._is_closed:
            if self._dropped:
                self._report_dropped()
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._closed.append((loop, future))
            self._close_asked = True
            self._writer._wake.set()
            if not self._is_closed:  # else it was closed before it could see who waits
                await future
        return self._recorder.snapshot()

    def _report_dropped(self) -> None:
        count, self._dropped = self._dropped, 0
        reason = f"{count} messages were not kept: over {self._writer.max_buffer >> 20} MiB were waiting for the disk"
        self.put(state_frame(self._dropped_us, "signaling", ChannelState(State.DROPPED, reason=reason, count=count)))

    # The writing thread.

    def _fold_some(self, *, writes: bool = True) -> bool:
        """Fold up to one slice.

        :param writes: see `Recorder.fold`.
        :returns: whether there may be more.
        """
        if self._guests:
            self._receive()
        queue, items, cost = self._queue, [], 0
        at_us = None if self._now_us is None else self._now_us()  # before what came by then is taken
        while queue and cost < SLICE:
            item = queue.popleft()
            items.append(item)
            cost += _cost(item)
        if items or (writes and self._now_us is not None):
            self._guarded(lambda: self._recorder.fold(items, writes=writes))
        if at_us is not None and cost < SLICE:
            self._guarded(lambda: self._recorder.turn(at_us))
        self._taken += cost
        self._writer._taken += cost
        self._writer._progress = time.monotonic()
        return cost >= SLICE

    def _receive(self) -> None:
        """Let in, or see off, who was announced."""
        while self._guests:
            try:
                guest, loop, received = self._guests.popleft()
            except IndexError:  # at the very end, the event loop's thread may be here, too
                break
            self._recorder.invite(guest)
            _tell(loop, received)
        is_prompt = self._recorder.is_heard and self._clock is not None
        self._now_us = self._clock if is_prompt else None
        self._writer._set_prompt(self, is_prompt=is_prompt)

    def _checkpoint(self, now: float) -> bool:
        """Renew the manifest, if it is due and there is something new."""
        if self._taken == self._manifest_taken or now < self._manifest_due:
            return False
        self._manifest_taken = self._taken
        self._manifest_due = now + MANIFEST_S + MANIFEST_PER_STREAM_S * len(self._writer._sinks)
        self._guarded(self._renew_manifest)
        return True

    def _renew_manifest(self) -> None:
        self._manifest_due += self._recorder.checkpoint() / MANIFEST_BYTES_PER_S

    def _finish(self) -> None:
        self._guarded(self._recorder.close)
        self._is_closed = True
        self._receive()
        while self._closed:
            _tell(*self._closed.pop())

    def _guarded(self, work: Callable[[], None]) -> None:
        """A defect in one recorder must not stop the others; it is logged and stands in the manifest."""
        try:
            work()
        except Exception as defect:
            log.exception("a defect in rtms damaged a part of %s; its capture has the frames", self._recorder.folder)
            self._recorder.note_loss("a defect in rtms", repr(defect))


def _may_be_dropped(frame: Frame) -> bool:
    """Whether nothing depends on a frame; readers of media wait for room, so there are few of those."""
    return not isinstance(frame.message, Media) and frame.direction is not Direction.STATE and frame.channel != WEBHOOK


def _cost(item: Item) -> int:
    """What waits counts for this much: the same when it is put as when it is taken."""
    if type(item) is Packets:
        return item.nbytes + PACKET_COST * len(item.raws) + FRAME_COST
    assert isinstance(item, Frame)
    return (1 if isinstance(item.message, Media) else 2) * len(item.raw) + FRAME_COST


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        log.debug("nobody waits any more: the event loop is closed")
