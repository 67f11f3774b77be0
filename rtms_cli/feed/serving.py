"""Serves a feed to its clients (docs/feed.md), over whatever carries WebSocket messages.

Theory of operation. A client has a queue of events, which the source fills, and a flag that says that a picture is due.
One task a client sends, one reads; one task for all clients has them want a picture every second. So a slow client gets
fewer pictures, and always the newest. One that has too many events waiting is disconnected, and comes back with the
number of the last event that it has.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Collection
from typing import Protocol
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct, structs

from rtms_cli.errors import log_defect
from rtms_cli.feed.messages import Answer, Event, Mark, Picture, Stop, Watch, read_client, write
from rtms_cli.feed.source import SoundLostError, Source

log = logging.getLogger(__name__)

PICTURE_S = 1.0
"""How often a client gets a picture."""
MOST_CLIENTS = 100
MOST_WAITING = 60_000
"""Events that may wait for a client: more than a journal keeps."""
MOST_WATCHED = 100
"""Streams that a client may watch by name."""
MOST_ID = 1_000
MOST_AT_ONCE, EVERY_S = 20, 0.2
"""A client's messages that are read at once, and the pace behind them: each may cost the recorder a picture."""
SEND_S = 30.0
"""How long a client may take to accept a message."""
TRY_AGAIN, BAD_MESSAGE, RESTART = 1013, 1007, 1012
"""WebSocket's codes for a client that is too slow or one too many, for one that sends nonsense, and for another run."""


class Asked(Struct, frozen=True):
    """What a client's address says."""

    run: str = ""
    """The run that it knows."""
    after: int | None = None
    """The number of the last event that it has."""
    all_events: bool = False
    """Whether it wants all events of all streams, in order."""

    @classmethod
    def read(cls, query: str) -> "Asked":
        """Read `run=…&after=…&events=all`; what cannot be read does not count."""
        try:
            given = parse_qs(query, max_num_fields=20)
        except ValueError:
            return cls()
        after = given.get("after", [""])[-1]
        number = int(after) if after.isascii() and after.isdecimal() and len(after) < 16 else None
        return cls(given.get("run", [""])[-1], number, given.get("events") == ["all"])


class GoneError(Exception):
    """A client is not there any more."""


class Client(Protocol):
    """A connection that carries messages both ways."""

    async def send(self, message: str | bytes) -> None:
        """Send a message, and wait while the client takes none.

        :raises GoneError: if the client is gone.
        """

    async def receive(self) -> str | bytes:
        """Wait for the client's next message.

        :raises GoneError: if the client is gone.
        """

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""


class FeedServer:
    """Serves one source to any number of clients.

    :param picture_s: how often they get a picture, in seconds.
    :param every_s: the pace at which a client's messages are read, behind the first ones.
    """

    def __init__(
        self,
        source: Source,
        *,
        picture_s: float = PICTURE_S,
        most_clients: int = MOST_CLIENTS,
        every_s: float = EVERY_S,
    ) -> None:
        self._source = source
        self.every_s = every_s
        self._picture_s = picture_s
        self._most_clients = most_clients
        self._clients: set[_Conversation] = set()
        self._listeners = 0
        self._ticking: asyncio.Task[None] | None = None
        self._told = ""
        """The last defect that was logged."""

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._clients) + self._listeners

    async def serve(self, client: Client, asked: "Asked") -> None:
        """Talk to a client until it is gone."""
        if self.clients >= self._most_clients:
            await client.close(TRY_AGAIN, f"there are already {self._most_clients} clients")
            return
        conversation = _Conversation(self, self._source, client, has_all=asked.all_events)
        self._clients.add(conversation)
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick(), name="pictures")
        self.look()
        try:
            await conversation.run(asked)
        finally:
            self._clients.discard(conversation)
            self.look()
            if not self._clients and self._ticking is not None:
                self._ticking.cancel()
                self._ticking = None

    async def listen(self, client: Client, stream_id: str) -> None:
        """Send a client the sound of a stream until one of them ends."""
        if self.clients >= self._most_clients:
            await client.close(TRY_AGAIN, f"there are already {self._most_clients} clients")
            return
        try:
            sound = self._source.listen(stream_id)
        except KeyError as error:
            await client.close(TRY_AGAIN, _reason(error, "no such stream"))
            return
        self._listeners += 1
        sending = asyncio.create_task(_send_all(client, sound), name="listen in")
        reading = asyncio.create_task(_read_all(client), name="listen in: client")
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._listeners -= 1
            for task in (sending, reading):
                task.cancel()
            ended = await asyncio.gather(sending, reading, return_exceptions=True)
        match ended[0]:
            case SoundLostError() as lost:
                await client.close(TRY_AGAIN, _reason(lost, "lost"))
            case None | GoneError() | TimeoutError() | asyncio.CancelledError():
                await client.close(1000, "")
            case defect:
                log_defect(log, "a listener was disconnected", defect)
                await client.close(TRY_AGAIN, "a defect in rtms")

    def restart_soon(self) -> None:
        """Have all clients come back: the source is another one."""
        for one in self._clients:
            one.restart()

    def look(self) -> None:
        """Tell the source which streams are watched."""
        if not self._clients:
            self._source.look(None)
            return
        self._source.look(set().union(*(one.watched for one in self._clients)))

    def picture(self) -> Picture | None:
        """The picture that all clients' pictures are parts of; `None` if a defect prevents it."""
        try:
            return self._source.picture(set().union(*(one.watched for one in self._clients)))
        except Exception as defect:  # clients get events all the same
            if repr(defect) != self._told:  # there is one a second
                log_defect(log, "the feed has no pictures", defect)
            self._told = repr(defect)
            return None

    async def prepare(self) -> None:
        """See `Source.prepare`."""
        await self._source.prepare()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._picture_s)
            await self._source.prepare()
            picture = self.picture()
            for one in self._clients:
                one.show(picture)


