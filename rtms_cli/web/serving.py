"""Serves the pages on a socket that listens already."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

MOST_CONNECTIONS = 500
STOP_S = 2
"""How long an answer may still take at the end."""
_KEEP_ALIVE_S = 30
_MOST_MESSAGE = 1 << 16
"""Bytes of a browser's WebSocket message."""


class _Server(uvicorn.Server):
    """Leaves signals to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_pages(app: ASGIApp, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve until someone asks for the end.

    :param listening: is closed at the end.
    """
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        http="h11",
        ws="websockets-sansio",
        ws_max_size=_MOST_MESSAGE,
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
