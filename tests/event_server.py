"""Zoom's event WebSocket as PROTOCOL §11 has it, played by `websockets` with nothing of ours.

Its messages are written out here, and whatever a client sends is held against them.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

POLICY_VIOLATION = 1008


class EventServer:
    """Serves one subscription on a free port of this machine."""

    def __init__(self, subscription: str, *, tokens: set[str] | None = None) -> None:
        self.subscription = subscription
        self.tokens = tokens
        """Those that are taken; `None` takes any."""
        self.port = 0
        self.url = ""
        """As `ZOOM_EVENTS_URL` has it, without TLS."""
        self.connected: list[str] = []
        """The token of each connection that was built."""
        self.refused: list[str] = []
        """The token of each that was closed at once."""
        self.paths: list[str] = []
        self.heard: list[object] = []
        """Every message of a client."""
        self.holds = True
        """Whether connections are accepted; else they are cut off."""
        self.answers = True
        """Whether heartbeats are answered."""
        self.extra: list[dict[str, Any]] = []
        """What is said right behind `build_connection`."""
        self.says = ""
        """What a refusal says; empty is the usual."""
        self._held: ServerConnection | None = None
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["EventServer"]:
        async with serve(self._serve, "127.0.0.1", 0, ssl=tls) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{self.port}/ws"
            yield self

    async def until_connected(self, times: int) -> None:
        """Wait until this many connections were built since the beginning, and the last one is there."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.connected) >= times and self._held is not None)

    async def deliver(self, event: dict[str, Any]) -> None:
        """Send an event to whoever is connected: the body of a webhook, as a string."""
        assert self._held is not None, "nobody is connected"
        message = {"module": "message", "content": json.dumps(event), "header": {"event": event["event"]}}
        await self._held.send(json.dumps(message))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, as for one that is newer."""
        assert self._held is not None, "nobody is connected"
        held, self._held = self._held, None
        await held.close(code, reason)

    async def cut(self) -> None:
        """Let the connection break."""
        assert self._held is not None, "nobody is connected"
        held, self._held = self._held, None
        held.transport.abort()

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        if not self.holds:
            socket.transport.abort()
            return
        self.paths.append(socket.request.path)
        query = parse_qs(urlsplit(socket.request.path).query)
        token = query.get("access_token", [""])[0]
        if query.get("subscriptionId") != [self.subscription] or (self.tokens is not None and token not in self.tokens):
            is_token = query.get("subscriptionId") == [self.subscription]
            says = self.says or ("Invalid Token" if is_token else "Invalid subscription")
            async with self._changed:
                self.refused.append(token)
                self._changed.notify_all()
            await socket.send(json.dumps({"module": "build_connection", "success": False, "content": says}))
            await socket.close(POLICY_VIOLATION if is_token else 1000, "")
            return
        former, self._held = self._held, socket
        if former is not None:
            await former.close()
        await socket.send(json.dumps({"module": "build_connection", "success": True, "content": "", "header": {}}))
        for message in self.extra:
            await socket.send(json.dumps(message))
        async with self._changed:
            self.connected.append(token)
            self._changed.notify_all()
        try:
            async for raw in socket:
                self.heard.append(json.loads(raw))
                if self.answers:
                    answer = {"module": "heartbeat", "success": True, "content": "live", "header": {}}
                    await socket.send(json.dumps(answer))
        except ConnectionClosed:
            pass
        finally:
            if self._held is socket:
                self._held = None
