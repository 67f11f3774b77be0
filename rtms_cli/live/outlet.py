"""Connects a tap to one target: a bounded buffer between threads, and the task that opens, sends, and reopens.

The writing thread fills the buffer, and the event loop empties it. Pieces that have waited too long are dropped and
counted: a slow target only loses what it cannot take.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from rtms_cli.live.pieces import GAP, Beginning, Gap, Piece, Target, TargetGoneError
from rtms_cli.protocol.messages import UserId
from rtms_cli.recording.manifest import TapEntry

MOST_NBYTES = 32 << 20
"""Limit of waiting data for a target, regardless of its age."""
PIECE_COST = 200
"""Overhead of a piece in bytes."""
MOST_GAPS = 1_000
"""How many kinds and users have separate counts of dropped pieces."""
BATCH_NBYTES = 1 << 16
"""How much a target receives at once. It then leaves the buffer."""
FINISH_S = 10.0
"""How long a target may take for waiting data when the stream ends, and then for its own end."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Shortest and longest delay between attempts to reopen a target."""
STEADY_S = 10.0
"""A target that ran for this long is reopened without a long pause."""

Tell = Callable[[Mapping[str, object], str], None]
"""Reports the state of a tap to people and scripts, on the event loop."""


def _gap_piece(kind: str, whose: UserId, gap: Gap) -> Piece:
    told = {"kind": kind, "from_ms": gap.from_ms, "to_ms": gap.to_ms, "why": "the target was too slow or absent"}
    return Piece(GAP, msgspec.json.encode(told | {"count": gap.count}), whose, timestamp_ms=gap.from_ms)


