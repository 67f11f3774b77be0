"""A WebSocket server that a tap goes to."""

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from rtms_cli.live.framing import HEADER


class Bot:
    """A server that remembers what it is sent.

    :param says: what it says as soon as somebody has connected.
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
