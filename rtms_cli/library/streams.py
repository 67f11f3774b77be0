"""A stream as a program sees it, and what turns a station's news into it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from rtms_cli.errors import Exit, Problem
from rtms_cli.library.items import Audio, Event, Item, Picture, State, line_of
from rtms_cli.library.waiting import Waiting
from rtms_cli.machine import ChannelState, Finish, Frame
from rtms_cli.machine import State as Change
from rtms_cli.protocol.messages import EventUpdate, SessionStateUpdate, StreamStateUpdate
from rtms_cli.protocol.numbers import SessionState, StopReason, StreamState
from rtms_cli.protocol.parties import Parties, party
from rtms_cli.protocol.webhooks import Stream as Announced
from rtms_cli.recording.codecs import codec_name
from rtms_cli.recording.manifest import Manifest, TapEntry
from rtms_cli.recording.pictures import read_picture
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.station import Outcome as Ended
from rtms_cli.station.station import Station

if TYPE_CHECKING:
    from rtms_cli.recording.audio import AudioTrack
    from rtms_cli.recording.tracks import PictureTrack, TextTrack

log = logging.getLogger(__name__)

US = "the program"
"""The source of the end, as in recordings."""
MOST_UNTAKEN = 100
"""Streams that may wait for a program that takes none; their items wait with them."""
_LONGEST_S = 1
"""Sound that came at once is given in pieces of this many seconds at most."""
_LINES = msgspec.json.Decoder(dict[str, Any])


class Outcome(Struct, frozen=True):
    """How a stream ended."""

    status: str
    """`complete`; `interrupted` if the stream was lost; `failed` if nothing arrived; `revoked` if Zoom wants the
    recording deleted."""
    reason: str
    """Zoom's stop reason with its number, such as `1 STOP_BC_HOST_TRIGGERED`; empty if it sent none."""
    said_by: str
    """Where the news of the end came from, for people."""
    folder: Path | None
    """The recording's folder; `None` if the stream was not recorded."""
    losses: int
    """The number of losses; see `losses` in the recording's manifest."""
    dropped: int
    """Items that were dropped because the program was too slow."""
    dropped_seconds: float
    """Seconds of audio among them."""
    exit_code: Exit
    """What `rtms join` would exit with."""


class Stream:
    """One stream. Iterate it to get the items in the order in which they arrive: `async for item in stream`.

    The iteration ends with the stream. If the stream failed, because Zoom refused the connection or could not be
    reached, it raises a `Problem`. If the program is too slow, items are dropped: see `dropped`.
    """

    def __init__(self, announced: Announced, folder: Path | None, waiting: Waiting, end: Callable[[], None]) -> None:
        self.product: str = str(announced.product)
        """`meeting`, `webinar`, `session`, `contact_center` or `phone`."""
        self.id = announced.id
        """The ID of the meeting, session, engagement or call: its `meeting_uuid`, `session_id`, …"""
        self.stream_id = announced.stream_id
        """Its `rtms_stream_id`."""
        self.folder = folder
        """The recording's folder; `None` if the stream is not recorded."""
        self.outcome: Outcome | None = None
        """How it ended; `None` while it runs."""
        self._waiting = waiting
        self._end = end
        self._problem: Problem | None = None
        self._over = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Stream {self.product} {self.stream_id!r}>"

    @property
    def dropped(self) -> int:
        """Items dropped so far because the program was too slow."""
        return self._waiting.dropped

    @property
    def dropped_seconds(self) -> float:
        """Seconds of audio dropped so far; for several participants, the sum."""
        return self._waiting.dropped_seconds

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        item = await self._waiting.take()
        if item is not None:
            return item
        if self._problem is not None:
            raise self._problem
        raise StopAsyncIteration

    async def stop(self) -> Outcome:
        """End the stream cleanly, and notify Zoom. Items that have arrived can still be read.

        :raises Problem: as the iteration does.
        """
        self._end()
        return await self.done()

    async def done(self) -> Outcome:
        """Wait until the stream has ended and its recording is finished.

        :raises Problem: as the iteration does.
        """
        await self._over.wait()
        if self._problem is not None:
            raise self._problem
        assert self.outcome is not None  # one or the other is set
        return self.outcome

    def _ended(self, outcome: Outcome | None, problem: Problem | None) -> None:
        self.outcome, self._problem = outcome, problem
        self._over.set()
        self._waiting.end()


