"""Zoom's side: its streams, the servers that die and take over, and the webhooks that tell of them.

What `rtms_cli.simulator.server` is on real sockets.
"""

import asyncio
import hashlib
from collections.abc import Callable

from simulation.loop import VirtualClock
from simulation.network import SimSocket
from simulation.plan import Plan, ZoomHit
from simulation.show import BASE_MS, CheapCues, user_id

from rtms_cli.machine import Announce, Outward
from rtms_cli.protocol.media import MEDIA_NAMES, spelled_out
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.signatures import handshake_signature
from rtms_cli.simulator.faults import FaultAt
from rtms_cli.simulator.scenario import Person, Scenario
from rtms_cli.simulator.show import MadeUp
from rtms_cli.simulator.webhooks import Ids, stream_event, stream_payload, webhook_body
from rtms_cli.simulator.zoom import Zoom
from rtms_cli.wire.driver import Driver

CLIENT, SECRET, TOKEN = "client-id", "client-secret-of-the-simulation", "webhook-token"


class Served:
    """One announced stream."""

    def __init__(self, side: "ZoomSide", number: int, plan: Plan, scenario: Scenario | None) -> None:
        self._side = side
        self.plan = plan
        self.number = number
        digest = hashlib.sha256(f"{plan.seed}".encode()).hexdigest()
        self.identity, self.stream_id = digest[:24], digest[24:56]
        self.cues = CheapCues(plan, number, f"session-of-{self.stream_id}")
        self.epoch_ms = -(-side.now_ms() // 1000) * 1000
        """When the show begins, on Zoom's clock: on the grid of audio packets, as all timestamps are."""
        self.port = 1
        self.url = f"ws://zoom-1/signaling/{self.stream_id}"
        self.event_ts = side.now_ms() + number
        self.end_was_told = False
        self._sockets = 0
        faults = tuple(
            FaultAt(hit.at_ms, hit.fault, hit.number, hit.times) for hit in plan.hits if isinstance(hit, ZoomHit)
        )
        people = tuple(Person(user_id(who), f"Person {who}") for who in range(plan.people))
        cheap = Scenario(
            plan.duration_ms / 1000,
            people,
            faults=faults if number == 1 else (),
            deviations=plan.deviations,
            buffered_s=plan.buffered_s,
        )
        self.zoom = Zoom(
            product=plan.product,
            identity=self.identity,
            stream_id=self.stream_id,
            signature=side.signature(self.identity, self.stream_id),
            urls=self._media_urls(),
            epoch_ms=self.epoch_ms,
            show=MadeUp(cheap, self.cues) if scenario is None else MadeUp(scenario),
            scopes=plan.scopes,
        )
        self.driver = Driver(self.zoom, None, VirtualClock(), outward=self._announce)
        self.ended_ms = 0
        self.running = asyncio.create_task(self._run(), name=f"stream {number}")

    async def _run(self) -> int:
        finish = await self.driver.run()
        self.ended_ms = self._side.now_ms()
        return finish.stop_reason or 0

    def accept(self, url: str, socket: SimSocket) -> None:
        """Take a client's connection, if the server that it goes to lives."""
        place, _, query = url.partition("?")
        if self.running.done():
            _turn_away(socket, 1008, "no such stream")
            return
        generation = self.zoom.generation
        if (generation > 1 and query != f"server={generation}") or f"zoom-{self.port}/" not in place:
            _turn_away(socket, 1011, "this server is dead")
            return
        self._sockets += 1
        kind = "signaling" if "/signaling/" in place else "media"
        self.driver.attach(kind if self._sockets == 1 else f"{kind}#{self._sockets}", socket)

    def webhook(self, what: str, reason: int | None = None, event_ts: int | None = None) -> bytes:
        """The body of a webhook about this stream.

        :param event_ts: where it is not of this moment, or, of a start, of the moment of the start.
        """
        ids = Ids(self.plan.product, self.identity, self.stream_id, self.url)
        if event_ts is None:
            event_ts = self.event_ts if what == "started" else self._side.now_ms()
        return webhook_body(stream_event(self.plan.product, what), event_ts, stream_payload(ids, what, reason))

    def _announce(self, command: Outward) -> None:
        assert isinstance(command, Announce), "all commands of the simulator"
        generation = self.zoom.generation
        if command.age_ms:
            event_ts = self.event_ts - command.age_ms
            self._side.post(self.webhook(command.what, command.reason, event_ts))
            return
        if command.what == "started" and generation > 1 and f"server={generation}" not in self.url:
            if self.zoom.moves:
                self.port += 1
                self.zoom.move_to(self._media_urls())
            self.url = f"ws://zoom-{self.port}/signaling/{self.stream_id}?server={generation}"
            self.event_ts = max(self.event_ts + 1, self._side.now_ms())
        self.end_was_told |= command.what == "stopped"
        self._side.post(self.webhook(command.what, command.reason))

    def _media_urls(self) -> dict[str, str]:
        names = [name for kind, name in MEDIA_NAMES.items() if kind in spelled_out(self.plan.scopes)]
        return {name: f"ws://zoom-{self.port}/media/{self.stream_id}/{name}" for name in [*names, "all"]}


class ZoomSide:
    """All of Zoom.

    :param post: takes a webhook's body to the client.
    :param scenario: what is shown and goes wrong in place of the plan's; its media are synthesised.
    """

    def __init__(self, plan: Plan, post: Callable[[bytes], None], scenario: Scenario | None = None) -> None:
        self.plan = plan
        self._scenario = scenario
        self.post = post
        self._loop = asyncio.get_running_loop()
        self.streams: list[Served] = []

    def now_ms(self) -> int:
        """Zoom's clock."""
        return BASE_MS + round(self._loop.time() * 1000)

    def announce(self) -> Served:
        """Begin the stream, or the same one again."""
        served = Served(self, len(self.streams) + 1, self.plan, self._scenario)
        self.streams.append(served)
        return served

    def accept(self, url: str, socket: SimSocket) -> None:
        """Take a client's connection."""
        self.streams[-1].accept(url, socket)

    def signature(self, identity: str, stream_id: str) -> Signature:
        """Return the correct handshake signature for these ids."""
        return handshake_signature(CLIENT, SECRET, identity, stream_id)

    def end(self) -> None:
        """End every stream."""
        for served in self.streams:
            served.driver.stop("the host")


def failure(reason: int) -> bool:
    """Whether a stream that ended so may be announced again."""
    return isinstance(StopReason.member(reason), StopReason) and (10 <= reason <= 19 or reason == 24)


def _turn_away(socket: SimSocket, code: int, reason: str) -> None:
    socket.start(lambda raw: None, lambda code, reason: None)
    socket.close(code, reason)
