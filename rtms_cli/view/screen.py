"""When to draw the dashboard, on what terminal, and what its keys do."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO, cast

from msgspec import Struct
from rich.console import Console, RenderableType
from rich.live import Live

from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.messages import KeepAliveRequest, KeepAliveResponse
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.files import free_space
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.observing import ConnectionStatus, StreamSnapshot
from rtms_cli.view.console import make_console
from rtms_cli.view.dashboard import ATTACHED, OWN, History, Line, Moment, draw
from rtms_cli.view.ended import Ended, Suggest, print_ended
from rtms_cli.view.lines import MOST_ENDED, is_worth_a_look
from rtms_cli.view.next_steps import next_steps
from rtms_cli.view.output import CLOSE_TIMEOUT_S, Drawing, drop_dead_output
from rtms_cli.view.terminal import Keys, is_ours, never_be_stopped
from rtms_cli.view.text import escape

REFRESH_S = 0.5
"""A picture costs about 10 ms: twice a second keeps it under 3 % of a core."""

_LAST_FRAMES = 200


class Elsewhere(Struct, frozen=True):
    """What a screen asks where the recorder is another process, which goes on when the screen is left."""

    choose: Callable[[str], None]
    """Told which stream is shown in full, whenever that is drawn."""
    messages: Callable[[str], Sequence[Line]]
    """Gives the last messages of a stream."""
    free: Callable[[], int | None]
    """Gives the bytes that are free on the recorder's disk."""
    why_not_end: Callable[[], str]
    """Says why streams cannot be ended from here; empty if they can."""


