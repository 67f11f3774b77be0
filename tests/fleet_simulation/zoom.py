"""Zoom's side, as small as the fleet can see it: who is connected to a stream, what it was sent, and what is kept."""

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from fleet_simulation.clock import Clock
from fleet_simulation.plan import Show
from msgspec import Struct

if TYPE_CHECKING:
    from fleet_simulation.processes import Process

BUFFER_S = 60.0
"""For how long a server waits for a client, and how much audio it keeps meanwhile (PROTOCOL §9)."""
UNANSWERED_S = 30.0
"""How long a client may be silent: three keep-alives."""
OK, UNKNOWN_STREAM = 0, 2


class Handshake(Struct, frozen=True):
    """A `1` with success."""

    at: float
    who: str
    created: str
    epoch: int


class Loss(Struct, frozen=True):
    """Audio that no client got."""

    begin: float
    end: float
    why: str
    """`in flight`, `not kept`, or `nobody came`."""
    noticed: float
    """Since when the server missed its client."""


class Connection:
    """A client's signaling connection, with the media that depends on it."""

    def __init__(self, stream: "Stream", process: "Process", clock: Clock) -> None:
        self.stream, self.process, self.clock = stream, process, clock
        self.is_open = True
        self.on_close: Callable[[str], None] = lambda _: None
        """Called in the client's process."""

    def close(self, why: str) -> None:
        """The server closes it."""
        if self.is_open:
            self.is_open = False
            self.process.hear(lambda: self.on_close(why))

    def leave(self) -> None:
        """The client closes it."""
        if self.is_open:
            self.is_open = False
            self.stream.miss(self)


class Stream:
    """One stream of Zoom's, from a start to an end."""

    def __init__(self, zoom: "Zoom", show: Show) -> None:
        self.zoom, self.show = zoom, show
        self.began, self.over_at = zoom.clock.now, 0.0
        self.is_on = True
        self.starts_ms = 0
        self.generation = 0
        self.client: Connection | None = None
        self.silent_since: float | None = None
        """Since when the server has sent what may never have arrived."""
        self.missed_at: float | None = self.began
        self.sent_to = self.began
        self.handshakes: list[Handshake] = []
        self.losses: list[Loss] = []
        self.seconds = 0.0
        """How much audio has arrived."""

    @property
    def url(self) -> str:
        """Where its server is."""
        return f"wss://{self.show.name}-{self.generation}.zoom.us"

    def start(self) -> None:
        """Tell of a start; also after a failover."""
        self.starts_ms = self.zoom.clock.now_ms
        self._wait_for_client()
        self.tell("started", server_urls=self.url)

    def tell(self, event: str, **more: object) -> None:
        """Send a webhook."""
        payload = {"meeting_uuid": f"m-{self.show.name}", "rtms_stream_id": self.show.name, **more}
        said = {"event": f"meeting.rtms_{event}", "event_ts": self.zoom.clock.now_ms, "payload": payload}
        self.zoom.send(json.dumps(said).encode())

    def open(self, process: "Process", created: str, epoch: int) -> tuple[int, Connection | None]:
        """A `1` comes in.

        :returns: the status code, and the connection where that is 0.
        """
        now = self.zoom.clock.now
        if not self.is_on:
            return UNKNOWN_STREAM, None
        if self.client is not None:
            if self.show.refuses_with is not None:
                return self.show.refuses_with, None
            former, self.client = self.client, None
            self._settle(former)
            former.close("another client has connected")
        elif now - self.sent_to > BUFFER_S:
            self.losses.append(Loss(self.sent_to, now - BUFFER_S, "not kept", self.missed_at or 0.0))
            self.sent_to = now - BUFFER_S
        self.handshakes.append(Handshake(now, process.name, created, epoch))
        self.client, self.missed_at = Connection(self, process, self.zoom.clock), None
        self.silent_since = None
        return OK, self.client

    def miss(self, connection: Connection, *, is_lost: bool = False) -> None:
        """The client is gone.

        :param is_lost: whether what was sent since it went silent is lost.
        """
        if self.client is not connection:
            return
        self._settle(connection, is_lost=is_lost)
        self.client, self.missed_at = None, self.zoom.clock.now
        self._wait_for_client()
        self.tell("interrupted")

    def watch(self, process: "Process", since: float) -> None:
        """A client that is silent is cut off after a while."""
        client = self.client
        if client is None or client.process is not process:
            return
        self.silent_since = since

        def cut() -> None:
            if self.client is client and process.silent_since == since:
                self.miss(client, is_lost=process.loses_what_is_sent)
                client.close("the server has closed it")

        self.zoom.clock.after(UNANSWERED_S + self.zoom.dice.uniform(0, 10), cut)

    def fail_over(self) -> None:
        """Its server dies, and another one goes on."""
        if not self.is_on:
            return
        self.generation += 1
        client, self.client = self.client, None
        if client is not None:
            self._settle(client)
            self.missed_at = self.zoom.clock.now
            client.close("the server is gone")
        self.start()

    def end(self, reason: int) -> None:
        """It is over."""
        if not self.is_on:
            return
        self.is_on, self.over_at = False, self.zoom.clock.now
        client, self.client = self.client, None
        if client is not None:
            self._settle(client)
            client.is_open = False
            client.process.hear(lambda: client.on_close("over"))
        else:
            self.losses.append(Loss(self.sent_to, self.over_at, "nobody came", self.missed_at or 0.0))
        self.tell("stopped", stop_reason=reason)

    def _settle(self, client: Connection, *, is_lost: bool = False) -> None:
        """Count what a client got that goes now."""
        now, process = self.zoom.clock.now, client.process
        got_to = now
        if self.silent_since is not None and (is_lost or process.loses_what_is_sent):
            got_to = max(self.sent_to, self.silent_since)
            self.losses.append(Loss(got_to, now, "in flight", self.silent_since))
        self.seconds += got_to - self.sent_to
        self.sent_to, self.silent_since = now, None

    def _wait_for_client(self) -> None:
        missed_at, generation = self.missed_at, self.generation

        def give_up() -> None:
            if self.client is None and (self.missed_at, self.generation) == (missed_at, generation):
                self.end(19)

        self.zoom.clock.after(BUFFER_S, give_up)


