"""Messages between processes of one machine over a socket pair. Each is a length followed by its bytes."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

HEAD_NBYTES = 4
MOST_NBYTES = 256 << 20
"""Size limit of a message. A claim with a thousand long webhooks stays below it."""


class Line(asyncio.Protocol):
    """One end of the pair; see `connect`.

    :param take: called with each message, in order, on the event loop.
    :param lost: called once, when the other end is gone.
    """

    def __init__(self, take: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._take = take
        self._lost = lost
        self._waiting = bytearray()
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()

    @classmethod
    async def connect(cls, end: socket.socket, take: Callable[[bytes], None], lost: Callable[[], None]) -> "Line":
        """Use a connected socket, which is closed with the line."""
        end.setblocking(False)
        _, line = await asyncio.get_running_loop().create_unix_connection(lambda: cls(take, lost), sock=end)
        return line

    def send(self, message: bytes) -> bool:
        """Send a message. Never waits.

        :returns: whether the other end was still connected.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.writelines([len(message).to_bytes(HEAD_NBYTES), message])
        return True

    @property
    def backlog_nbytes(self) -> int:
        """Return the bytes that the system has not accepted yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def close(self) -> None:
        """Close this end, after sending pending messages."""
        if self._transport is not None:
            self._transport.close()
            await self._gone.wait()

    async def ended(self, within_s: float) -> None:
        """Wait until the other end closes. After the given time, close the line."""
        try:
            async with asyncio.timeout(within_s):
                await self._gone.wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Close this end at once."""
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not one by its type

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        waiting = self._waiting
        waiting += data
        begin = 0
        while len(waiting) - begin >= HEAD_NBYTES:
            nbytes = int.from_bytes(waiting[begin : begin + HEAD_NBYTES])
            if nbytes > MOST_NBYTES:
                self.abort()
                return
            end = begin + HEAD_NBYTES + nbytes
            if len(waiting) < end:
                break
            message = bytes(waiting[begin + HEAD_NBYTES : end])
            begin = end
            self._take(message)
        del waiting[:begin]

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._gone.set()
        self._lost()