class Feed:
    """Fills a stream with what its recorder gets: a `recording.hearing.StreamListener`."""

    def __init__(self, stream: Stream, waiting: Waiting) -> None:
        self._product = stream.product
        self._waiting = waiting
        self._parties = Parties(stream.product)

    # On the writing thread.

    def on_audio(self, track: "AudioTrack", start: int, chunks: Sequence[bytes]) -> None:
        """See `Listener`."""
        form, pcm = track.form, b"".join(chunks)
        whose = party(self._product, track.user_id, track.channel_id)
        most = _LONGEST_S * form.rate_hz * form.block
        for place in range(0, len(pcm), most):
            piece = pcm[place : place + most]
            samples = np.frombuffer(piece, "<i2")
            if form.audio_channels > 1:
                samples = samples.reshape(-1, form.audio_channels)
            timestamp = track.zero_ms + (start + place // form.block) * 1000 // form.rate_hz
            name = track.user_name or self._parties.name_at(whose, timestamp)
            self._waiting.put(Audio(samples, form.rate_hz, timestamp, whose, name), len(piece))

    def on_picture(self, track: "PictureTrack", timestamp: int | None, payload: bytes) -> None:
        """See `Listener`."""
        whose = party(self._product, track.user_id, track.channel_id)
        codec = "" if track.codec is None else codec_name(track.codec)
        is_key = read_picture(track.codec, payload).is_key
        name = track.user_name or self._parties.name_at(whose, timestamp)
        picture = Picture(track.kind, payload, codec, timestamp, is_key, whose, name)
        self._waiting.put(picture, len(payload))

    def on_line(self, track: "TextTrack", line: bytes) -> None:
        """See `Listener`."""
        said = line_of(track.kind, _LINES.decode(line), self._parties.party)
        if isinstance(said, Event):
            self._parties.people_of(EventUpdate(None, said.timestamp, dict(said.fields)))
        self._waiting.put(said, len(line))

    def on_turn(self, at_us: int) -> None:
        """See `Listener`."""

    # On the event loop.

    async def close(self) -> None:
        """See `StreamListener`."""

    def entries(self) -> list[TapEntry]:
        """See `StreamListener`."""
        waiting = self._waiting
        seconds = round(waiting.dropped_seconds, 3)
        return [TapEntry("all", US, bytes=waiting.put_nbytes, drops=waiting.dropped, dropped_seconds=seconds)]


class Hub:
    """The streams of a station: its observer, and what opens a feed for each session.

    :param seconds: how long media may wait for the program.
    """

    def __init__(self, seconds: float) -> None:
        self.streams: asyncio.Queue[Stream | None] = asyncio.Queue()
        """Those that have begun and were not taken yet; `None` is the end of them."""
        self.station: Station | None = None
        self._seconds = seconds
        self._running: dict[str, tuple[Stream, Waiting]] = {}

    def open(self, announced: Announced, folder: Path | None) -> Feed:
        """Begin a stream; see `station.listening.OpenListener`."""
        waiting = Waiting(self._seconds, asyncio.get_running_loop())
        stream = Stream(announced, folder, waiting, lambda: self._stop(announced.stream_id))
        self._running[announced.stream_id] = stream, waiting
        while self.streams.qsize() >= MOST_UNTAKEN:
            if (forgotten := self.streams.get_nowait()) is not None:
                log.warning("%r is dropped: too many are waiting", forgotten)
                forgotten._waiting.close()
        self.streams.put_nowait(stream)
        return Feed(stream, waiting)

    def close(self) -> None:
        """Nothing comes any more; a stream that still waits for its end was cut short by a defect."""
        for stream, _ in self._running.values():
            stream._ended(None, Problem(f"{stream!r} has no end.", exit_code=Exit.FAULT))
        self._running.clear()
        self.streams.put_nowait(None)

    def forget(self) -> None:
        """Nobody takes anything any more."""
        for _, waiting in self._running.values():
            waiting.close()

    def _stop(self, stream_id: str) -> None:
        if self.station is not None:
            self.station.end(stream_id, US)

    # What the station reports.

    def on_started(self, stream: Announced, folder: Path | None) -> None:
        """See `Observer`."""
        log.info("stream %s has begun", shown(stream.stream_id))

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""
        running = self._running.get(stream_id)
        state = None if running is None else state_of(frame)
        if running is not None and state is not None:
            running[1].put(state, len(state.text))

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`."""

    def on_finished(self, stream: Announced, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        level = logging.WARNING if finish.status == "failed" else logging.INFO
        said = shown(f"stream {stream.stream_id} is over: {finish.status} ({finish.said_by})")
        log.log(level, "%s", said)
        running = self._running.pop(stream.stream_id, None)
        if running is not None and self.station is not None:
            ended = self.station.outcomes[-1]
            one, waiting = running
            one._ended(_outcome(ended, waiting), _problem(ended))

    def on_notice(self, text: str) -> None:
        """See `Observer`."""
        log.warning("%s", shown(text))

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""
        log.info("%s", shown(text))


def state_of(frame: Frame) -> State | None:
    """What a frame says of the stream's connections; `None` if it says nothing of them."""
    match frame.message:
        case ChannelState(state=Change.MARK | Change.DROPPED):
            return None
        case ChannelState(state=Change.CLOSED, code=code, reason=reason):
            return State("closed", frame.channel, f"{code} {reason}".rstrip())
        case ChannelState(state=Change.FINISHED, status=status, reason=reason):
            return State("finished", frame.channel, f"{status}: {reason}" if reason else status)
        case ChannelState(state=change, reason=reason):
            return State(change.value, frame.channel, reason)
        case SessionStateUpdate(state=number):
            return State("session", frame.channel, _gist(SessionState, number))
        case StreamStateUpdate(state=number):
            return State("stream", frame.channel, _gist(StreamState, number))
    return None


def _gist(numbers: type[SessionState] | type[StreamState], number: int | str | None) -> str:
    known = numbers.member(number) if isinstance(number, int) else None
    return known.gist if isinstance(known, numbers) else numbers.label(number)


def _outcome(ended: Ended, waiting: Waiting) -> Outcome:
    finish = ended.finish
    reason = "" if finish.stop_reason is None else StopReason.label(finish.stop_reason)
    return Outcome(
        str(finish.status),
        reason,
        finish.said_by,
        ended.folder,
        ended.snapshot.losses,
        waiting.dropped,
        waiting.dropped_seconds,
        ended.exit_code,
    )


def _problem(ended: Ended) -> Problem | None:
    """What to raise of a stream of which nothing ever came."""
    if ended.finish.status != "failed":
        return None
    why = ended.finish.said_by.rstrip(".") or "no connection was made"
    remedy = "`rtms doctor` finds what is wrong with credentials and connections."
    if ended.nothing_granted:
        remedy = "Give the app the scopes of the media that it asks for: in Zoom's App Marketplace, your app → Scopes."
    return Problem(shown(f"Stream {ended.stream.stream_id} failed: {why}."), remedy, ended.exit_code)


def shown(text: str) -> str:
    """A text from outside on one line, with nothing in it that a terminal would obey."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
