"""A replay on the dashboard."""

import asyncio
from collections.abc import Sequence

from rtms_cli.capture import Capture
from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.messages import Media
from rtms_cli.recording.recorder import Recorder
from rtms_cli.session.rehearsal import Rehearsal
from rtms_cli.station.running import on_signals
from rtms_cli.station.snapshot import StreamView
from rtms_cli.view.screen import Screen

STEP_S = 0.05
"""Frames that are due within so long are folded together."""


async def watch(source: Capture, recorder: Recorder, rehearsal: Rehearsal, speed: float) -> None:
    """Fold a capture's frames when they are due, and show it; the recorder is closed in the end, however that comes."""
    await _Watched(source, recorder, rehearsal, speed).run()


class _Watched:
    def __init__(self, source: Capture, recorder: Recorder, rehearsal: Rehearsal, speed: float) -> None:
        self._source = source
        self._recorder = recorder
        self._rehearsal = rehearsal
        self._speed = speed
        self._at_us = 0
        self._end_us = source.end_us()
        self._stopped = asyncio.Event()
        self._screen = Screen(
            f"replay of {source.path} at {speed:g}×",
            self._look,
            lambda _: self._stopped.set(),
            lambda _: self._screen.on_notice("a replay writes what was recorded: nothing is marked"),
            recorder.folder,
            lambda: None if not self._end_us else self._at_us / self._end_us,
        )

    async def run(self) -> None:
        """Play it to the end, or until somebody has had enough."""
        stream = self._rehearsal.session.snapshot().stream
        on_signals(lambda _: self._stopped.set(), self._screen.restore)
        async with self._screen:
            self._screen.on_started(stream, self._recorder.folder)
            try:
                await self._play(stream.stream_id)
            finally:
                await asyncio.to_thread(self._recorder.close)
            told = self._recorder.manifest()
            reason, said_by = (None, "") if told.stop is None else (told.stop.reason, told.stop.said_by)
            self._screen.on_finished(stream, self._recorder.folder, Finish(told.status, reason, said_by))

    async def _play(self, stream_id: str) -> None:
        start = asyncio.get_running_loop().time()
        batch: list[Frame] = []
        for frame in self._source:
            due = start + frame.at_us / 1_000_000 / self._speed
            wait_s = due - asyncio.get_running_loop().time()
            if wait_s > STEP_S:
                await self._fold(batch)
                batch = []
                try:
                    await asyncio.wait_for(self._stopped.wait(), wait_s)
                except TimeoutError:
                    pass  # nobody has had enough yet: the frame is due
                else:
                    return
            self._rehearsal.follow(frame)
            if not isinstance(frame.message, Media):
                self._screen.on_frame(stream_id, frame)
            self._at_us = frame.at_us
            batch.append(frame)
        await self._fold(batch)

    async def _fold(self, batch: list[Frame]) -> None:
        await asyncio.to_thread(self._recorder.fold, batch)

    def _look(self) -> Sequence[StreamView]:
        snapshot = self._recorder.snapshot()
        return [StreamView(self._recorder.folder, self._at_us, self._rehearsal.session.snapshot(), snapshot)]
