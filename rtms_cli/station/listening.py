"""The listeners of a stream while it is recorded: an error in one does not affect the others."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rtms_cli.errors import Problem, log_defect
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.hearing import StreamListener
from rtms_cli.recording.manifest import TapEntry

if TYPE_CHECKING:
    from rtms_cli.recording.audio import AudioTrack
    from rtms_cli.recording.tracks import PictureTrack, TextTrack

log = logging.getLogger(__name__)

OpenListener = Callable[[Stream, Path | None], StreamListener]
"""Makes a listener for a session, on the event loop; where it raises, the session goes on without it.

The folder is where the stream is recorded; `None` if it is not.
"""


class Listeners:
    """Any number of listeners as one. The first defect of one ends it: it hears nothing more, and is closed as usual.

    :param give_up: called once for each that fails, with the defect, on whatever thread that is.
    """

    def __init__(self, listeners: Sequence[StreamListener], give_up: Callable[[Exception], None]) -> None:
        self._all = tuple(listeners)
        self._heard = list(listeners)
        self._give_up = give_up

    def on_audio(self, track: "AudioTrack", start: int, chunks: Sequence[bytes]) -> None:
        """See `Listener`."""
        self._tell(lambda one: one.on_audio(track, start, chunks))

    def on_picture(self, track: "PictureTrack", timestamp: int | None, payload: bytes) -> None:
        """See `Listener`."""
        self._tell(lambda one: one.on_picture(track, timestamp, payload))

    def on_line(self, track: "TextTrack", line: bytes) -> None:
        """See `Listener`."""
        self._tell(lambda one: one.on_line(track, line))

    def on_turn(self, at_us: int) -> None:
        """See `Listener`."""
        self._tell(lambda one: one.on_turn(at_us))

    async def close(self) -> None:
        """Close each, side by side."""
        await asyncio.gather(*(self._close(one) for one in self._all))

    def entries(self) -> list[TapEntry]:
        """What the manifest says of all of them."""
        found: list[TapEntry] = []
        for one in self._all:
            try:
                found += one.entries()
            except Exception as defect:  # a listener's affair, whatever it is
                self._fail(one, defect)
        return found

    def _tell(self, say: Callable[[StreamListener], None]) -> None:
        for one in tuple(self._heard):
            try:
                say(one)
            except Exception as defect:  # a listener's affair, whatever it is
                self._fail(one, defect)

    async def _close(self, one: StreamListener) -> None:
        try:
            await one.close()
        except Exception as defect:  # a listener's affair, whatever it is
            self._fail(one, defect)

    def _fail(self, one: StreamListener, defect: Exception) -> None:
        log_defect(log, "a listener is given up", defect)
        if one in self._heard:
            self._heard.remove(one)
            self._give_up(defect)


def open_listeners(
    openers: Sequence[OpenListener], stream: Stream, folder: Path | None, notice: Callable[[str], None]
) -> Listeners | None:
    """Open what listens to a session.

    :param notice: tells people of one that failed; it is called on the event loop.
    """
    loop, opened = asyncio.get_running_loop(), list[StreamListener]()

    def go_on_without(why: Exception) -> None:
        what = str(why) if isinstance(why, Problem) else repr(why)
        loop.call_soon_threadsafe(notice, f"stream {stream.stream_id} continues without one of its taps: {what}")

    for open_one in openers:
        try:
            opened.append(open_one(stream, folder))
        except Exception as defect:  # its own affair, whatever it is
            go_on_without(defect)
    return Listeners(opened, go_on_without) if opened else None
