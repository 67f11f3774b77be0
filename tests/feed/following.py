"""A client of a recorder's feed, for tests: what it was sent, read."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from processes import until
from websockets.asyncio.client import ClientConnection, unix_connect


class Client:
    """What a feed has sent."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []

    async def say(self, **message: object) -> None:
        """Send a message."""
        await self.connection.send(json.dumps(message))

    async def until(self, is_wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Read messages up to one that is wanted; the test's time-out bounds it."""
        while True:
            self.messages.append(json.loads(await self.connection.recv()))
            if is_wanted(self.messages[-1]):
                return self.messages[-1]

    async def event(self, name: str, **fields: object) -> dict[str, Any]:
        """Wait for an event."""
        wanted = {"event": name, **fields}.items()
        return await self.until(lambda message: wanted <= message.items())

    async def picture(self, is_wanted: Callable[[dict[str, Any]], object] = lambda picture: True) -> dict[str, Any]:
        """Wait for a picture."""
        return await self.until(lambda message: message["type"] == "picture" and is_wanted(message))

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The events of these names so far; of all, without a name."""
        found = [message for message in self.messages if message["type"] == "event"]
        return [event for event in found if not names or event["event"] in names]


@asynccontextmanager
async def follow(place: Path, query: str = "") -> AsyncIterator[Client]:
    """Connect to the feed at a socket."""
    async with unix_connect(str(place), f"ws://localhost/feed{query}", max_size=None) as connection:
        yield Client(connection)


@asynccontextmanager
async def hear(place: Path, stream_id: str) -> AsyncIterator[ClientConnection]:
    """Connect to the sound of a stream."""
    path = f"ws://localhost/streams/{quote(stream_id, safe='')}"
    async with unix_connect(str(place), path, max_size=None) as connection:
        yield connection


async def place_in(folder: Path) -> Path:
    """The socket of the recorder whose sockets are in a folder, as soon as it is there."""
    await until(lambda: _socket_in(folder))
    place = _socket_in(folder)
    assert place is not None
    return place


def _socket_in(folder: Path) -> Path | None:
    return next(folder.glob("*.sock"), None)
