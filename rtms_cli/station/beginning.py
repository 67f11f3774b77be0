"""A recording that begins when the server has accepted the client: a start that leads nowhere, or to a server that
refuses the handshake, leaves nothing on the disk.
"""

import asyncio
from collections.abc import Awaitable, Callable

from rtms_cli.errors import Problem
from rtms_cli.machine import ChannelState, Frame, FrameSink, Item, State, state_frame
from rtms_cli.protocol.messages import SignalingHandshakeResponse
from rtms_cli.protocol.numbers import StatusCode
from rtms_cli.wire.driver import Dial, FinalConnectionError
from rtms_cli.wire.sockets import Socket

MOST_HELD = 4 << 20
"""Bytes of frames that are kept in memory; a server that sends more is recorded, whether it has accepted us or not."""


class Beginning:
    """A sink that keeps frames in memory until there is one for them. They are few: no media are connected before.

    :param begin: makes that sink; may wait for a disk.
    """

    def __init__(self, begin: Callable[[], Awaitable[FrameSink]]) -> None:
        self._begin = begin
        self._items: list[Item] = []
        self._sink: FrameSink | None = None
        self._nbytes = self._dropped = 0
        self._task: asyncio.Future[FrameSink] | None = None
        self._is_accepted = False
        self.put: Callable[[Item], None] = self._keep
        """See `FrameSink.put`; later the other sink's own, for media come through here."""

    @property
    def full(self) -> bool:
        """See `FrameSink.full`."""
        return self._sink is not None and self._sink.full

    async def room(self) -> None:
        """See `FrameSink.room`."""
        if self._sink is not None:
            await self._sink.room()

    def dialing(self, dial: Dial) -> Dial:
        """Dial as before, but use no connection for media before the recording has begun."""

        async def connect(url: str) -> Socket:
            socket = await dial(url)
            if self._is_accepted and self._sink is None:
                try:
                    await self._have_sink()
                except BaseException as error:
                    socket.abort()
                    if isinstance(error, Problem):
                        raise FinalConnectionError(str(error)) from error
                    raise
            return socket

        return connect

    async def settle(self) -> None:
        """Wait for what is being begun: a session may end in the middle of that."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _keep(self, item: Item) -> None:
        if self._nbytes < MOST_HELD:
            self._items.append(item)
        else:  # the disk takes long, or the recording could not begin and its session is about to end
            self._dropped += 1
        match item:
            case Frame(message=SignalingHandshakeResponse(status_code=StatusCode.STATUS_OK)):
                self._is_accepted = True
        before, self._nbytes = self._nbytes, self._nbytes + (len(item.raw) if isinstance(item, Frame) else item.nbytes)
        is_due = self._is_accepted or before < MOST_HELD <= self._nbytes
        if is_due and self._task is None:
            self._begin_soon()

    async def _have_sink(self) -> None:
        await asyncio.shield(self._task or self._begin_soon())

    def _begin_soon(self) -> "asyncio.Future[FrameSink]":
        self._task = asyncio.ensure_future(self._begin())
        self._task.add_done_callback(self._go_over)
        return self._task

    def _go_over(self, task: "asyncio.Future[FrameSink]") -> None:
        if task.cancelled() or task.exception() is not None:
            self._task = None
            return
        sink = task.result()
        for item in self._items:
            sink.put(item)
        if self._dropped:
            reason = f"{self._dropped} messages were not kept: {MOST_HELD >> 20} MiB were waiting for the recording"
            dropped = ChannelState(State.DROPPED, reason=reason, count=self._dropped)
            sink.put(state_frame(_time_of(self._items[-1]), "signaling", dropped))
        self._items.clear()
        self._sink, self.put = sink, sink.put


def _time_of(item: Item) -> int:
    return item.at_us if isinstance(item, Frame) else item.at_us[-1]