class Zoom:
    """All streams, and the webhooks about them."""

    def __init__(self, clock: Clock, dice: random.Random, send: Callable[[bytes], None]) -> None:
        self.clock, self.dice, self.send = clock, dice, send
        self.streams: dict[str, Stream] = {}
        """The newest of each name."""
        self.past: list[Stream] = []

    def begin(self, show: Show) -> None:
        """A stream starts, perhaps again."""
        former = self.streams.get(show.name)
        if former is not None:
            if former.is_on:
                return
            self.past.append(former)
        stream = self.streams[show.name] = Stream(self, show)
        stream.generation = 0 if former is None else former.generation + 1
        stream.start()

    def find(self, url: str) -> Stream | None:
        """The stream at a URL, if a server is there."""
        name = url.removeprefix("wss://").rpartition("-")[0]
        stream = self.streams.get(name)
        return stream if stream is not None and stream.url == url else None

    def silence(self, process: "Process") -> None:
        """A process answers no more keep-alives."""
        for stream in self.streams.values():
            stream.watch(process, self.clock.now)

    def forget_silence(self, process: "Process") -> None:
        """A process answers again: what it was sent has come."""
        for stream in self.streams.values():
            if stream.client is not None and stream.client.process is process:
                stream.silent_since = None

    def hang_up(self, process: "Process") -> None:
        """A process is gone, and its machine says so."""
        for stream in self.streams.values():
            if stream.client is not None and stream.client.process is process:
                stream.client.is_open = False
                stream.miss(stream.client)

    def all(self) -> list[Stream]:
        """Every stream that there was."""
        return [*self.past, *self.streams.values()]
