"""Serves the pages on a socket that listens already."""

import asyncio
import contextlib
import logging
import socket
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from rtms_cli.errors import log_defect

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 500
MOST_ASKING = 200
"""Connections without a whole request. A further one replaces the oldest."""
REQUEST_S = 10.0
"""How long a request may take to arrive."""
STOP_S = 2
"""How long an answer may still take at the end."""
_KEEP_ALIVE_S = 30
_LONGEST_PATH = 200
_MOST_MESSAGE = 1 << 16
"""Bytes of a browser's WebSocket message."""


class _Server(uvicorn.Server):
    """Leaves signals to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(H11Protocol):
    """A connection that has to send whole requests in time: those that do not must keep nobody out."""

    asking: "OrderedDict[_Connection, asyncio.TimerHandle]"
    """Those that owe a request, and when they are given up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_asking = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and self.transport.get_protocol() is self
        if not is_asking or self.transport.is_closing():
            self._expect_nothing()
        elif self not in self.asking:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._expect_nothing()

    def _expect(self) -> None:
        self.asking[self] = self.loop.call_later(REQUEST_S, self.transport.abort)
        if len(self.asking) > MOST_ASKING:
            oldest, timer = self.asking.popitem(last=False)
            timer.cancel()
            oldest.transport.abort()

    def _expect_nothing(self) -> None:
        timer = self.asking.pop(self, None)
        if timer is not None:
            timer.cancel()


class _Telling:
    """Logs a defect as one line. The client gets an answer, and other clients notice nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except (ClientDisconnect, WebSocketDisconnect):
            pass  # the browser has left
        except Exception as error:  # a defect: one page must not cost the others
            if scope["type"] == "lifespan":
                raise
            log_defect(log, f"{scope.get('method', 'WebSocket')} {scope['path'][:_LONGEST_PATH]!r}", error)


async def serve_pages(app: ASGIApp, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve until someone asks for the end.

    :param listening: is closed at the end.
    """
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    protocol: Any = type("_Connection", (_Connection,), {"asking": OrderedDict()})
    config = uvicorn.Config(
        _Telling(app),
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        http=protocol,
        ws="websockets-sansio",
        ws_max_size=_MOST_MESSAGE,
        ws_per_message_deflate=False,  # a small message could become a large one
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]), name="pages")
    waiting = asyncio.create_task(stop.wait(), name="end of pages")
    try:
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        server.should_exit = True
        await serving