class Buffer:
    """Data waiting for a target. `put` is called on one thread, `take` on the event loop.

    :param seconds: how long a piece may wait.
    :param loop: the event loop that takes from it.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._pieces: deque[tuple[int, Piece]] = deque()
        self._nbytes = 0
        self._gaps: dict[tuple[str, UserId], Gap] = {}
        """What was dropped since the target was last informed of it."""
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._has_ended = False
        self.drops = 0
        self.dropped_seconds = 0.0

    def put(self, piece: Piece, at_us: int) -> None:
        """Add a piece. `wake` notifies the consumer."""
        with self._lock:
            self._pieces.append((at_us, piece))
            self._nbytes += len(piece.data) + PIECE_COST
            self._drop_old(at_us)

    def drop_old(self, at_us: int) -> None:
        """Drop what has waited for too long."""
        if self._pieces:
            with self._lock:
                self._drop_old(at_us)

    def wake(self) -> None:
        """Notify the consumer that there is data."""
        if self._waiter is not None and (self._pieces or self._has_ended):
            try:
                self._loop.call_soon_threadsafe(self._resolve)
            except RuntimeError:
                pass  # the event loop is closed: nothing is consumed any more

    def lose(self, pieces: Sequence[Piece]) -> None:
        """Count pieces that were taken but not forwarded."""
        with self._lock:
            for piece in pieces:
                if piece.kind != GAP:
                    self._drop(piece)

    def lose_all(self) -> None:
        """Count what is still waiting, and drop it."""
        with self._lock:
            pieces, self._nbytes = [piece for _, piece in self._pieces], 0
            self._pieces.clear()
        self.lose(pieces)

    def end(self) -> None:
        """Mark the end of the data."""
        self._has_ended = True
        self.wake()

    async def take(self) -> list[Piece]:
        """Wait for data, and return as much as a target receives at once; nothing at the end."""
        while not self._pieces and not self._has_ended:
            self._waiter = self._loop.create_future()
            if not self._pieces and not self._has_ended:  # otherwise it arrived in between
                await self._waiter
            self._waiter = None
        nbytes = 0
        with self._lock:
            taken = [_gap_piece(kind, whose, gap) for (kind, whose), gap in self._gaps.items()]
            self._gaps.clear()
            while self._pieces and nbytes < BATCH_NBYTES:
                _, piece = self._pieces.popleft()
                nbytes += len(piece.data) + PIECE_COST
                taken.append(piece)
            self._nbytes -= nbytes
        return taken

    def _drop_old(self, at_us: int) -> None:
        oldest_us = at_us - int(self._seconds * 1_000_000)
        while self._pieces and (self._pieces[0][0] < oldest_us or self._nbytes > MOST_NBYTES):
            _, piece = self._pieces.popleft()
            self._nbytes -= len(piece.data) + PIECE_COST
            self._drop(piece)

    def _drop(self, piece: Piece) -> None:
        self.drops += 1
        self.dropped_seconds += piece.seconds
        key = piece.kind, piece.user_id
        if key not in self._gaps and len(self._gaps) >= MOST_GAPS:
            key = piece.kind, None
        self._gaps.setdefault(key, Gap.begin(piece)).add(piece)

    def _resolve(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Outlet:
    """One target of one session, or of one participant.

    :param entry: the manifest's entry, which is kept up to date.
    :param tell: called with its state.
    :param loop: the event loop that it runs on. It may be created on another thread.
    """

    def __init__(
        self,
        target: Target,
        beginning: Beginning,
        entry: TapEntry,
        buffer_s: float,
        tell: Tell,
        loop: asyncio.AbstractEventLoop,
        *,
        restarts: bool,
    ) -> None:
        self.buffer = Buffer(buffer_s, loop)
        self.beginning = beginning
        self._target = target
        self._entry = entry
        self._tell = tell
        self._restarts = restarts
        self._task: asyncio.Task[None] | None = None
        self._is_ending = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        """Progress of the current operation."""

    def start(self) -> None:
        """Start sending, on the event loop."""
        self._task = asyncio.create_task(self._run(), name=f"tap {self._entry.target}")
        self._task.add_done_callback(self._look)

    @property
    def entry(self) -> TapEntry:
        """Return how much it received."""
        self._entry.drops = self.buffer.drops
        self._entry.dropped_seconds = round(self.buffer.dropped_seconds, 3)
        return self._entry

    async def close(self) -> None:
        """Forward waiting data, and end within a few seconds, whatever the target does."""
        self.buffer.end()
        self._is_ending.set()
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + FINISH_S)
        if self._task is not None:
            await asyncio.wait([self._task])
        self.buffer.lose_all()
        if self._task is not None:
            self._task.result()

    def _look(self, task: asyncio.Task[None]) -> None:
        """Report a defect in rtms as it happens. `close` raises it."""
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._entry.error = f"a defect in rtms: {defect!r}"
            self._say("gone", f"{self._entry.error}; nothing more is sent to it")

    async def _run(self) -> None:
        pause_s, told = FIRST_PAUSE_S, ""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            gone = await self._serve()
            if gone is None:
                return
            if gone.exit_code is not None:
                self._entry.exit_code = gone.exit_code
            self._entry.error = str(gone)
            if loop.time() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            if gone.final or not self._restarts or self._is_ending.is_set():
                self._say("gone", f"{gone}; nothing more is sent to it")
                await self._throw_away()
                return
            if gone.absent:
                pause_s = FIRST_PAUSE_S
            if str(gone) != told or not (gone.absent or pause_s >= LONGEST_PAUSE_S):  # not for hours, again and again
                self._say("lost", f"{gone}; retrying in {pause_s:g} s")
            told = str(gone)
            try:
                await asyncio.wait_for(self._is_ending.wait(), pause_s)
            except TimeoutError:
                pass  # the pause is over
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self._entry.restarts += 1

    async def _serve(self) -> TargetGoneError | None:
        """Open the target and send until everything was sent or the target is gone. Return why it is gone."""
        loop, gone = asyncio.get_running_loop(), None
        try:
            async with asyncio.timeout_at(loop.time() + FINISH_S if self._is_ending.is_set() else None) as self._limit:
                await self._target.open(self.beginning)
                self._say("open", "open")
                while pieces := await self.buffer.take():
                    await self._send(pieces)
        except TargetGoneError as error:
            gone = error
        except TimeoutError:
            self._entry.error = f"it did not accept everything within {FINISH_S:g} s of the end"
        finally:
            self._limit = None
            code = await self._target.close(hurry=gone is not None)
            if code is not None:
                self._entry.exit_code = code
        return gone

    async def _send(self, pieces: Sequence[Piece]) -> None:
        is_sent = False
        try:
            self._entry.bytes += await self._target.send(pieces)
            is_sent = True
        finally:
            if not is_sent:
                self.buffer.lose(pieces)

    async def _throw_away(self) -> None:
        """Count the data for a target that is gone for good."""
        while pieces := await self.buffer.take():
            self.buffer.lose(pieces)

    def _say(self, state: str, what: str) -> None:
        whose = f" of {self._entry.user_name or self._entry.user_id}" if self._entry.user_id is not None else ""
        fields = {
            "stream_id": self.beginning.stream_id,
            "what": self._entry.what,
            "target": self._entry.target,
            "user_id": self._entry.user_id,
            "state": state,
            "restarts": self._entry.restarts,
            "exit_code": self._entry.exit_code,
        }
        self._tell(fields, f"tap {self._entry.what}{whose} → {self._entry.target}: {what}")
