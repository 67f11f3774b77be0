"""The feed of a recorder on a Unix socket, for other processes of the same user."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rtms_cli.errors import Problem, reason_of
from rtms_cli.feed.places import make_place
from rtms_cli.feed.serving import Asked, FeedServer, GoneError
from rtms_cli.feed.source import Source
from rtms_cli.live.sockets import quiet

FEED = "/feed"
STREAMS = "/streams/"
MOST_NBYTES = 1 << 16
"""Of a client's message."""
CLOSE_S = 2.0


class SocketClient:
    """A `serving.Client` over a connection of `websockets`."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def send(self, message: str | bytes) -> None:
        """See `Client`."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise GoneError from error

    async def receive(self) -> str | bytes:
        """See `Client`."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise GoneError from error

    async def close(self, code: int, reason: str) -> None:
        """See `Client`."""
        await self._connection.close(code, reason)


@asynccontextmanager
async def served_feed(source: Source, place: Path | None = None) -> AsyncIterator[Path]:
    """Serve a feed for as long as it is entered.

    :param place: the socket's path, if not the one of this process.
    :returns: the socket's path.
    :raises Problem: if there cannot be one.
    """
    path = make_place(os.getpid()) if place is None else place
    server = FeedServer(source)

    async def serve(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        url = urlsplit(request.path)
        client = SocketClient(connection)
        if url.path.startswith(STREAMS):
            await server.listen(client, unquote(url.path.removeprefix(STREAMS)))
        else:
            await server.serve(client, Asked.read(url.query))

    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(0o600)  # nobody else can reach it before: see `make_place`. A umask would be all threads'
    except OSError as error:
        listening.close()
        raise Problem(
            f"Cannot listen at {path}: {reason_of(error)}.", "Set RTMS_RUNTIME_DIR to another folder."
        ) from None
    running = await unix_serve(
        serve,
        sock=listening,
        process_request=_admit,
        compression=None,
        max_size=MOST_NBYTES,
        max_queue=8,
        close_timeout=CLOSE_S,
        server_header=None,
        logger=quiet,
    )
    try:
        yield path
    finally:
        running.close()
        path.unlink(missing_ok=True)
        try:
            async with asyncio.timeout(2 * CLOSE_S):
                await running.wait_closed()
        except TimeoutError:
            pass  # a client that does not answer must not keep the recorder from its end


def _admit(connection: ServerConnection, request: Request) -> Response | None:
    path = request.path.partition("?")[0]
    if path != FEED and not path.startswith(STREAMS):
        return connection.respond(HTTPStatus.NOT_FOUND, f"{FEED} is the feed; {STREAMS}ID is a stream's sound\n")
    return None
