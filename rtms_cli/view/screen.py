"""When to draw the dashboard, on what terminal, and what its keys do."""

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.messages import KeepAliveRequest, KeepAliveResponse
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.files import free_space
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.observing import StreamSnapshot
from rtms_cli.view.dashboard import History, Moment, draw
from rtms_cli.view.output import drop_dead_output
from rtms_cli.view.table import summary_table

REFRESH_S = 0.5
"""A picture costs about 10 ms: twice a second keeps it under 3 % of a core."""

_LAST_FRAMES = 200
_LAST_TABLES = 100
"""Recordings whose tables are printed in the end."""


class Screen:
    """An observer that draws; enter it for as long as it shall own the terminal.

    :param title: what runs, for the first line.
    :param look: gives the streams as they stand.
    :param end: ends one stream, by its id, or all of them with `None`.
    :param mark: marks the moment in one stream's events.
    :param progress: how far it is, from 0 to 1, where the end is known.
    """

    def __init__(
        self,
        title: str,
        look: Callable[[], Sequence[StreamSnapshot]],
        end: Callable[[str | None], None],
        mark: Callable[[str], None],
        out: Path,
        progress: Callable[[], float | None] = lambda: None,
        console: Console | None = None,
    ) -> None:
        self._title = title
        self._look = look
        self._end = end
        self._mark = mark
        self._out = out
        self._progress = progress
        self._console = console or Console()
        self._history = History()
        self._notices: deque[str] = deque(maxlen=20)
        self._frames: dict[str, deque[Frame]] = {}
        self._finished: deque[RenderableType] = deque(maxlen=_LAST_TABLES)
        self._chosen = 0
        self._views: Sequence[StreamSnapshot] = ()
        self._showing_frames = False
        self._paused = False
        self._help = False
        self._has_keys = False
        self._live: Live | None = None
        self._stack = contextlib.ExitStack()
        """What gives the terminal back."""

    # What it is told.

    def on_notice(self, text: str) -> None:
        """Something that concerns no stream that runs."""
        self._notices.append(text)

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """A recording began."""
        self._frames[stream.stream_id] = deque(maxlen=_LAST_FRAMES)

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """A frame that is no media packet."""
        frames = self._frames.get(stream_id)
        if frames is not None and not isinstance(frame.message, KeepAliveRequest | KeepAliveResponse):
            frames.append(frame)

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """The dashboard looks by itself."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """A session ended."""
        self._frames.pop(stream.stream_id, None)
        reason = "" if finish.stop_reason is None else f", reason {StopReason.label(finish.stop_reason)}"
        if folder is not None and manifest is not None:
            self._finished.append(summary_table(folder, manifest))
        self.on_notice(f"{finish.status}{reason}: {folder or stream.stream_id}")

    # The terminal.

    async def __aenter__(self) -> "Screen":
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._live.start()
        self._stack.callback(self._live.stop)
        try:
            self._has_keys = self._take_keys()
        except BaseException:
            self._stack.close()
            raise
        self._drawing = asyncio.create_task(self._draw_again(), name="dashboard")
        return self

    def restore(self) -> None:
        """Give the terminal back as it was; one that was closed needs nothing."""
        try:
            self._stack.close()
        except (OSError, termios.error):
            drop_dead_output()

    async def __aexit__(self, *_: object) -> None:
        self._drawing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._drawing
        self.restore()
        try:
            for table in self._finished:
                self._console.print(table)
                self._console.print()
        except OSError:
            drop_dead_output()

    async def _draw_again(self) -> None:
        while True:
            self.draw()
            await asyncio.sleep(REFRESH_S)

    def draw(self) -> None:
        """Draw a picture of this moment. Where the terminal was closed, recording goes on without one."""
        assert self._live is not None, "a screen is entered first"
        picture = self.picture()
        try:
            self._live.update(picture, refresh=True)
        except OSError:
            drop_dead_output()

    def picture(self) -> RenderableType:
        """The picture of this moment, for the console's size."""
        if not self._paused:
            self._views = self._look()
            self._history.sample(self._views)
        self._chosen = max(0, min(self._chosen, len(self._views) - 1))
        frames = None
        if self._showing_frames and self._views:
            frames = list(self._frames.get(self._views[self._chosen].session.stream.stream_id, ()))
        width, height = self._console.size
        moment = Moment(
            title=self._title,
            views=self._views,
            chosen=self._chosen,
            progress=self._progress(),
            notices=list(self._notices),
            frames=frames,
            paused=self._paused,
            help=self._help,
            keys=self._has_keys,
            free_nbytes=free_space(self._out),
        )
        return draw(moment, self._history, width, height)

    def _take_keys(self) -> bool:
        """Read single keys, where standard input is a terminal."""
        if not sys.stdin.isatty():
            return False
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
        self._stack.callback(termios.tcsetattr, descriptor, termios.TCSADRAIN, before)
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._on_keys)
        self._stack.callback(loop.remove_reader, descriptor)
        return True

    def _on_keys(self) -> None:
        descriptor = sys.stdin.fileno()
        try:
            pressed = os.read(descriptor, 64).decode(errors="replace")
        except OSError:
            pressed = ""
        if not pressed:  # the terminal was closed: it would be readable for ever
            asyncio.get_running_loop().remove_reader(descriptor)
            return
        self.press(pressed)
        self.draw()

    def press(self, pressed: str) -> None:
        """Obey keys: a text as a terminal sends it."""
        if self._help and pressed:
            self._help = False
            return
        for arrow, key in (("\x1b[A", "k"), ("\x1b[B", "j"), ("\x1bOA", "k"), ("\x1bOB", "j")):
            pressed = pressed.replace(arrow, key)
        for key in pressed:
            match key:
                case "k":
                    self._chosen -= 1
                case "j" | "\t":
                    self._chosen += 1
                case "r":
                    self._showing_frames = not self._showing_frames
                case "p" | " ":
                    self._paused = not self._paused
                case "m" if self._views:
                    self._mark(self._views[self._chosen].session.stream.stream_id)
                case "s" if self._views:
                    self._end(self._views[self._chosen].session.stream.stream_id)
                case "q":
                    self._end(None)
                case "?" | "h":
                    self._help = True
                case _:
                    pass
            self._chosen = max(0, min(self._chosen, len(self._views) - 1))
