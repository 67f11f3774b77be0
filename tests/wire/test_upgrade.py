"""WebSockets on an HTTP server's port, with a client that is not ours."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import httpx
import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rtms_cli.machine import BROKEN
from rtms_cli.wire.http import Answer, Handler, HttpServer, Request
from rtms_cli.wire.upgrade import MAX_UPGRADED_MESSAGE, UpgradedSocket, upgrade, wants_upgrade


class Served:
    """A server that answers HTTP with `plain`, and WebSockets with what they say."""

    def __init__(self) -> None:
        self.sockets: list[UpgradedSocket] = []
        self.closed: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self.echoes = True
        self.server = HttpServer(
            Handler(lambda request: None, self.answer, lambda status, why: Answer(status, why.encode()), 1 << 20), 20, 4
        )
        self.port = 0

    def answer(self, request: Request) -> Answer:
        return upgrade(request, self.open) if wants_upgrade(request) else Answer(200, b"plain: " + request.body)

    def open(self, opened: UpgradedSocket) -> None:
        self.sockets.append(opened)

        def take(raws: list[bytes]) -> None:
            for raw in raws if self.echoes else []:
                opened.send(raw, binary=False)

        opened.start(take, lambda code, reason: self.closed.put_nowait((code, reason)))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    served = Served()
    listening = socket.create_server(("127.0.0.1", 0))
    served.port = listening.getsockname()[1]
    served.server.serve(listening)
    try:
        yield served
    finally:
        for opened in served.sockets:
            opened.abort()
        await served.server.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_http_and_websockets_at_one_port(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    run(speak_both())


async def speak_both() -> None:
    async with serving() as served, httpx.AsyncClient(trust_env=False) as http:
        async with connect(served.url, proxy=None) as client:
            answer = await http.post(f"http://127.0.0.1:{served.port}/x", content=b"1" * 100_000)
            assert answer.text == "plain: " + "1" * 100_000
            await client.send("ä" * 100_000)
            assert await client.recv() == "ä" * 100_000
            await client.send([b"in ", b"three ", b"pieces"])
            assert await client.recv() == "in three pieces"
        assert await served.closed.get() == (1000, "")


async def test_what_follows_the_handshake_at_once_is_not_lost() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        head = f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
        writer.write(head.encode() + b"\x81\x82\0\0\0\0hi")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
        assert await reader.readexactly(4) == b"\x81\x02hi"
        writer.close()
        assert (await served.closed.get())[0] == BROKEN


async def test_many_connections_leave_room_for_requests() -> None:
    """The server has 4 places for HTTP; WebSockets take none."""
    async with serving() as served, httpx.AsyncClient(trust_env=False) as http:
        clients = [await connect(served.url, proxy=None) for _ in range(8)]
        assert (await http.get(f"http://127.0.0.1:{served.port}/")).status_code == 200
        for client in clients:
            await client.send("still here")
            assert await client.recv() == "still here"
            await client.close()


async def test_the_server_closes() -> None:
    async with serving() as served, connect(served.url, proxy=None) as client:
        served.sockets[0].send(b"the last word", binary=False)
        served.sockets[0].close(1008, "a reason")
        assert await client.recv() == "the last word"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1008, "a reason")
        assert await served.closed.get() == (1008, "a reason")


async def test_the_server_breaks_the_connection() -> None:
    async with serving() as served, connect(served.url, proxy=None) as client:
        served.sockets[0].send(b"the last word", binary=False)
        served.sockets[0].close(BROKEN, "")
        assert await client.recv() == "the last word"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == BROKEN
        assert (await served.closed.get())[0] == BROKEN


async def test_a_message_that_is_too_large_ends_the_connection() -> None:
    async with serving() as served, connect(served.url, proxy=None, max_size=None) as client:
        await client.send("x" * (MAX_UPGRADED_MESSAGE + 1))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1009


async def test_a_client_that_does_not_read_is_gone_in_the_end() -> None:
    async with serving() as served:
        async with connect(served.url, proxy=None, max_size=None, max_queue=1, close_timeout=0.1) as client:
            opened = served.sockets[0]
            while served.closed.empty():
                opened.send(b"x" * 1_000_000, binary=False)
                await asyncio.sleep(0)
            client.transport.abort()
        assert (await served.closed.get())[0] == BROKEN


@pytest.mark.parametrize("missing", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Connection"])
async def test_a_handshake_that_is_none_is_refused(missing: str) -> None:
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    del fields[missing]
    async with serving() as served, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{served.port}/ws", headers=fields)
        assert 400 <= answer.status_code < 500
        assert not served.sockets


async def test_a_header_that_no_header_may_be_is_refused() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        key = b"Sec-WebSocket-Key: dGhl\x0fSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        head = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(head + key + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_a_client_that_breaks_the_rules_and_stays_is_cut_off() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + key)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\x02hi")  # not masked, as a client's must be
        assert (await reader.readexactly(4))[2:] == (1002).to_bytes(2)
        async with asyncio.timeout(30):
            assert (await served.closed.get())[0] == BROKEN
        writer.close()
