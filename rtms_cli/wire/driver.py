"""Runs a machine over WebSockets: timestamps and stores frames, passes them to the machine, and executes its commands.

Theory of operation. A message from a socket becomes a frame, which goes first to the sink and then to the machine. The
machine's commands are executed at once. None of that waits. Media are not even parsed: they go to the sink as
`Packets`, and the machine is only notified. A socket is paused only when media arrived and the sink is full. A keep-
alive that has been read is therefore answered regardless of the disk, and a slow disk appears to the sender as TCP
back-pressure.

A pause must not last: keep-alives wait behind the unread media, and three unanswered ones end the connection. After
`STALL_LIMIT_S`, reading continues, and media are dropped and counted until there is room. A frame records the drop, so
that it appears in capture, manifest and replay.

A socket that the machine has closed is gone at once, regardless of its closing handshake. Data that still arrives on
it is stored but not passed to the machine. The channel can be reopened immediately.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Protocol

from rtms_cli.machine import (
    SIGNALING,
    Announce,
    ChannelState,
    Close,
    Command,
    Deliver,
    Direction,
    Finish,
    Frame,
    FrameSink,
    Machine,
    Open,
    Outward,
    Packets,
    Send,
    State,
    Tell,
    Warn,
    frame_of,
    reader_of,
    sent_frame,
    state_frame,
)
from rtms_cli.protocol.messages import MEDIA_HEADS, Media
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.discretion import Discretion
from rtms_cli.wire.sockets import CLOSE_TIMEOUT_S, Socket

log = logging.getLogger(__name__)

STALL_LIMIT_S = 20.0
"""Two keep-alive periods (PROTOCOL §9): three unanswered ones would end the connection."""

OUTBOX_LIMIT = 512
"""How many messages may wait to be sent before the machine's next tick is delayed (the simulator's media)."""


class FinalConnectionError(ConnectionError):
    """A connection error that retrying cannot fix."""


class Dial(Protocol):
    """Opens the socket of a channel."""

    async def __call__(self, url: str) -> Socket:
        """Connect.

        :raises ConnectionError: with a readable reason in one line.
        :raises FinalConnectionError: if retrying would fail the same way.
        """


class Driver:
    """Runs one machine. Pass it external frames with `post` and accepted sockets with `attach`. `run` ends with it.

    :param sink: stores frames; `None` if they are not stored.
    :param dial: opens sockets for `Open` commands.
    :param on_frame: called with every frame except media packets, for views. It must be quick.
    :param outward: executes commands that concern others: post or forward webhooks, notify.
    """

    def __init__(
        self,
        machine: Machine,
        sink: FrameSink | None,
        clock: Clock,
        dial: Dial | None = None,
        on_frame: Callable[[Frame], None] | None = None,
        outward: Callable[[Outward], None] | None = None,
    ) -> None:
        self._machine = machine
        self._sink = sink
        self._clock = clock
        self._dial = dial
        self._on_frame = on_frame
        self._outward = outward
        self._discretion = Discretion()
        self._links: dict[str, _Link] = {}
        self._open_sockets: set[Socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._socket_closed = asyncio.Event()
        self._wake_at_us: int | None = None
        self._finish: Finish | None = None
        self._has_ended = False
        """Whether the final frame is stored. Anything stored after it would continue the recording."""
        self._is_released = False
        self._fault: BaseException | None = None

    async def run(self) -> Finish:
        """Run the machine until it finishes, then close everything that is open.

        :raises Exception: any error of a defect in the machine.
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
        assert self._finish is not None  # the loop above ends with either
        finish = self._finish
        verdict = ChannelState(State.FINISHED, finish.stop_reason, finish.said_by, status=finish.status)
        self._keep(state_frame(self._clock.now_us(), SIGNALING, verdict))
        self._has_ended = True
        return finish

    def post(self, channel: str, direction: Direction, raw: bytes, via: str = "") -> None:
        """Accept an external frame, such as a webhook, with its origin."""
        frame = frame_of(self._clock.now_us(), channel, direction, raw, via)
        self._discretion.learn(frame.message)
        self._take(frame)

    def keep_secret(self, secret: str) -> None:
        """Hide a secret wherever the peer sends it back, even from the machine."""
        self._discretion.secrets.learn(secret)

    def stop(self, who: str) -> None:
        """Ask the machine for a clean end. Does nothing if it has ended."""
        if not self._has_ended:
            self._state(SIGNALING, ChannelState(State.STOPPING, reason=who))

    def leave(self, why: str) -> None:
        """Let the machine leave its stream to another worker. Does nothing if it has ended."""
        if not self._has_ended:
            self._state(SIGNALING, ChannelState(State.LEAVING, reason=why))

    def release(self) -> None:
        """Drop references to machine, sink and views after the end, because closing sockets still refer to this
        driver."""
        self._is_released = True
        self._sink = self._dial = self._on_frame = self._outward = None
        del self._machine

    def mark(self, text: str) -> None:
        """Mark this moment with a line among the events. Does nothing if the machine has ended."""
        if not self._has_ended:
            self._state(SIGNALING, ChannelState(State.MARK, reason=text))

    def attach(self, channel: str, socket: Socket) -> None:
        """Take over a socket that was opened elsewhere."""
        self._opened(_Link(channel), socket)

    # Frames in.

    def _take(self, frame: Frame) -> None:
        if self._is_released:
            return
        self._keep(frame)
        self._execute(self._machine.receive(frame), frame.at_us)

    def _keep(self, frame: Frame) -> None:
        if self._sink is None and self._on_frame is None:
            return
        frame = self._discretion.kept(frame)
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
                case Send(channel, message, binary, raw):
                    link = self._links.get(channel)
                    if link is not None and link.socket is not None:
                        frame = sent_frame(self._clock.now_us(), channel, message, raw)
                        link.socket.send(frame.raw, binary=binary)
                        self._discretion.learn(message)
                        self._keep(frame)
                case Open(channel, url):
                    self._open(channel, url)
                case Close(channel, code, reason):
                    self._close(channel, code, reason)
                case Warn(channel, text):
                    self._keep(state_frame(at_us, channel, ChannelState(State.WARNING, reason=text)))
                case Announce() | Deliver() | Tell():
                    assert self._outward is not None, "a machine with outward commands needs a handler for them"
                    self._outward(command)
                case Finish():
                    self._finish = self._finish or command
        due_us = self._machine.deadline_us
        if self._finish is not None or (due_us is not None and (self._wake_at_us is None or due_us < self._wake_at_us)):
            self._wake.set()

    def _open(self, channel: str, url: str) -> None:
        self._close(channel, 1000, "opened again")
        link = _Link(channel)
        self._links[channel] = link
        opening = ChannelState(State.OPENING, url=redact_url(url.partition("?")[0]))
        self._keep(state_frame(self._clock.now_us(), channel, opening))
        link.connecting = self._spawn(self._connect(link, url), f"connect {channel}")

    def _close(self, channel: str, code: int, reason: str) -> None:
        link = self._links.pop(channel, None)
        if link is None:
            return
        link.is_left = True
        count = 0
        if link.socket is not None:
            count = link.socket.undelivered
            link.socket.close(code, reason)
        elif link.connecting is not None:
            link.connecting.cancel()
        state = ChannelState(State.CLOSED, code, reason, count=count, ours=True)
        frame = state_frame(self._clock.now_us(), channel, state)
        if count:
            self._take(frame)  # the peer had closed it, and the machine does not know what was lost
        else:
            self._keep(frame)

    # Sockets.

    async def _connect(self, link: "_Link", url: str) -> None:
        assert self._dial is not None, "a machine with Open commands needs a dialer"
        try:
            socket = await self._dial(url)
        except ConnectionError as error:
            if not link.is_left:
                link.is_left = True
                del self._links[link.channel]
                final = isinstance(error, FinalConnectionError)
                self._state(link.channel, ChannelState(State.REFUSED, reason=str(error), final=final))
            return
        link.connecting = None
        if not link.is_left:
            self._opened(link, socket)
        else:
            socket.abort()

    def _opened(self, link: "_Link", socket: Socket) -> None:
        link.socket = socket
        former = self._links.get(link.channel, link)
        if former is not link:
            former.is_left = True
        self._links[link.channel] = link
        self._open_sockets.add(socket)
        try:
            self._state(link.channel, ChannelState(State.OPEN))
        except Exception as fault:
            self._fail(fault)
        socket.start(_Intake(self, link, socket).take, lambda code, reason: self._closed(link, socket, code, reason))

    def _closed(self, link: "_Link", socket: Socket, code: int, reason: str) -> None:
        self._open_sockets.discard(socket)
        self._socket_closed.set()
        try:
            if link.dropped:
                self._end_drop(link)
            if not link.is_left:
                link.is_left = True
                del self._links[link.channel]
                reason = self._discretion.secrets.hide_text(reason)
                self._state(link.channel, ChannelState(State.CLOSED, code, reason, count=socket.undelivered))
        except Exception as fault:
            self._fail(fault)

    # Slow disks and slow peers.

    def _hold(self, link: "_Link", socket: Socket, sink: FrameSink) -> None:
        link.is_held = True
        socket.pause()
        self._spawn(self._let_go(link, socket, sink), f"{link.channel} waits for the disk")

    async def _let_go(self, link: "_Link", socket: Socket, sink: FrameSink) -> None:
        try:
            async with asyncio.timeout(STALL_LIMIT_S):
                await sink.room()
            link.is_held = False
        except TimeoutError:
            link.dropping = True
        socket.resume()

    def _end_drop(self, link: "_Link") -> None:
        count, link.dropped = link.dropped, 0
        how_long = f" for over {STALL_LIMIT_S:.0f} s" if link.dropping else ""
        link.dropping = link.is_held = False
        if count:
            reason = f"{count} media messages were dropped: the disk did not keep up{how_long}"
            self._state(link.channel, ChannelState(State.DROPPED, reason=reason, count=count))

    async def _wait_until_due(self) -> None:
        """Wait for the machine's deadline, for an earlier one, or for its end."""
        await self._wait_for_peers()
        due_us = self._wake_at_us = self._machine.deadline_us
        self._wake.clear()
        if self._finish is not None or self._fault is not None:
            return
        try:
            async with asyncio.timeout(None if due_us is None else self._clock.seconds_until(due_us)):
                await self._wake.wait()
        except TimeoutError:
            pass  # due

    async def _wait_for_peers(self) -> None:
        """Delay the machine's next tick while a peer does not read what the last ones sent."""
        try:
            async with asyncio.timeout(STALL_LIMIT_S):
                for socket in list(self._open_sockets):
                    await socket.drain(OUTBOX_LIMIT)
        except TimeoutError:
            log.debug("a peer reads slowly")

    async def _shut(self) -> None:
        for channel in list(self._links):
            self._close(channel, 1000, "")
        self._wake_at_us = None
        try:
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                while self._open_sockets:
                    self._socket_closed.clear()
                    await self._socket_closed.wait()
        except TimeoutError:
            for socket in self._open_sockets:
                socket.abort()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)

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
    """A channel's socket while it is opening or open."""

    __slots__ = ("channel", "connecting", "dropped", "dropping", "is_held", "is_left", "socket")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.socket: Socket | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.is_left = False
        """Whether it no longer belongs to the channel: closed or given up."""
        self.is_held = False
        """Whether it is paused until the sink has room, or dropping because the sink had none for too long."""
        self.dropping = False
        self.dropped = 0


