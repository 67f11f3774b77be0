"""A capture becomes a recording again: at once, or at a pace, with views that subscribe as to a live stream."""

import asyncio
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rtms_cli.capture import Capture, Header
from rtms_cli.errors import Problem, reason_of
from rtms_cli.machine import Finish, Frame, Item, in_batches
from rtms_cli.protocol.messages import Media
from rtms_cli.recording.files import make_folder
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.names import new_folder
from rtms_cli.recording.ownership import is_locked
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import PROMPT_S
from rtms_cli.session.rehearsal import Rehearsal
from rtms_cli.station.listening import OpenListener, open_listeners
from rtms_cli.station.observing import Observer, Observers, StreamSnapshot

BATCH = 1024
"""Frames that are folded together where nobody waits for them."""
STEP_S = 0.05
"""Frames that are due within this long are folded together."""


class Aside:
    """Where a replay's recording is made: a hidden folder, which gets its name when the recording is complete.

    :param parent: the folder that the recording is to be in; it is made where it is missing.
    :raises Problem: if no folder can be made there.
    """

    def __init__(self, parent: Path, header: Header) -> None:
        self._parent, self._header = parent, header
        try:
            make_folder(parent)
            with suppress(OSError):  # another replay removes them too
                _remove_leftovers(parent)
            self.folder = Path(tempfile.mkdtemp(_HIDDEN, ".", parent))
        except OSError as error:
            raise Problem(
                f"Cannot make a folder in {parent}: {reason_of(error)}.", "Choose another with --out."
            ) from None

    def put_in_place(self) -> Path:
        """Give the finished recording its name.

        :returns: the folder that the recording is in from now on.
        :raises Problem: if that fails.
        """
        try:
            place = new_folder(self._parent, self._header)
            try:
                if os.name == "nt":  # a folder cannot replace an empty one there
                    place.rmdir()
                return self.folder.replace(place)
            except OSError:
                with suppress(OSError):
                    place.rmdir()
                raise
        except OSError as error:
            raise Problem(f"The replay cannot be stored in {self._parent}: {reason_of(error)}.") from None

    def discard(self) -> None:
        """Remove what was made, unless it is in place."""
        shutil.rmtree(self.folder, ignore_errors=True)


_HIDDEN = ".replaying"
_LEFT_S = 60.0
"""How old the hidden folder of a replay is that was killed, at least."""


def _remove_leftovers(parent: Path) -> None:
    """Remove the hidden folders of replays that were killed."""
    for folder in parent.glob(f".*{_HIDDEN}"):
        is_old = time.time() - folder.lstat().st_mtime > _LEFT_S
        if is_old and folder.is_dir() and not folder.is_symlink() and not is_locked(folder):
            shutil.rmtree(folder, ignore_errors=True)


class Replay:
    """One replay; the recorder is closed in the end, however that comes.

    :param aside: where the recorder writes, if it does. A replay that is stopped or fails leaves nothing there.
    """

    def __init__(
        self,
        source: Capture,
        recorder: Recorder,
        rehearsal: Rehearsal,
        aside: Aside | None = None,
    ) -> None:
        self._aside = aside
        self.is_complete = False
        """Whether every frame was replayed."""
        self.folder: Path | None = None
        """Where the finished recording is, if it is kept."""
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
            else:
                self.is_complete = True
        finally:
            self._recorder.close()
            self._settle()

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
            await asyncio.to_thread(self._settle)
        if not self.is_complete:
            return
        folder, told = self.folder, self.manifest()
        reason, said_by = (None, "") if told.stop is None else (told.stop.reason, told.stop.said_by)
        hearing.on_finished(stream, folder, Finish(told.status, reason, said_by), told)

    def manifest(self) -> Manifest:
        """The recording's manifest as it stands."""
        return self._recorder.manifest()

    def differences(self) -> Sequence[str]:
        """Where the session would do otherwise today, a line each."""
        return self._rehearsal.differences()

    def _settle(self) -> None:
        if self._aside is not None and self.is_complete:
            self.folder = self._aside.put_in_place()
        elif self._aside is not None:
            self._aside.discard()

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
                # Listeners need to know that time passes.
                if await self._is_stopped_within(min(wait_s, step_s) if self._recorder.is_heard else wait_s):
                    return
                await self._turn(int((loop.time() - start) * speed * 1_000_000))
            self._rehearsal.follow(frame)
            if not isinstance(frame.message, Media):
                hearing.on_frame(stream_id, frame)
            self._at_us = frame.at_us
            batch.append(frame)
        await self._fold(batch)
        self.is_complete = True

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
