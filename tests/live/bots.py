"""Servers that a tap goes to: one that remembers, and some that do not do what they should."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.utils import accept_key

from rtms_cli.live.framing import HEADER


class Bot:
    """A server that remembers what it is sent.

    :param says: what it says as soon as someone has connected.
    """

    def __init__(self, says: tuple[str | bytes, ...] = ()) -> None:
        self.says = says
        self.messages: list[str | bytes] = []
        self.connections: list[ServerConnection] = []
        self.authorization: list[str | None] = []
        self.url = ""

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.authorization.append(connection.request.headers.get("Authorization") if connection.request else None)
        for said in self.says:
            await connection.send(said)
        async for message in connection:
            self.messages.append(message)

    @property
    def texts(self) -> list[dict[str, Any]]:
        return [json.loads(message) for message in self.messages if isinstance(message, str)]

    @property
    def media(self) -> list[tuple[int, int, int, bytes]]:
        """Kind, user, timestamp and bytes of each binary message."""
        found = []
        for message in self.messages:
            if isinstance(message, bytes):
                kind, _, nbytes, user, at_ms = HEADER.unpack_from(message)
                found.append((kind, user, at_ms, message[nbytes:]))
        return found


@asynccontextmanager
async def serving(
    bot: Bot,
    tls: ssl.SSLContext | None = None,
    answer: Callable[[ServerConnection, Request], Response | None] | None = None,
) -> AsyncIterator[Bot]:
    async with serve(bot, "127.0.0.1", 0, ssl=tls, process_request=answer, close_timeout=1) as server:
        scheme, host = ("ws", "127.0.0.1") if tls is None else ("wss", "localhost")
        bot.url = f"{scheme}://{host}:{next(iter(server.sockets)).getsockname()[1]}/in"
        yield bot


class Peer(asyncio.Protocol):
    """A server's end of a connection, without a library."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)


class Unreading(Peer):
    """Upgrades, says something, and then reads nothing until it is told to."""

    def __init__(self, says: bytes = b"") -> None:
        self.says = says

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET"):
            self.transport.pause_reading()
            self.transport.write(upgrade(data) + self.says)


class Saying(Peer):
    """Says something, with or without an upgrade before."""

    def __init__(self, says: bytes, *, upgrades: bool) -> None:
        self.says, self.upgrades = says, upgrades

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET"):
            self.transport.write((upgrade(data) if self.upgrades else b"") + self.says)


def upgrade(request: bytes) -> bytes:
    """The answer that opens a WebSocket."""
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0].decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def raw_server(peer: Peer) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(lambda: peer, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        peer.transport.abort()
