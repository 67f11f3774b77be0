"""What happens when a page has a defect, over real sockets."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rtms_cli.web.serving import serve_pages


async def defect(_: Request) -> Response:
    raise KeyError("what\nis it")


async def fine(_: Request) -> Response:
    return PlainTextResponse("fine")


async def waits(request: Request) -> Response:
    await request.body()
    return PlainTextResponse("too late")


async def talk(browser: WebSocket) -> None:
    await browser.accept()
    if await browser.receive_text() == "defect":
        raise ValueError("of the\n feed")
    await browser.receive_text()  # it has left


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    routes = [Route("/fine", fine), Route("/waits", waits, methods=["POST"]), Route("/{x:path}", defect)]
    stop, listening = asyncio.Event(), socket.create_server(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    serving = asyncio.create_task(
        serve_pages(Starlette(routes=[*routes, WebSocketRoute("/talk", talk)]), listening, stop)
    )
    yield port
    stop.set()
    await serving


@pytest.mark.parametrize("is_debug", [False, True])
async def test_a_defect_is_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, is_debug: bool
) -> None:
    """The traceback comes with `--debug` only. The client gets an answer, and other clients notice nothing."""
    monkeypatch.setenv("RTMS_DEBUG", "1" if is_debug else "")
    async with served() as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/a%09b?token=secret")).status_code == 500
        async with connect(f"ws://127.0.0.1:{port}/talk") as feed:
            await feed.send("defect")
            with pytest.raises(ConnectionClosed):
                await feed.recv()
        assert (await client.get("/fine")).text == "fine"
    page, feed_line = (
        record for record in caplog.records if record.levelno >= logging.ERROR and "defect" in record.msg
    )
    assert page.getMessage().startswith("a defect in rtms: GET '/a\\tb': KeyError: 'what\\nis it', in test_serving.py:")
    assert feed_line.getMessage().startswith("a defect in rtms: WebSocket '/talk': ValueError: of the feed, in ")
    assert "secret" not in caplog.text
    assert [bool(record.exc_info) for record in (page, feed_line)] == [is_debug, is_debug]
    assert ("Traceback" in caplog.text) == is_debug


async def test_a_browser_that_leaves_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /waits HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf of it")
        await writer.drain()
        writer.transport.abort()
        async with connect(f"ws://127.0.0.1:{port}/talk") as feed:
            await feed.send("hello")
            feed.transport.abort()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/fine")).text == "fine"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
