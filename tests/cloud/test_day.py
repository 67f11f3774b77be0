"""A day of the event WebSocket on the virtual clock: drops, tokens that end, a rival, and events late and repeated.

The real station, sessions and driver are on one side, the simulator's event server and streams on the other. What the
network delivered is the truth about each gap, not what the machine says.
"""

import asyncio
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec import Struct
from simulation.disk import SimWriter
from simulation.loop import VirtualClock, VirtualLoop
from simulation.network import Link, Network, SimSocket, Trouble

from rtms_cli.cloud.subscription import Phase
from rtms_cli.machine import WEBHOOK, Direction, Finish, Frame, Via
from rtms_cli.protocol.media import MEDIA_NAMES, MediaRequest, spelled_out
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType, Product, StopReason
from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.signatures import handshake_signature
from rtms_cli.protocol.webhooks import Stream, read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.simulator.cloud_events import EventServer
from rtms_cli.simulator.cloud_faults import CloudFault, CloudFaultAt
from rtms_cli.simulator.cloud_tokens import TokenOffice
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.show import MadeUp
from rtms_cli.simulator.webhooks import Ids, stream_event, stream_payload, webhook_body
from rtms_cli.simulator.zoom import Zoom
from rtms_cli.station.station import Station
from rtms_cli.station.subscribing import EventDialer, Subscriber
from rtms_cli.wire.driver import Driver

DAY_S = 24 * 3600
BASE_MS = 1_795_000_000_000
SUBSCRIPTION = "subscription-1"
TOLERANCE_S = 1.0
"""How exact the length of a gap has to be; the network takes up to 0.6 s each way, which both sides see."""

NOTICED_S = 3.0
"""How long it takes at most until the one side notices that the other one's connection broke."""


class Token(Struct):
    """What gives a token's value."""

    value: Secret


class Meeting:
    """One stream, its server and its webhooks."""

    def __init__(self, day: "Day", number: int, seconds: float) -> None:
        digest = hashlib.sha256(f"{day.seed} {number}".encode()).hexdigest()
        self.identity, self.stream_id = digest[:22] + "==", digest[24:56]
        self.event_ts = day.now_ms()
        self.url = f"ws://zoom/signaling/{self.stream_id}"
        names = [name for kind, name in MEDIA_NAMES.items() if kind in spelled_out(EVERY_MEDIA)]
        self.zoom = Zoom(
            product=Product.MEETING,
            identity=self.identity,
            stream_id=self.stream_id,
            signature=handshake_signature("client", "secret", self.identity, self.stream_id),
            urls={name: f"ws://zoom/media/{self.stream_id}/{name}" for name in [*names, "all"]},
            epoch_ms=day.now_ms(),
            show=MadeUp(Scenario(seconds)),
        )
        self.driver = Driver(self.zoom, None, VirtualClock(), outward=lambda command: None)
        self.running = asyncio.create_task(self.driver.run())
        self._sockets = 0

    def accept(self, kind: str, socket: SimSocket) -> None:
        """Take a client's connection."""
        if self.running.done():
            turn_away(socket, 1008)
            return
        self._sockets += 1
        self.driver.attach(kind if self._sockets == 1 else f"{kind}#{self._sockets}", socket)

    def webhook(self, what: str, event_ts: int, reason: int | None = None) -> bytes:
        """The body of a webhook about it."""
        ids = Ids(Product.MEETING, self.identity, self.stream_id, self.url)
        return webhook_body(stream_event(Product.MEETING, what), event_ts, stream_payload(ids, what, reason))


def turn_away(socket: SimSocket, code: int) -> None:
    socket.start(lambda raw: None, lambda code, reason: None)
    socket.close(code, "")


class EventLink:
    """What happened on one connection of ours to the event WebSocket."""

    def __init__(self, socket: SimSocket) -> None:
        self.socket = socket
        self.heard: list[float] = []
        """When something came that was read."""
        self.closed_s: float | None = None
        self.struck_s: float | None = None
        """Since when nothing arrives on it, though it stands."""