class Screen:
    """An observer that draws; enter it for as long as it owns the terminal.

    :param title: what runs, for the first line; or what says so.
    :param look: gives the streams as they stand.
    :param end: ends one stream, by its id, or all of them with `None`.
    :param mark: marks the moment in one stream's events.
    :param progress: how far it is, from 0 to 1, where the end is known.
    :param connections: gives how connections stand that belong to no stream.
    :param waiting: gives what to do as long as nothing has come, a line each.
    :param is_verbose: whether the report at the end has all details.
    :param suggest: says what to do next; asked at the end.
    :param elsewhere: where the recorder is another process: what is asked of it. Then there is no report at the end.
    """

    def __init__(
        self,
        title: str | Callable[[], str],
        look: Callable[[], Sequence[StreamSnapshot]],
        end: Callable[[str | None], None],
        mark: Callable[[str], None],
        out: Path,
        progress: Callable[[], float | None] = lambda: None,
        connections: Callable[[], Sequence[ConnectionStatus]] = lambda: (),
        console: Console | None = None,
        *,
        waiting: Callable[[], Sequence[str]] = lambda: (),
        is_verbose: bool = False,
        suggest: Suggest = lambda ended: (),
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._title = title
        self._look = look
        self._end = end
        self._mark = mark
        self._out = out
        self._progress = progress
        self._connections = connections
        self._waiting = waiting
        self._is_verbose = is_verbose
        self._suggest = suggest
        self._console = console or make_console(cast("TextIO", Drawing(sys.stdout)))
        self._history = History()
        self._notices: deque[str] = deque(maxlen=20)
        self._warnings: deque[str] = deque(maxlen=20)
        """What went wrong that the recordings do not mention; it is printed at the end."""
        self._free_nbytes: int | None = None
        self._frames: dict[str, deque[Frame]] = {}
        self._ended: deque[Ended] = deque(maxlen=MOST_ENDED)
        self._chosen = 0
        self._views: Sequence[StreamSnapshot] = ()
        self._showing_frames = False
        self._paused = False
        self._help = False
        self._asked: tuple[str | None] | None = None
        """What is to be ended if the answer is yes: a stream, or `None` for all of it."""
        self._keys: Keys | None = None
        self._live: Live | None = None

    # What it is told.

    def on_notice(self, text: str) -> None:
        """Something that concerns no stream that runs."""
        self._notices.append(text)

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Something that scripts may want to know of."""
        self._notices.append(text)
        if is_worth_a_look(fields, text):
            self._warnings.append(text)

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """A recording began."""
        self._frames[stream.stream_id] = deque(maxlen=_LAST_FRAMES)

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """A frame that is not a media packet."""
        frames = self._frames.get(stream_id)
        if frames is not None and not isinstance(frame.message, KeepAliveRequest | KeepAliveResponse):
            frames.append(frame)

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """The dashboard looks by itself."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """A session ended."""
        self._frames.pop(stream.stream_id, None)
        ended = Ended(folder, finish, manifest)
        self._ended.append(ended)
        self.on_notice(f"{ended.how}  {folder or stream.stream_id}")

    # The terminal.

    async def __aenter__(self) -> "Screen":
        never_be_stopped()
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGTSTP, self._on_suspend)
        self._loop.add_signal_handler(signal.SIGCONT, self._look_whose_it_is)
        self._look_whose_it_is()
        self._measuring = asyncio.create_task(self._measure_again(), name="free space")
        self._drawing = asyncio.create_task(self._draw_again(), name="dashboard")
        return self

    def restore(self) -> None:
        """Give the terminal back as it was, if it is ours; one that was closed needs nothing."""
        if is_ours():
            self._give_back()
        self._drain()

    async def __aexit__(self, *_: object) -> None:
        self._measuring.cancel()
        self._drawing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._drawing
        for number in (signal.SIGTSTP, signal.SIGCONT):
            self._loop.remove_signal_handler(number)
        if not is_ours():
            return
        self._give_back()
        try:
            if self._elsewhere is None:
                self._report()
        except OSError:
            drop_dead_output()
        await asyncio.to_thread(self._drain)

    def _report(self) -> None:
        print_ended(self._console, self._ended, with_details=self._is_verbose)
        for warning in self._warnings:
            self._console.print(escape(warning), markup=False, highlight=False, soft_wrap=True)
        next_steps(self._console, self._suggest(self._ended))

    async def _draw_again(self) -> None:
        while True:
            self._look_whose_it_is()
            self.draw()
            await asyncio.sleep(REFRESH_S)

    async def _measure_again(self) -> None:
        """Ask the disk how much is free: one that hangs keeps nothing else waiting."""
        while self._elsewhere is None:
            self._free_nbytes = await asyncio.to_thread(free_space, self._out)
            await asyncio.sleep(REFRESH_S)

    def _look_whose_it_is(self) -> None:
        """Take the terminal when this process has come to the foreground, and leave it alone when it has not."""
        if not is_ours():
            self._let_go()
        elif self._live is None:
            try:
                self._take()
            except (OSError, termios.error):
                drop_dead_output()

    def _take(self) -> None:
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        if sys.stdin.isatty():
            self._keys = Keys()
            self._loop.add_reader(self._keys.descriptor, self._on_keys)

    def _give_back(self) -> None:
        self._stop_reading()
        try:
            if self._live is not None:
                self._live.stop()
            if self._keys is not None:
                self._keys.give_back()
        except OSError:
            drop_dead_output()
        self._keys = self._live = None

    def _let_go(self) -> None:
        """Forget the terminal, which is the shell's already."""
        self._stop_reading()
        if self._live is not None:
            with self._console.capture():
                self._live.stop()
        self._keys = self._live = None

    def _stop_reading(self) -> None:
        if self._keys is not None:
            self._loop.remove_reader(self._keys.descriptor)

    def _drain(self) -> None:
        if isinstance(self._console.file, Drawing):
            self._console.file.drain(CLOSE_TIMEOUT_S)

    def _on_suspend(self) -> None:
        """Ctrl-Z: stop as everyone does, but leave the terminal as it was."""
        self.restore()
        self._loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)  # here it stops, until someone has it go on
        self._loop.add_signal_handler(signal.SIGTSTP, self._on_suspend)
        self._look_whose_it_is()

    def draw(self) -> None:
        """Draw a picture of this moment, unless the terminal is someone else's or has not shown the last one yet.

        Where the terminal was closed, recording goes on without one.
        """
        out = self._console.file
        if self._live is None or not is_ours() or (isinstance(out, Drawing) and out.busy):
            return
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
        frames: Sequence[Frame | Line] | None = None
        if self._views:
            frames = self._messages(self._views[self._chosen].session.stream.stream_id)
        width, height = self._console.size
        moment = Moment(
            title=self._title if isinstance(self._title, str) else self._title(),
            views=self._views,
            chosen=self._chosen,
            progress=self._progress(),
            notices=list(self._notices),
            frames=frames,
            paused=self._paused,
            help=self._help,
            question=self._question(),
            waiting=self._waiting(),
            ended=[(one.finish.status, one.summary) for one in self._ended],
            keys=self._keys is not None,
            free_nbytes=self._free_nbytes if self._elsewhere is None else self._elsewhere.free(),
            connections=self._connections(),
            guide=OWN if self._elsewhere is None else ATTACHED,
        )
        return draw(moment, self._history, width, height)

    def _messages(self, stream_id: str) -> Sequence[Frame | Line] | None:
        """The messages of the stream that is shown in full, if they are wanted."""
        if self._elsewhere is not None:
            self._elsewhere.choose(stream_id)
        if not self._showing_frames:
            return None
        return list(self._frames.get(stream_id, ())) if self._elsewhere is None else self._elsewhere.messages(stream_id)

    def _ask_to_end(self, stream_id: str) -> None:
        why_not = "" if self._elsewhere is None else self._elsewhere.why_not_end()
        if why_not:
            self.on_notice(why_not)
        else:
            self._asked = (stream_id,)

    def _question(self) -> str:
        if self._asked is None:
            return ""
        if self._asked[0] is not None:
            return f"End the recording of stream {escape(self._asked[0], 12)}?"
        count = len(self._views)
        return f"End {'the recording' if count == 1 else f'all {count} recordings'} and quit?"

    def _on_keys(self) -> None:
        pressed = self._keys.read() if self._keys is not None and is_ours() else ""
        if not pressed:  # the terminal was closed, or is another's: it would be readable for ever
            self._stop_reading()
            return
        self.press(pressed)
        self.draw()

    def press(self, pressed: str) -> None:
        """Obey keys: a text as a terminal sends it."""
        if self._help and pressed:
            self._help = False
            return
        if self._asked is not None and pressed:
            (asked,), self._asked = self._asked, None
            if pressed[0] in "yY":
                self._end(asked)
            pressed = pressed[1:]
        for arrow, key in (("\x1b[A", "k"), ("\x1b[B", "j"), ("\x1bOA", "k"), ("\x1bOB", "j")):
            pressed = pressed.replace(arrow, key)
        for number, key in enumerate(pressed):
            if self._asked is not None:
                self.press(pressed[number:])
                return
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
                    self._ask_to_end(self._views[self._chosen].session.stream.stream_id)
                case "q" if self._elsewhere is None and self._look():
                    self._asked = (None,)
                case "q":
                    self._end(None)
                case "?" | "h":
                    self._help = True
                case _:
                    pass
            self._chosen = max(0, min(self._chosen, len(self._views) - 1))
