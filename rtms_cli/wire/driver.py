"""Runs a machine over WebSockets: reads, stamps, keeps, lets the machine answer, obeys.

Theory of operation. Each open channel has a *link*: a reader, and a writer with an outbox. The reader takes a message
off the socket, makes a frame of it and hands that first to the sink, then to the machine, whose commands are executed
at once: what is to be sent goes into an outbox, so executing never waits. Only then, and only where media comes in,
the reader waits for room in the sink. So a keep-alive that has been read is answered whatever the disk does, and a
disk that does not keep up shows to the sender as TCP back-pressure.

That must not last: behind the media that we do not read wait keep-alives that we do not answer, and three of those
end the connection. After `STALL_LIMIT_S` reading goes on, media is dropped and counted until there is room, and the
drop is a frame of its own, so that capture, manifest and replay know of it.

A link that the machine has closed is gone at once, whatever its closing handshake does: what still arrives on it is
kept, and the machine hears no more of it. So a channel can be opened anew in the same breath.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Protocol

from msgspec import structs
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from rtms_cli.machine import (
    SIGNALING,
    ChannelState,
    Close,
    Command,
    Direction,
    Finish,
    Frame,
    FrameSink,
    Machine,
    Open,
    Send,
    State,
    Warn,
    frame_of,
    sent_frame,
    state_frame,
)
from rtms_cli.protocol.messages import Media, Message
from rtms_cli.wire.clock import Clock

log = logging.getLogger(__name__)

STALL_LIMIT_S = 20.0
"""Two keep-alive periods (PROTOCOL §9): three unanswered ones would end the connection."""

CLOSE_TIMEOUT_S = 2.0
"""How long a closing handshake may take; the peer may be gone."""

OUTBOX_LIMIT = 512
"""Messages that may wait to be sent before the machine's next tick waits too (the simulator's media)."""


class Dial(Protocol):
    """Opens the socket of a channel."""

    async def __call__(self, url: str) -> Connection:
        """Connect.

        :raises ConnectionError: with a line for people that says why it did not work.
        """


class Driver:
    """Runs one machine. Give it frames from elsewhere with `post`, accepted sockets with `attach`; `run` ends with it.

    :param sink: where frames are kept, or `None` where nobody keeps them.
    :param dial: opens sockets for a machine that commands `Open`.
    :param on_frame: is told of every frame that is not a media packet; for views, so it must be quick.
    """

    def __init__(
        self,
        machine: Machine,
        sink: FrameSink | None,
        clock: Clock,
        dial: Dial | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> None:
        self._machine = machine
        self._sink = sink
        self._clock = clock
        self._dial = dial
        self._on_frame = on_frame
        self._links: dict[str, _Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._wake_at_us: int | None = None
        self._finish: Finish | None = None
        self._fault: BaseException | None = None

    async def run(self) -> Finish:
        """Run the machine until it finishes; then close what is open.

        :raises Exception: whatever a defect in the machine raised.
        """
        try:
            while self._finish is None and self._fault is None:
                now_us = self._clock.now_us()
                self._execute(self._machine.tick(now_us), now_us)
                await self._wait_until_due()
        finally:
            await self._shut()
        if self._fault is not None:
            raise self._fault
        assert self._finish is not None  # the loop above ends with one or the other
        finish = self._finish
        verdict = ChannelState(State.FINISHED, finish.stop_reason, finish.said_by, status=finish.status)
        self._keep(state_frame(self._clock.now_us(), SIGNALING, verdict))
        return finish

    def post(self, channel: str, direction: Direction, raw: bytes) -> None:
        """Take a frame that came by another way: a webhook."""
        self._take(frame_of(self._clock.now_us(), channel, direction, raw))

    def stop(self, who: str) -> None:
        """Ask the machine for a clean end."""
        self._state(SIGNALING, ChannelState(State.STOPPING, reason=who))

    async def attach(self, channel: str, socket: Connection) -> None:
        """Take over a socket that somebody else opened; returns when it is closed."""
        link = _Link(channel)
        self._links[channel] = link
        await self._serve(link, socket)

    # Frames in.

    def _take(self, frame: Frame) -> None:
        self._keep(frame)
        self._execute(self._machine.receive(frame), frame.at_us)

    def _keep(self, frame: Frame) -> None:
        if self._sink is not None:
            self._sink.put(frame)
        if self._on_frame is not None and not isinstance(frame.message, Media):
            self._on_frame(frame)

    def _state(self, channel: str, state: ChannelState) -> None:
        self._take(state_frame(self._clock.now_us(), channel, state))

    # Commands out.

    def _execute(self, commands: Iterable[Command], at_us: int) -> None:
        for command in commands:
            match command:
                case Send(channel, message, binary):
                    if (link := self._links.get(channel)) is not None:
                        link.send(message, binary)
                case Open(channel, url):
                    self._open(channel, url)
                case Close(channel, code, reason):
                    self._close(channel, code, reason)
                case Warn(channel, text):
                    self._keep(state_frame(at_us, channel, ChannelState(State.WARNING, reason=text)))
                case Finish():
                    self._finish = self._finish or command
        due_us = self._machine.deadline_us
        if self._finish is not None or (due_us is not None and (self._wake_at_us is None or due_us < self._wake_at_us)):
            self._wake.set()

    def _open(self, channel: str, url: str) -> None:
        self._close(channel, 1000, "opened anew")
        link = _Link(channel)
        self._links[channel] = link
        opening = ChannelState(State.OPENING, url=url.partition("?")[0])
        self._keep(state_frame(self._clock.now_us(), channel, opening))
        link.task = self._spawn(self._connect(link, url), f"{channel} {url}")

    def _close(self, channel: str, code: int, reason: str) -> None:
        link = self._links.pop(channel, None)
        if link is None:
            return
        if link.socket is None:
            if link.task is not None:
                link.task.cancel()
        else:
            link.close(code, reason)
        state = ChannelState(State.CLOSED, code, reason, ours=True)
        self._keep(state_frame(self._clock.now_us(), channel, state))

    # Links.

    async def _connect(self, link: "_Link", url: str) -> None:
        assert self._dial is not None, "a machine that commands Open needs a dialer"
        try:
            socket = await self._dial(url)
        except ConnectionError as error:
            if self._links.get(link.channel) is link:
                del self._links[link.channel]
                self._state(link.channel, ChannelState(State.REFUSED, reason=str(error)))
            return
        await self._serve(link, socket)

    async def _serve(self, link: "_Link", socket: Connection) -> None:
        link.socket = socket
        writer = self._spawn(self._write(link, socket), f"{link.channel} writer")
        try:
            self._state(link.channel, ChannelState(State.OPEN))
            await self._read(link, socket)
        except Exception as fault:
            self._fail(fault)
        finally:
            writer.cancel()
            link.outbox.clear()
            self._drained.set()
            if self._links.get(link.channel) is link:
                del self._links[link.channel]
                code = 1006 if socket.close_code is None else socket.close_code
                self._state(link.channel, ChannelState(State.CLOSED, code, socket.close_reason or ""))

    async def _read(self, link: "_Link", socket: Connection) -> None:
        channel, sink, links, now_us = link.channel, self._sink, self._links, self._clock.now_us
        dropping, dropped = False, 0  # whether the sink has been full for too long, and media not kept since then
        try:
            while True:
                raw = await socket.recv(decode=False)
                frame = frame_of(now_us(), channel, Direction.IN, raw)
                if links.get(channel) is not link:
                    self._keep(frame)  # we closed it: kept, but no news to the machine
                    continue
                is_media = isinstance(frame.message, Media)
                if dropping and is_media and sink is not None and sink.full:
                    dropped += 1
                    continue
                if dropping and is_media:
                    self._report_drop(channel, dropped)
                    dropping, dropped = False, 0
                self._take(frame)
                if is_media and sink is not None and sink.full:
                    dropping = not await self._room_in_time(sink)
        except ConnectionClosed:
            if dropped:
                self._report_drop(channel, dropped)

    async def _room_in_time(self, sink: FrameSink) -> bool:
        try:
            async with asyncio.timeout(STALL_LIMIT_S):
                await sink.room()
        except TimeoutError:
            return False
        return True

    def _report_drop(self, channel: str, count: int) -> None:
        reason = f"{count} media messages were not kept: the disk did not keep up for over {STALL_LIMIT_S:.0f} s"
        self._state(channel, ChannelState(State.DROPPED, reason=reason, count=count))

    async def _write(self, link: "_Link", socket: Connection) -> None:
        try:
            while not (link.closing and not link.outbox):
                await link.ready.wait()
                link.ready.clear()
                while link.outbox:
                    message, binary = link.outbox.popleft()
                    frame = sent_frame(0, link.channel, message)
                    await socket.send(frame.raw, text=not binary)
                    self._keep(structs.replace(frame, at_us=self._clock.now_us()))
                    if len(link.outbox) == OUTBOX_LIMIT:
                        self._drained.set()
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await socket.close(*link.close_with)
        except ConnectionClosed:
            link.outbox.clear()  # the reader tells of the loss
            self._drained.set()
        except TimeoutError:
            socket.transport.abort()

    async def _wait_until_due(self) -> None:
        """Wait for the machine's deadline, or until it has an earlier one or is done."""
        await self._wait_for_outboxes()
        due_us = self._wake_at_us = self._machine.deadline_us
        self._wake.clear()
        if self._finish is not None or self._fault is not None:
            return
        try:
            async with asyncio.timeout(None if due_us is None else self._clock.seconds_until(due_us)):
                await self._wake.wait()
        except TimeoutError:
            pass  # due

    async def _wait_for_outboxes(self) -> None:
        """Hold the machine's next tick back while a peer does not take what the last ones sent."""
        try:
            async with asyncio.timeout(STALL_LIMIT_S):
                while any(len(link.outbox) > OUTBOX_LIMIT for link in self._links.values()):
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            log.warning("a peer has read nothing for %.0f s", STALL_LIMIT_S)

    async def _shut(self) -> None:
        for channel in list(self._links):
            self._close(channel, 1000, "")
        ours = asyncio.current_task()
        pending = {task for task in self._tasks if task is not ours}
        if pending:
            _, late = await asyncio.wait(pending, timeout=2 * CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=CLOSE_TIMEOUT_S)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fail(fault)

    def _fail(self, fault: BaseException) -> None:
        self._fault = self._fault or fault
        self._wake.set()


class _Link:
    """One open channel: its socket, and what waits to be sent on it."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.socket: Connection | None = None
        self.task: asyncio.Task[None] | None = None
        self.outbox: deque[tuple[Message, bool]] = deque()
        self.ready = asyncio.Event()
        self.closing = False
        self.close_with: tuple[int, str] = (1000, "")

    def send(self, message: Message, binary: bool) -> None:
        """Queue a message; the writer sends it."""
        self.outbox.append((message, binary))
        self.ready.set()

    def close(self, code: int, reason: str) -> None:
        """Have the writer close the socket once the outbox is empty: an answer that explains the close goes first."""
        self.closing = True
        self.close_with = (code, reason)
        self.ready.set()