class _Conversation:
    """With one client."""

    def __init__(self, server: FeedServer, source: Source, client: Client, *, has_all: bool) -> None:
        self._has_all = has_all
        self.watched: Collection[str] = frozenset()
        self._server, self._source, self._client = server, source, client
        self._waiting: deque[Event | Answer] = deque()
        self._picture: Picture | None = None
        self._wake = asyncio.Event()
        self._has_lost = self._must_restart = False

    def show(self, picture: Picture | None) -> None:
        """Send a picture next, if there is one, in place of one that still waits."""
        self._picture = picture or self._picture
        self._wake.set()

    def restart(self) -> None:
        """Have the client come back."""
        self._must_restart = True
        self._wake.set()

    async def run(self, asked: "Asked") -> None:
        """Talk until the client is gone."""
        await self._server.prepare()
        hello, after = self._source.hello(), asked.after
        resumed = after is not None and asked.run == hello.run and hello.oldest - 1 <= after <= hello.seq
        unsubscribe = self._source.subscribe(self._put)
        for event in self._source.after(after if resumed and after is not None else 0):
            self._put(event)
        self.show(self._server.picture())
        sending = asyncio.create_task(self._send(write(structs.replace(hello, resumed=resumed))), name="feed: sending")
        reading = asyncio.create_task(self._read(), name="feed: reading")
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            unsubscribe()
            for task in (sending, reading):
                task.cancel()
            ended = await asyncio.gather(sending, reading, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, GoneError | TimeoutError):
                log_defect(log, "a client of the feed was disconnected", error)

    def _put(self, event: Event) -> None:
        if not self._has_all and event.is_watched and not {event.stream_id, "*"} & set(self.watched):
            return
        self._queue(event)

    def _queue(self, message: Event | Answer) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._has_lost = True
        else:
            self._waiting.append(message)
        self._wake.set()

    async def _send(self, hello: bytes) -> None:
        await self._give(hello)
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._must_restart:
                await self._client.close(RESTART, "another recorder runs now")
                return
            if self._has_lost:
                await self._client.close(TRY_AGAIN, "too slow: come back with the last number that you have")
                return
            while self._waiting:
                await self._give(write(self._waiting.popleft()))
            if self._picture is not None:
                picture, self._picture = self._picture, None
                await self._give(write(self._part(picture)))

    async def _give(self, message: bytes) -> None:
        async with asyncio.timeout(SEND_S):
            await self._client.send(message.decode())

    def _part(self, picture: Picture) -> Picture:
        """With the details of what this client watches, and no others."""
        if "*" in self.watched or not picture.watched:
            return picture
        return structs.replace(picture, watched=[one for one in picture.watched if one.stream_id in self.watched])

    async def _read(self) -> None:
        loop, every_s, due = asyncio.get_running_loop(), self._server.every_s, -math.inf
        while True:
            raw = await self._client.receive()
            due = max(due, loop.time() - MOST_AT_ONCE * every_s) + every_s
            await asyncio.sleep(due - loop.time())  # at once, if there is time left
            try:
                message = read_client(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                await self._client.close(BAD_MESSAGE, "this is not a message of a client")
                return
            match message:
                case Watch():
                    await self._watch(message)
                case Mark() | Stop():
                    why = await self._source.obey(message)
                    self._queue(Answer(message.id, not why, why))

    async def _watch(self, asked: Watch) -> None:
        before = self.watched
        streams = ["*"] if asked.streams == "*" else asked.streams
        self.watched = frozenset(one for one in streams[:MOST_WATCHED] if len(one) <= MOST_ID)
        self._server.look()
        if not self._has_all and "*" not in before:
            for event in self._source.after(asked.after):
                if event.is_watched and event.stream_id not in before:
                    self._put(event)
        await self._server.prepare()
        self.show(self._server.picture())


def _reason(error: Exception, otherwise: str) -> str:
    """What an error says, as the reason of a close frame, which has 123 bytes at most."""
    text = str(error.args[0]) if error.args else otherwise
    return text.encode("utf-8", "replace")[:120].decode("utf-8", "ignore")


async def _send_all(client: Client, sound: AsyncIterator[bytes | str]) -> None:
    async for message in sound:
        async with asyncio.timeout(SEND_S):
            await client.send(message)


async def _read_all(client: Client) -> None:
    while True:
        await client.receive()
