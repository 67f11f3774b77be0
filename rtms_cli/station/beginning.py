"""A recording that begins when its first connection stands: a start that leads nowhere leaves nothing on the disk."""

import asyncio
from collections.abc import Awaitable, Callable

from rtms_cli.errors import Problem
from rtms_cli.machine import FrameSink, Item
from rtms_cli.wire.driver import Dial, FinalConnectionError
from rtms_cli.wire.sockets import Socket


class Beginning:
    """A sink that keeps frames in memory until there is one for them. They are few: nothing is connected before.

    :param begin: makes that sink; may wait for a disk.
    """

    def __init__(self, begin: Callable[[], Awaitable[FrameSink]]) -> None:
        self._begin = begin
        self._items: list[Item] = []
        self._sink: FrameSink | None = None
        self._task: asyncio.Task[FrameSink] | None = None
        self.put: Callable[[Item], None] = self._items.append
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
        """Dial as before, and begin the recording before the first connection is used."""

        async def connect(url: str) -> Socket:
            socket = await dial(url)
            if self._sink is None:
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

    async def _have_sink(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._begin())
            self._task.add_done_callback(self._go_over)
        await asyncio.shield(self._task)

    def _go_over(self, task: asyncio.Task[FrameSink]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._task = None
            return
        sink = task.result()
        for item in self._items:
            sink.put(item)
        self._items.clear()
        self._sink, self.put = sink, sink.put
