"""Asks a server byte by byte, as browsers would not: doubled headers, foreign hosts, paths that no client sends."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct
from processes import Running, running

Header = tuple[str, str | bytes]

UPGRADE: tuple[Header, ...] = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)
"""What makes a request one for a WebSocket."""
MARK = "what-nobody-else-may-read"
"""The name of the folder that is served: an answer that has it has told something."""


class Reply(Struct):
    """An answer."""

    status: int
    """0 if the connection was closed without one."""
    headers: list[tuple[str, str]]
    """Names in small letters."""
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header that is there once; an empty text without it."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, f"{name} is there {len(found)} times: {found}"
        return found[0] if found else ""

    @property
    def is_refusal(self) -> bool:
        """Whether nothing was told."""
        told = self.body.decode("utf-8", "replace") + str(self.headers)
        return (400 <= self.status < 500 or self.status == 0) and MARK not in told


class Door:
    """Where a server listens.

    :param address: where to connect.
    :param token: from its URL, if there is one.
    """

    def __init__(self, address: str, port: int, token: str | None) -> None:
        self.address, self.port, self.token = address, port, token

    @property
    def host(self) -> str:
        """What an honest client says in `Host`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def bearer(self) -> Header:
        """The token, as scripts send it."""
        return ("Authorization", f"Bearer {self.token}")

    async def knock(
        self,
        path: str = "/api/about",
        *headers: Header,
        method: str = "GET",
        hosts: Iterable[str | bytes] | None = None,
        version: str = "1.1",
        body: bytes = b"",
    ) -> Reply:
        """Send one request, and read the answer to its end.

        :param hosts: the values of `Host`; the honest one if none are given.
        """
        given = [("Host", host) for host in ([self.host] if hosts is None else hosts)]
        lines = [f"{method} {path} HTTP/{version}".encode()]
        wanted: list[Header] = [*given, *headers]
        if not any(name == "Connection" for name, _ in headers):
            wanted.append(("Connection", "close"))
        if body:
            wanted.append(("Content-Length", str(len(body))))
        for name, value in wanted:
            lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
        return await self.say(b"\r\n".join(lines) + b"\r\n\r\n" + body, is_head=method == "HEAD")

    async def say(self, request: bytes, *, is_head: bool = False) -> Reply:
        """Send bytes, and read the answer: to the end of its head if it opens a WebSocket or has no body."""
        reader, writer = await asyncio.open_connection(self.address, self.port)
        try:
            writer.write(request)
            await writer.drain()
            return await _answer(reader, is_head=is_head)
        except ConnectionError:
            return Reply(0, [], b"")
        finally:
            writer.transport.abort()

    async def upgrade(self, path: str = "/feed", *headers: Header, hosts: Iterable[str | bytes] | None = None) -> Reply:
        """Ask for a WebSocket; 101 is a yes."""
        return await self.knock(path, *UPGRADE, *headers, hosts=hosts)


async def _answer(reader: asyncio.StreamReader, *, is_head: bool) -> Reply:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return Reply(0, [], error.partial)
    first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    status = int(first.split(" ")[1])
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in rest)]
    if status == 101 or is_head:
        return Reply(status, headers, b"")
    return Reply(status, headers, await reader.read())


@asynccontextmanager
async def opened(
    folder: Path,
    *options: str,
    address: str = "127.0.0.1",
    settings: Mapping[str, str] | None = None,
    before: Iterable[str] = (),
) -> AsyncIterator[tuple[Door, Running]]:
    """Run `rtms web` over a folder whose name is `MARK`.

    :param before: options of `rtms` itself.
    """
    place = folder / MARK
    await asyncio.to_thread(place.mkdir, exist_ok=True)
    async with running(*before, "web", place, "--port", "0", *options, cwd=folder, settings=settings) as server:
        line = await server.line_with("http://")
        found = re.search(r"http://(?:\[[^]]*\]|[^\s:/]+):(\d+)/?(?:\?token=(\S+))?", line)
        assert found, line
        yield Door(address, int(found[1]), found[2]), server
