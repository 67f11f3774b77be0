"""Whoever takes long over a request loses the connection, and nobody else notices."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send
from web.knocking import Door

from rtms_cli.web import serving


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of what came; has no other parts."""
    if scope["type"] == "lifespan":
        for done in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{done}.complete"})
        return
    count, more = 0, True
    while more:
        message = await receive()
        count += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(count).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served() -> AsyncIterator[Door]:
    listening = socket.create_server(("127.0.0.1", 0))
    port, stop = listening.getsockname()[1], asyncio.Event()
    serving_it = asyncio.create_task(serving.serve_pages(echo, listening, stop))
    try:
        yield Door("127.0.0.1", port, None)
    finally:
        stop.set()
        await serving_it


UNFINISHED = [
    b"",
    b"GET / HTTP/1.1\r\nHost: ",
    b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: ",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("sent", UNFINISHED)
async def test_a_request_has_to_arrive_in_time(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """The first one, its body, and another one on the same connection, of which more comes all the time."""
    monkeypatch.setattr(serving, "REQUEST_S", 0.3)
    monkeypatch.setattr(serving, "_KEEP_ALIVE_S", 20)
    async with served() as door:
        reader, writer = await asyncio.open_connection(door.address, door.port)
        writer.write(sent)
        if sent.count(b"\r\n\r\n") and b"PUT" not in sent:
            await reader.readuntil(b"\r\n\r\n0")
        dripping = asyncio.create_task(drip(writer))
        while await reader.read(1024):
            pass
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.transport.abort()
        assert (await door.knock("/")).status == 200


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, so that the connection is never idle."""
    while not writer.is_closing():
        writer.write(b"x")
        await asyncio.sleep(0.05)


async def test_a_request_that_was_there_in_time_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUEST_S", 0.2)
    async with served() as door:
        reader, writer = await asyncio.open_connection(door.address, door.port)
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n0")
            await asyncio.sleep(0.5)
        writer.transport.abort()


async def test_those_that_say_nothing_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_ASKING", 3)
    async with served() as door:
        held = [await asyncio.open_connection(door.address, door.port) for _ in range(3)]
        assert (await door.knock("/")).status == 200
        assert await held[0][0].read() == b"", "the oldest has gone"
        held[2][1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await held[2][0].readline()).startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.transport.abort()
