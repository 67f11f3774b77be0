"""Connections that nobody waits for any more are closed: a recorder that runs for months must not collect them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from rtms_cli.wire import dialer as dialer_module
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy


class Silent:
    """Accepts connections, and never says a word."""

    def __init__(self) -> None:
        self.came, self.gone = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.came.set()
        assert await reader.read() == b""
        self.gone.set()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self, "127.0.0.1", 0) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"


async def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer_module, "OPEN_TIMEOUT_S", 0.2)
    silent = Silent()
    async with silent.listening() as url, asyncio.timeout(10):
        with pytest.raises(ConnectionError, match="no answer within"):
            await Dialer(HostPolicy())(url)
        await silent.gone.wait()


async def test_a_server_that_had_not_answered_when_it_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer_module, "OPEN_TIMEOUT_S", 0.5)
    silent = Silent()
    async with silent.listening() as url, asyncio.timeout(10):
        dialing = asyncio.create_task(Dialer(HostPolicy())(url))
        await silent.came.wait()
        dialing.cancel()
        await asyncio.wait([dialing])
        assert dialing.cancelled()
        await silent.gone.wait()


async def test_a_server_that_answers_after_it_was_given_up() -> None:
    came, may_answer, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(connection: ServerConnection, request: Request) -> None:
        came.set()
        await may_answer.wait()

    async def handle(socket: ServerConnection) -> None:
        await socket.wait_closed()
        gone.set()

    async with serve(handle, "127.0.0.1", 0, process_request=late) as server, asyncio.timeout(10):
        port = next(iter(server.sockets)).getsockname()[1]
        dialing = asyncio.create_task(Dialer(HostPolicy())(f"ws://127.0.0.1:{port}/x"))
        await came.wait()
        dialing.cancel()
        await asyncio.wait([dialing])
        may_answer.set()
        await gone.wait()
