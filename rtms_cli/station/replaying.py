"""A capture becomes a recording again: at once, or at a pace, with views that subscribe as to a live stream."""

import asyncio
import gc
from collections.abc import Callable, Iterable, Sequence

from rtms_cli.capture import Capture
from rtms_cli.machine import Finish, Frame, Item, in_batches
from rtms_cli.protocol.messages import Media
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import PROMPT_S
from rtms_cli.session.rehearsal import Rehearsal
from rtms_cli.station.listening import OpenListener, open_listeners
from rtms_cli.station.observing import Observer, Observers, StreamSnapshot

BATCH = 1024
"""Frames that are folded together where nobody waits for them."""
STEP_S = 0.05
"""Frames that are due within so long are folded together."""


class Replay:
    """One replay; the recorder is closed in the end, however that comes."""

    def __init__(self, source: Capture, recorder: Recorder, rehearsal: Rehearsal) -> None:
        self._source = source
        self._recorder = recorder
        self._rehearsal = rehearsal
        self._at_us = 0
        self._end_us: int | None = None
        self._stopped = asyncio.Event()

    def run_at_once(self, read: Callable[[Capture], Iterable[Item]] = Capture.items) -> None:
        """Fold every frame as fast as it goes, until the end or `stop`, which a signal's handler may call.

        :param read: gives the capture's items; it may show how far they have been read.
        """
        gc.set_threshold(200_000, 20, 50)  # frames are no cycles
        try:
            for batch in in_batches(read(self._source), BATCH):
                if self._stopped.is_set():
                    break
                for item in batch:
                    self._rehearsal.follow_all(item)
                self._recorder.fold(batch)
        finally:
            self._recorder.close()

    async def run(
        self, speed: float, observers: Sequence[Observer] = (), listeners: Sequence[OpenListener] = ()
    ) -> None:
        """Fold every frame when it is due, until the end or `stop`.

        :param speed: how many times as fast as it was recorded.
        :param listeners: hear what the files get.
        """
        hearing = Observers(observers)
        stream = self._rehearsal.session.snapshot().stream
        self._end_us = await asyncio.to_thread(self._source.end_us)
        folder = self._recorder.folder if self._recorder.is_kept else None
        heard = open_listeners(listeners, stream, folder, hearing.on_notice)
        self._recorder.listen(heard)
        hearing.on_started(stream, folder)
        try:
            await self._play(speed, stream.stream_id, hearing)
        finally:
            await asyncio.to_thread(self._recorder.close)
            if heard is not None:
                await heard.close()
                await asyncio.to_thread(self._recorder.note_taps)
        told = self._recorder.manifest()
        reason, said_by = (None, "") if told.stop is None else (told.stop.reason, told.stop.said_by)
        hearing.on_finished(stream, folder, Finish(told.status, reason, said_by), told)

    def stop(self) -> None:
        """End it before its time."""
        self._stopped.set()

    def snapshots(self) -> Sequence[StreamSnapshot]:
        """The stream as it stands."""
        session, recording = self._rehearsal.session.snapshot(), self._recorder.snapshot()
        folder = self._recorder.folder if self._recorder.is_kept else None
        return [StreamSnapshot(folder, self._at_us, session, recording)]

    def progress(self) -> float | None:
        """How far it is, from 0 to 1."""
        return self._at_us / self._end_us if self._end_us else None

    async def _play(self, speed: float, stream_id: str, hearing: Observers) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        step_s = PROMPT_S if self._recorder.is_heard else STEP_S
        batch: list[Frame] = []
        for frame in self._source:
            due = start + frame.at_us / 1_000_000 / speed
            if due - loop.time() > step_s:
                await self._fold(batch)
                batch = []
            while (wait_s := due - loop.time()) > step_s:
                # Who listens wants to know that time passes.
                if await self._is_stopped_within(min(wait_s, step_s) if self._recorder.is_heard else wait_s):
                    return
                await self._turn(int((loop.time() - start) * speed * 1_000_000))
            self._rehearsal.follow(frame)
            if not isinstance(frame.message, Media):
                hearing.on_frame(stream_id, frame)
            self._at_us = frame.at_us
            batch.append(frame)
        await self._fold(batch)

    async def _fold(self, batch: list[Frame]) -> None:
        await asyncio.to_thread(self._recorder.fold, batch)
        await self._turn(self._at_us)

    async def _turn(self, at_us: int) -> None:
        if self._recorder.is_heard:
            await asyncio.to_thread(self._recorder.turn, at_us)

    async def _is_stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True
