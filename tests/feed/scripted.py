"""A feed that says what a test has written down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from rtms_cli.feed.following import Address
from rtms_cli.feed.messages import VERSION, Event, Hello, KeepAlives, Picture, Row, write

ROW = Row("s1", "meeting", "m", None, "streaming", 1.0, {}, 0, 0, 0, 0, 0, KeepAlives())


def hello(run: str = "r1", seq: int = 0, *, resumed: bool = False, version: int = VERSION) -> Hello:
    return Hello(version, "1.0", run, "listen", "2026-11-28T12:00:00Z", seq, 1, control=False, resumed=resumed)


def event(seq: int, name: str = "notice", **fields: object) -> Event:
    return Event(seq, "2026-11-28T12:00:00Z", name, **{"text": f"event {seq}", **fields})  # type: ignore[arg-type]


PICTURE = Picture(0, "2026-11-28T12:00:00Z", [ROW])


class Scripted:
    """A server that says the same as its script to each connection, one after the other, and hangs up behind it.

    The last script stays.
    """

    def __init__(self, *scripts: list[object], status: int | None = None) -> None:
        self._scripts = list(scripts)
        self._status = status
        self.elsewhere = 0
        """The port that it redirects to."""
        self.paths: list[str] = []
        self.heard: list[str] = []
        self.tokens: list[str | None] = []
        self.connections: list[ServerConnection] = []

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        is_last = len(self._scripts) == 1 and script is self._scripts[0]
        for message in script:
            await connection.send(message if isinstance(message, str) else write(message).decode())
        if not is_last:
            await connection.recv()  # what it watches: so all of the script has arrived
            return
        async for message in connection:
            self.heard.append(str(message))

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        self.tokens.append(request.headers.get("Authorization"))
        return None if self._status is None else self._refuse(connection, self._status)

    def _refuse(self, connection: ServerConnection, status: int) -> Response:
        answer = connection.respond(HTTPStatus(status), "no\n")
        if status == HTTPStatus.FOUND:
            answer.headers["Location"] = f"ws://127.0.0.1:{self.elsewhere}/feed"
        return answer

    @asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator[Address]:
        async with serve(self._serve, "127.0.0.1", port, process_request=self._admit) as server:
            (port,) = {one.getsockname()[1] for one in server.sockets}
            yield Address(None, f"ws://127.0.0.1:{port}", "a-token")