class Posted(Struct):
    """An event, and how it came."""

    body: bytes
    at_s: float
    comes_s: float
    """When the event WebSocket delivers it, where it is connected."""
    taken: list[tuple[float, str]]


class Day:
    """Everything that takes part."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(f"day {seed}")
        self.loop = asyncio.get_running_loop()
        self.network = Network(f"day {seed}", "", self._accept, self._on_delivered)
        self.office = TokenOffice(b"seed")
        self.meetings: dict[str, Meeting] = {}
        self.posted: dict[bytes, Posted] = {}
        self.links: list[EventLink] = []
        self.gaps: list[float] = []
        self.tells: Counter[str] = Counter()
        self.signaling: defaultdict[str, list[SimSocket]] = defaultdict(list)
        self.started: Counter[str] = Counter()
        self.finished: dict[str, Finish] = {}
        """How the first session of each stream ended."""
        self.violations: list[str] = []
        self.server = EventServer(self.office, [SUBSCRIPTION], self._faults())
        self.server_driver = Driver(self.server, None, VirtualClock())
        self.serving = asyncio.create_task(self.server_driver.run())
        self.station = Station(
            make_recorder=None,
            request=MediaRequest(MediaType.TRANSCRIPT),
            sign=self._sign,
            dial=self._dial,
            writer=SimWriter(self.dice),
            observers=[self],
            trusted=True,
            make_clock=VirtualClock,
        )
        take = self.station.take

        def noting(body: bytes, webhook: object, via: str = Via.HTTP) -> None:
            self.posted[body].taken.append((self.loop.time(), via))
            take(body, webhook, via)  # type: ignore[arg-type]

        self.station.take = noting  # type: ignore[method-assign]
        self.subscriber = Subscriber(
            f"ws://events/ws?subscriptionId={SUBSCRIPTION}",
            EventDialer(self._ask, self._dial_events),
            self.station,
            clock=VirtualClock(),
            wall_ms=self.now_ms,
            dice=self.dice.random,
        )

    def now_ms(self) -> int:
        """The time of day."""
        return BASE_MS + round(self.loop.time() * 1000)

    def _faults(self) -> Sequence[CloudFaultAt]:
        """What goes wrong in the cloud, at all hours."""
        dice, faults = self.dice, []
        for _ in range(40):
            kind = dice.choice((CloudFault.TOKEN_EXPIRES, CloudFault.EVENTS_DROP, CloudFault.EVENTS_DROP))
            number = dice.choice((0, 3, 20, 90, 600))
            faults.append(CloudFaultAt(dice.randrange(DAY_S * 1000), kind, number))
        for _ in range(6):
            times = dice.choice((1, 2, 5))
            faults.append(CloudFaultAt(dice.randrange(DAY_S * 1000), CloudFault.SECOND_SUBSCRIBER, times=times))
        return faults

    async def play(self) -> None:
        """Play all of it."""
        self.subscriber.start()
        await self.subscriber.connected()
        for _ in range(30):
            trouble = self.dice.choice((Trouble.BREAK, Trouble.DEAD, Trouble.DEAF, Trouble.REFUSE, Trouble.STUCK))
            at_s = self.dice.uniform(0, DAY_S)
            self.loop.call_at(at_s, self._strike, trouble)
        number = 0
        while self.loop.time() < DAY_S:
            number += 1
            asyncio.ensure_future(self._meet(number))  # noqa: RUF006  # it is over when the day is
            await asyncio.sleep(self.dice.uniform(60, 900))
        await asyncio.sleep(2 * 3600)  # the last late webhook
        while self.subscriber.snapshot().phase is not Phase.CONNECTED:  # noqa: ASYNC110  # virtual time costs nothing
            await asyncio.sleep(10)
        await self.subscriber.stop()
        await self.station.stop("the test")
        for meeting in self.meetings.values():
            meeting.driver.stop("the host")
            await meeting.running
        self.server_driver.stop("the test")
        await self.serving

    def _strike(self, trouble: Trouble) -> None:
        if trouble in (Trouble.REFUSE, Trouble.STUCK):
            self.network.strike(trouble, "ws?", 2, self.dice)
            trouble = Trouble.BREAK
        for link in list(self.network.links):
            if "/ws?" in link.url:
                link.suffer(trouble, self.dice)
                if trouble in (Trouble.DEAD, Trouble.DEAF) and link.client.closed is None:
                    self.link_of(link.client).struck_s = self.loop.time()

    async def _meet(self, number: int) -> None:
        seconds = self.dice.choice((5.0, 30.0, 90.0))
        meeting = Meeting(self, number, seconds)
        self.meetings[meeting.stream_id] = meeting
        self._post(meeting.webhook("started", meeting.event_ts))
        finish = await meeting.running
        reason = finish.stop_reason or int(StopReason.STOP_BC_MEETING_ENDED)
        self._post(meeting.webhook("stopped", self.now_ms(), reason))

    def _post(self, body: bytes) -> None:
        """Have an event happen: it comes by the event WebSocket if that stands, and perhaps by HTTP, late or twice."""
        now_s, dice = self.loop.time(), self.dice
        self.posted[body] = Posted(body, now_s, now_s + self.server.delay_s, [])
        self.server_driver.post(WEBHOOK, Direction.IN, body)
        if dice.random() < 0.2:
            self.server_driver.post(WEBHOOK, Direction.IN, body)  # repeated
        for _ in range(dice.choice((0, 1, 1, 2))):
            delay_s = dice.choice((0.05, 0.3, 5.0, 45.0, 300.0, 1200.0, 3600.0))
            self.loop.call_later(delay_s, self._take_http, body)

    def _take_http(self, body: bytes) -> None:
        self.station.take(body, read_webhook(body), Via.HTTP)

    # The network.

    async def _ask(self) -> Token:
        await asyncio.sleep(0.2)
        return Token(Secret(self.office.issue(round(self.loop.time() * 1e6))))

    async def _dial_events(self, url: str) -> SimSocket:
        socket = await self.network.dial(url)
        self.links.append(EventLink(socket))
        end = socket.end

        def noting(code: int, reason: str) -> None:
            if socket.closed is None and not socket.is_closing:
                self.link_of(socket).closed_s = self.loop.time()
            end(code, reason)

        socket.end = noting  # type: ignore[method-assign]
        return socket

    def link_of(self, socket: SimSocket) -> EventLink:
        """The connection of a socket."""
        return next(link for link in reversed(self.links) if link.socket is socket)

    async def _dial(self, url: str) -> SimSocket:
        kind, stream_id = urlsplit(url).path.split("/")[1:3]
        if kind == "signaling" and any(not (one.is_closing or one.closed) for one in self.signaling[stream_id]):
            self.violations.append(f"{self.loop.time():.1f}: a second connection to {stream_id}")
        socket = await self.network.dial(url)
        if kind == "signaling":
            self.signaling[stream_id].append(socket)
        return socket

    def _accept(self, url: str, socket: SimSocket) -> None:
        parts = urlsplit(url)
        if parts.path != "/ws":
            kind, stream_id = parts.path.split("/")[1:3]
            self.meetings[stream_id].accept(kind, socket)
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        at_us = round(self.loop.time() * 1e6)
        channel = self.server.admit(at_us, query["subscriptionId"], query["access_token"])
        if channel is None:
            turn_away(socket, 1013)
        else:
            self.server_driver.attach(channel, socket)

    def _on_delivered(self, link: Link, raw: bytes) -> None:
        if "/ws?" in link.url:
            self.link_of(link.client).heard.append(self.loop.time())

    def _sign(self, stream: Stream) -> Signature:
        return handshake_signature("client", "secret", stream.id, stream.stream_id)

    # The station's observer.

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """See `Observer`."""
        self.started[stream.stream_id] += 1

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        self.finished.setdefault(stream.stream_id, finish)

    def on_notice(self, text: str) -> None:
        """See `Observer`."""

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""
        self.tells[str(fields["state"])] += 1
        if isinstance(seconds := fields.get("gap_seconds"), float):
            self.gaps.append(seconds)

    # The truth.

    def true_gaps(self) -> list[tuple[list[float], float]]:
        """When nothing could come, between connections on which something did: from when at the latest, until when.

        From when a dead connection was dead cannot be seen: since the last message at most.
        """
        stood = [link for link in self.links if link.heard]
        gaps = []
        for link, following in pairwise(stood):
            from_s = [] if link.closed_s is None else [link.closed_s]
            if link.struck_s is not None or not from_s:
                from_s.append(link.heard[-1])
            gaps.append((from_s, following.heard[0]))
        return gaps


@pytest.mark.parametrize("seed", range(6))
def test_a_day(seed: int) -> None:
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)

        async def run() -> Day:
            day = Day(seed)
            await day.play()
            return day

        day = loop.run_until_complete(run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert not loop.faults
    assert not day.violations
    check_gaps(day)
    check_streams(day)
    # On a dead connection the server hears nothing; its client has noticed by then, and is back.
    wrong = [finding.what for finding in day.server.findings if finding.is_wrong]
    assert [what for what in wrong if "no heartbeat for" not in what] == []


def check_gaps(day: Day) -> None:
    """Every gap was reported, with its length to a second."""
    true = day.true_gaps()
    assert len(true) > 60
    assert len(day.gaps) == len(true)
    wrong = [
        (starts, until_s, told)
        for (starts, until_s), told in zip(true, day.gaps, strict=True)
        if all(abs(until_s - from_s - told) > TOLERANCE_S for from_s in starts)
    ]
    assert wrong == []
    assert day.tells["taken over"] > 3
    snapshot = day.subscriber.snapshot()
    assert snapshot.gaps == len(true)
    assert abs(snapshot.gap_seconds - sum(day.gaps)) < 1


def check_streams(day: Day) -> None:
    """No stream was begun twice; those that were announced in time were recorded; what did not come fell into a gap."""
    assert len(day.meetings) > 100
    for stream_id, times in day.started.items():
        # The same by the same way again is a stream that starts again (PROTOCOL §9); by another way it is not.
        ways = Counter(via for _, via in taken_of(day, day.meetings[stream_id]))
        assert times <= max(ways.values()), f"{stream_id} was begun {times} times: {ways}"
    twice = sum(len({via for _, via in taken_of(day, meeting)}) == 2 for meeting in day.meetings.values())
    assert twice > 30, "too few events came by both ways"
    gaps = [(until_s - told, until_s) for (_, until_s), told in zip(day.true_gaps(), day.gaps, strict=True)]
    # What happens on a connection that is dead for less than a heartbeat takes, nobody can know of.
    gaps += [(link.struck_s, link.closed_s) for link in day.links if link.struck_s is not None and link.closed_s]
    for posted in day.posted.values():
        came = [at_s for at_s, via in posted.taken if via == Via.EVENTS]
        is_lost = any(from_s - NOTICED_S <= posted.comes_s <= until_s + 1 for from_s, until_s in gaps)
        assert came or is_lost, f"an event of {posted.at_s:.0f} s was lost, and no gap was reported"
    lost = sum(all(via != Via.EVENTS for _, via in posted.taken) for posted in day.posted.values())
    assert lost, "the day had no gap in which something happened"
    in_time = [
        meeting
        for meeting in day.meetings.values()
        if any(at_s * 1000 + BASE_MS - meeting.event_ts < 2_000 for at_s, _ in taken_of(day, meeting))
    ]
    assert len(in_time) > 50
    assert {day.finished[meeting.stream_id].status for meeting in in_time} == {"complete"}


def taken_of(day: Day, meeting: Meeting) -> list[tuple[float, str]]:
    return day.posted[meeting.webhook("started", meeting.event_ts)].taken
