"""WebSockets on the HTTP server's port: `websockets` answers the upgrade request, then reads and writes frames.

`websockets` cannot serve the other requests, because it does not read bodies.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.frames import Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import OPEN, SEND_EOF, Protocol, Side
from websockets.server import ServerProtocol

from rtms_cli.machine import BROKEN
from rtms_cli.wire.http import Answer, Request
from rtms_cli.wire.sockets import CLOSE_TIMEOUT_S, OUTBOX_BYTES, OnClosed, OnMessages

log = logging.getLogger(__name__)

MAX_UPGRADED_MESSAGE = 1 << 20
"""Size limit of a client's message in bytes."""
MOST_UNSENT = 16 << 20
"""Unsent bytes after which a client counts as gone."""


def wants_upgrade(request: Request) -> bool:
    """Return whether a request is a WebSocket upgrade."""
    return request.method == "GET" and (request.field(b"upgrade") or "").strip().lower() == "websocket"


def upgrade(request: Request, on_open: Callable[["UpgradedSocket"], None]) -> Answer:
    """Return the answer to a WebSocket upgrade request.

    :param on_open: called with the open socket.
    """
    try:
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.fields])
    except InvalidHeader:
        return Answer(
            400,
            b"a header contains an invalid character\n",
        )
    response = ServerProtocol(logger=_quiet()).accept(Handshake(request.target, headers))
    fields = [
        (name.encode(), value.encode())
        for name, value in response.headers.raw_items()
        if name.lower() not in ("content-length", "content-type", "connection", "date") or response.status_code == 101
    ]
    if response.status_code != 101:
        return Answer(response.status_code, bytes(response.body or b""), fields=fields)

    def take_over(connection: socket.socket, unsent: bytes, received: bytes) -> None:
        opened = UpgradedSocket(unsent, received, on_open)
        opened.connecting = asyncio.get_running_loop().create_task(opened.connect(connection), name="upgrade")

    return Answer(101, fields=fields, take_over=take_over)


class UpgradedSocket(asyncio.Protocol):
    """A `Socket` on a connection that began with an HTTP request.

    :param unsent: bytes to send before the first frame.
    :param received: bytes received after the request.
    """

    def __init__(
        self,
        unsent: bytes,
        received: bytes,
        on_open: Callable[["UpgradedSocket"], None],
    ) -> None:
        self.connecting: asyncio.Task[None] | None = None
        self._protocol = Protocol(Side.SERVER, state=OPEN, max_size=MAX_UPGRADED_MESSAGE, logger=_quiet())
        self._unsent = unsent
        self._received = received
        self._on_open = on_open
        self._transport: asyncio.Transport | None = None
        self._fragments = bytearray()
        self._on_messages: OnMessages | None = None
        self._on_closed: OnClosed | None = None
        self._has_sent = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._is_gone = False
        self._is_waiting = True
        """Whether received data has no consumer yet."""

    async def connect(self, connection: socket.socket) -> None:
        """Take over the connection."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self, connection)
        except OSError as error:  # it is already gone
            log.debug("upgrade: %s", error)
            connection.close()

    def start(self, on_messages: OnMessages, on_closed: OnClosed) -> None:
        """See `Socket.start`."""
        self._on_messages, self._on_closed = on_messages, on_closed
        asyncio.get_running_loop().call_soon(self._begin)

    def send(self, raw: bytes, *, binary: bool) -> None:
        """See `Socket.send`."""
        if self._protocol.state is not OPEN or self._is_gone or self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MOST_UNSENT:
            self.abort()
            return
        if binary:
            self._protocol.send_binary(raw)
        else:
            self._protocol.send_text(raw)
        self._flush()

    async def drain(self, limit: int) -> None:
        """See `Socket.drain`."""
        while not self._is_gone and self._transport is not None:
            if self._transport.get_write_buffer_size() <= OUTBOX_BYTES:
                return
            self._has_sent.clear()
            await self._has_sent.wait()

    @property
    def undelivered(self) -> int:
        """See `Socket.undelivered`."""
        return 0

    def pause(self) -> None:
        """See `Socket.pause`."""
        if self._transport is not None and not self._is_gone:
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Socket.resume`."""
        if self._transport is not None and not self._is_gone:
            self._transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """See `Socket.close`."""
        if self._is_gone or self._transport is None:
            return
        if code == BROKEN:
            self._transport.close()  # which sends the remaining data
        elif self._protocol.state is OPEN:
            self._protocol.send_close(code, reason.encode()[:123].decode(errors="ignore"))
            self._flush()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        """See `Socket.abort`."""
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours. Received data waits for `start`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is not an instance of this class
        self._transport.write(self._unsent)
        self._transport.set_write_buffer_limits(high=OUTBOX_BYTES)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_waiting:
            self._received += data
            return
        self._protocol.receive_data(data)
        self._take()

    def eof_received(self) -> None:
        """The client has finished sending."""
        if not self._is_waiting:
            self._protocol.receive_eof()
            self._take()

    def resume_writing(self) -> None:
        """The buffered data was sent."""
        self._has_sent.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._is_gone = True
        self._has_sent.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._on_closed is not None:
            code = self._protocol.close_code
            self._on_closed(BROKEN if code is None else code, self._protocol.close_reason or "")

    # Frames.

    def _begin(self) -> None:
        """Deliver the data that was received before `start`."""
        received, self._received, self._is_waiting = self._received, b"", False
        self.data_received(received)

    def _take(self) -> None:
        messages: list[bytes] = []
        for frame in self._protocol.events_received():
            kind = getattr(frame, "opcode", None)
            if kind in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._fragments += frame.data  # type: ignore[union-attr]  # it is a frame
                if frame.fin:  # type: ignore[union-attr]
                    messages.append(bytes(self._fragments))
                    self._fragments.clear()
        self._flush()
        if messages and self._on_messages is not None:
            self._on_messages(messages)

    def _flush(self) -> None:
        if self._transport is None or self._is_gone:
            return
        for data in self._protocol.data_to_send():
            if data is SEND_EOF:
                if self._transport.can_write_eof():
                    self._transport.write_eof()
            else:
                self._transport.write(data)
        if self._protocol.close_expected() and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)


def _quiet() -> logging.Logger:
    """Return the library's logger, silenced because it would log every frame."""
    logger = logging.getLogger("rtms.upgrade")
    logger.setLevel(logging.CRITICAL)
    return logger