class _Intake:
    """Receives a socket's messages: the hot path.

    Most messages are media. Messages that begin like media are timestamped and stored unparsed, in batches; the
    writing thread parses them. With hundreds of streams, each message finds its stream's memory outside of the CPU
    caches. Slots keep the data in one place, and the code touches as few objects as possible.
    """

    __slots__ = ("_channel", "_clock", "_driver", "_link", "_machine", "_read", "_secrets", "_sink", "_socket")

    def __init__(self, driver: Driver, link: _Link, socket: Socket) -> None:
        self._driver, self._link, self._socket = driver, link, socket
        self._secrets = driver._discretion.secrets
        self._read = reader_of(link.channel)
        self._channel, self._clock, self._machine, self._sink = (
            link.channel,
            driver._clock,
            driver._machine,
            driver._sink,
        )

    def take(self, raws: list[bytes]) -> None:
        """Accept messages that arrived together. Media are not parsed here unless the machine needs them."""
        try:
            if len(raws) == 1 and raws[0].startswith(MEDIA_HEADS):
                self._take_media(raws)
                return
            start = 0
            for place, raw in enumerate(raws):
                if not raw.startswith(MEDIA_HEADS):
                    if place > start:
                        self._take_media(raws[start:place])
                    start = place + 1
                    self._take_one(raw)
            if start < len(raws):
                self._take_media(raws[start:] if start else raws)
        except Exception as fault:
            self._driver._fail(fault)

    def _take_media(self, raws: list[bytes]) -> None:
        """Accept messages that begin like media."""
        link, sink, needle = self._link, self._sink, self._secrets.needle
        if not (sink is None or link.is_left or link.dropping or (needle and _is_in_any(needle, raws))):
            packets = Packets(self._channel, [self._clock.now_us()] * len(raws), raws, sum(map(len, raws)))
            if self._machine.hear(packets):
                sink.put(packets)
                if sink.full and not link.is_held:
                    self._driver._hold(link, self._socket, sink)
                return
        for raw in raws:
            self._take_one(raw)

    def _take_one(self, raw: bytes) -> None:
        """Accept one message and parse it."""
        message = self._read(raw)
        if self._secrets.needle and (not isinstance(message, Media) or self._secrets.needle in raw):
            hidden = self._secrets.hide(raw)
            if hidden is not raw:
                raw, message = hidden, self._read(hidden)
        frame = Frame(self._clock.now_us(), self._channel, _IN, raw, message)
        link, sink = self._link, self._sink
        if link.is_left:
            if sink is not None and isinstance(message, Media) and sink.full:
                link.dropped += 1  # nothing will wait for room
            else:
                self._driver._keep(frame)  # we closed it: stored, but not passed to the machine
            return
        if sink is None or not isinstance(message, Media):
            self._driver._take(frame)
            return
        if link.dropping:
            if sink.full:
                link.dropped += 1
                return
            self._driver._end_drop(link)
        sink.put(frame)
        commands = self._machine.receive(frame)
        if commands:
            self._driver._execute(commands, frame.at_us)
        if sink.full and not link.is_held:
            self._driver._hold(link, self._socket, sink)


def _is_in_any(needle: bytes, raws: list[bytes]) -> bool:
    """Return whether a text without line breaks is in any message. One search takes a third of the time of many."""
    return needle in (raws[0] if len(raws) == 1 else b"\n".join(raws))


_IN = Direction.IN
