"""One stream of a station: its session, and what goes with that."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from rtms_cli.capture import Header
from rtms_cli.machine import WEBHOOK, Direction
from rtms_cli.protocol.webhooks import Stream, StreamStart
from rtms_cli.recording.hearing import StreamListener
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import Sink
from rtms_cli.session.session import Session
from rtms_cli.station.listening import Listeners, OpenListener
from rtms_cli.station.observing import NOT_RECORDED, StreamSnapshot
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.driver import Dial, Driver
from rtms_cli.wire.sockets import Socket

if TYPE_CHECKING:
    from rtms_cli.recording.manifest import Manifest
    from rtms_cli.station.station import Outcome

MAY_GO_ON_S = 120.0
"""How long an interrupted stream counts as one that may go on: Zoom waits for a lost client for 65 s (PROTOCOL §9)."""


class Part(Struct, frozen=True):
    """What one owner records of a stream that may have several, one after the other."""

    epoch: int
    """Counts the owners from 1."""
    created: datetime
    """When the recording began, in its first part: the clocks of all count from then."""
    make_recorder: Callable[[Header], Recorder]
    """Begins the part; may wait for a disk, and raise `Problem`."""
    dialing: Callable[[Dial], Dial] = lambda dial: dial
    """Dials as before, or only while the stream is ours."""
    settle: "Callable[[Outcome, Manifest | None], Awaitable[tuple[Path | None, Manifest | None]]] | None" = None
    """Sees to the part when it is finished, before anyone hears of that; gives the folder and the manifest that are
    told of then: the whole recording's, where the parts were merged."""

    def clock(self) -> Clock:
        """The part's clock."""
        passed = datetime.now(UTC) - self.created
        return Clock(ahead_us=max(0, passed // timedelta(microseconds=1)))


class Run:
    """One stream that is being recorded; its recorder and clock outlive an interruption."""

    def __init__(self, stream: Stream, session: Session, clock: Clock, part: Part | None = None) -> None:
        self.stream = stream
        self.session = session
        self.early: list[tuple[bytes, str]] = []
        """Webhooks that came before the driver did, and by which way."""
        self.later: tuple[bytes, StreamStart, str] | None = None
        """The newest announcement of the stream that came while this session was ending."""
        self.driver: Driver | None = None
        self.recorder: Recorder | None = None
        self.sink: Sink | None = None
        self.listeners: Listeners | None = None
        self.guest: StreamListener | None = None
        """A listener that comes and goes, and that the manifest does not mention."""
        self.clock = clock
        self.part = part
        """Where other owners of the stream record the rest of it."""
        self.left_for = ""
        """Why it is left to another owner, if it is."""
        self.created = datetime.now(UTC) if part is None else part.created
        """When its clock began."""
        self.was_shown = False
        self.is_told = True
        """Whether views hear of it before it is shown."""
        self.may_give_way = True
        """Whether no connection of it ever stood."""
        self.interrupted_us: int | None = None
        """When it was interrupted last, on its clock."""

    @property
    def folder(self) -> Path | None:
        """Where the recording is, if there is one."""
        return self.recorder.folder if self.recorder is not None and self.recorder.is_kept else None

    @property
    def may_go_on(self) -> bool:
        """Whether it runs, or was interrupted lately."""
        since_us = self.interrupted_us
        return since_us is None or self.clock.now_us() - since_us < MAY_GO_ON_S * 1_000_000

    @property
    def refused_with(self) -> int | None:
        """The status code with which the server refused a handshake last, if it did."""
        codes = (channel.refused_with for channel in self.session.snapshot().channels)
        return next((code for code in codes if code is not None), None)

    def dialing(self, dial: Dial) -> Dial:
        """Dial as before; a stream that was connected once does not give way to a newer start."""

        async def connect(url: str) -> Socket:
            socket = await dial(url)
            self.may_give_way = False
            return socket

        return connect

    def invite(self, open_guest: OpenListener) -> StreamListener | None:
        """Let someone listen until `dismiss`, or the end; returns who does, if that can be."""
        if self.sink is None or self.guest is not None:
            return None
        self.guest = open_guest(self.stream, self.folder)
        self.sink.invite(self.guest)
        return self.guest

    def dismiss(self, guest: StreamListener | None) -> Coroutine[None, None, None]:
        """See off who listens for a while, if it still does. The next one may be let in at once.

        :returns: waits until it hears nothing more, and closes it.
        """
        if guest is None or guest is not self.guest or self.sink is None:
            return _see_off(None, None)
        self.guest = None
        return _see_off(guest, self.sink.invite(None))

    def release(self) -> None:
        """Let go of a recording that does not go on."""
        if self.recorder is not None:
            self.recorder.release()
        self.recorder = self.sink = self.listeners = None

    def snapshot(self) -> StreamSnapshot:
        """The stream as it stands."""
        recording = NOT_RECORDED if self.sink is None else self.sink.snapshot()
        return StreamSnapshot(self.folder, self.clock.now_us(), self.session.snapshot(), recording)

    def begin(self, driver: Driver) -> None:
        """Let a driver run the session, with what came before it was there."""
        for body, via in self.early:
            driver.post(WEBHOOK, Direction.IN, body, via)
        self.driver = driver
        if self.left_for:
            driver.leave(self.left_for)

    def stop(self, who: str) -> None:
        """End the session cleanly."""
        if self.driver is not None:
            self.driver.stop(who)

    def mark(self, text: str) -> None:
        """Mark this moment in the stream's events."""
        if self.driver is not None:
            self.driver.mark(text)

    def leave(self, why: str) -> None:
        """Leave the stream to another owner."""
        self.left_for = why
        if self.driver is not None:
            self.driver.leave(why)

    def post(self, body: bytes, via: str) -> None:
        """Hand a webhook on, and by which way it came."""
        if self.driver is None:
            self.early.append((body, via))
        else:
            self.driver.post(WEBHOOK, Direction.IN, body, via)


async def _see_off(guest: StreamListener | None, heard: asyncio.Future[None] | None) -> None:
    if guest is not None and heard is not None:
        await heard
        await guest.close()
