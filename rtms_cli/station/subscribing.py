"""Zoom's event WebSocket for a station: a token, the socket, and its events to the station's intake (PROTOCOL §11)."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from rtms_cli.cloud.subscription import Phase, Subscription, SubscriptionSnapshot
from rtms_cli.errors import Exit, Problem
from rtms_cli.machine import Deliver, Outward, Tell, Via
from rtms_cli.protocol.webhooks import UnreadableWebhook, UrlValidation, Webhook, read_webhook
from rtms_cli.station.hearing import Hearer
from rtms_cli.station.observing import ConnectionStatus
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import UpgradeRefusedError
from rtms_cli.wire.driver import Dial, Driver, FinalConnectionError
from rtms_cli.wire.notices import Notices
from rtms_cli.wire.sockets import Socket

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

NAME = "events"
"""What `--json` and `/healthz` call it."""
TOKEN_TIMEOUT_S = 20.0
MOST_HELD_S = 20.0
"""A try that comes earlier than Zoom wants is held back for this long at most; else it fails without asking."""
MOST_NAMED = 3
"""Streams that a line for people names."""
_OFTEN = ("other module", "unreadable", "refused heartbeat")
"""What a server may say as often as it likes."""
_TRY_AGAIN = (408, 425, 429)
"""Statuses from 400 to 499 that may be others the next time."""


class AccessToken(Protocol):
    """A token of Zoom's."""

    @property
    def value(self) -> str:
        """What is secret."""


AskToken = Callable[[], Awaitable[AccessToken]]
"""Gets a fresh token; raises `Problem` if there is none, with `is_final` where another try would end the same."""


class EventDialer:
    """Opens the event WebSocket with a fresh token, which nobody else gets to see.

    :param ask: gets a token.
    :param dial: opens the socket.
    :param now: seconds on a clock that never jumps.
    """

    def __init__(self, ask: AskToken, dial: Dial, now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._dial = dial
        self._now = now
        self._not_before = 0.0
        """Until when Zoom wants to be asked for no token."""
        self.on_token: Callable[[str], None] = lambda token: None
        """Is told each token before it is used."""

    async def __call__(self, url: str) -> Socket:
        """See `Dial`."""
        if (left_s := self._not_before - self._now()) > MOST_HELD_S:
            raise ConnectionError(f"Zoom allows no token request for another {left_s:.0f} s")
        await asyncio.sleep(max(0.0, left_s))
        try:
            async with asyncio.timeout(TOKEN_TIMEOUT_S):
                token = await self._ask()
        except TimeoutError:
            raise ConnectionError(f"no token within {TOKEN_TIMEOUT_S:.0f} s") from None
        except Problem as problem:
            self._not_before = self._now() + (getattr(problem, "retry_after_s", None) or 0.0)
            kind = FinalConnectionError if getattr(problem, "is_final", False) else ConnectionError
            raise kind(str(problem)) from None
        self.on_token(token.value)
        try:
            return await self._dial(f"{url}&access_token={quote(token.value, safe='')}")
        except UpgradeRefusedError as error:
            if 400 <= error.status < 500 and error.status not in _TRY_AGAIN:
                hint = "is the subscription's id right, and the token of the app that it belongs to?"
                raise FinalConnectionError(f"{error}: {hint}") from None
            raise


class Subscriber:
    """Runs one subscription for a station; see `subscribed`.

    :param wall_ms: gives the time of day, in ms since 1970.
    :param dice: gives a number from 0 to 1.
    """

    def __init__(
        self,
        url: str,
        dial: Dial,
        station: Hearer,
        *,
        clock: Clock | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._station = station
        self._clock = clock or Clock()
        self._machine = Subscription(url, dice, wall_ms)
        self._driver = Driver(self._machine, None, self._clock, dial, outward=self._on_outward)
        self._notices = Notices(station.notice)
        self._is_connected = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._failure: Problem | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._running = asyncio.create_task(self._run(), name="event WebSocket")

    def keep_secret(self, token: str) -> None:
        """Hide a token wherever the server sends it back."""
        self._driver.keep_secret(token)

    async def connected(self) -> None:
        """Wait until it was connected once.

        :raises Problem: if it never will be.
        """
        assert self._running is not None, "it has been started"
        connected = asyncio.create_task(self._is_connected.wait())
        try:
            await asyncio.wait((connected, self._running), return_when=asyncio.FIRST_COMPLETED)
        finally:
            connected.cancel()
        if not self._is_connected.is_set() and self._failure is not None:
            raise self._failure

    async def failed(self) -> None:
        """Wait until there is no hope left.

        :raises Problem: then.
        """
        assert self._running is not None, "it has been started"
        await asyncio.shield(self._running)
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Close the connection."""
        self._driver.stop("rtms")
        if self._running is not None:
            await asyncio.wait([self._running])
        self._notices.close()

    def snapshot(self) -> SubscriptionSnapshot:
        """How it stands."""
        return self._machine.snapshot()

    def status(self) -> ConnectionStatus:
        """How it stands, for people."""
        seen = self._machine.snapshot()
        since_s = max(0, self._clock.now_us() - seen.since_us) // 1_000_000
        events = f"{seen.events} event{'' if seen.events == 1 else 's'}"
        match seen.phase:
            case Phase.CONNECTED:
                lost = f", {seen.gap_seconds:.0f} s lost in {seen.gaps} gaps" if seen.gaps else ""
                return ConnectionStatus(f"event WebSocket connected for {_long(since_s)}, {events}{lost}", True)
            case Phase.WAITING if seen.due_us is not None:
                left_s = self._clock.seconds_until(seen.due_us)
                # The reason stands last: it may be longer than a terminal's line.
                return ConnectionStatus(f"event WebSocket, next try in {left_s:.0f} s: {seen.note}", False)
            case Phase.ENDED:
                return ConnectionStatus(f"event WebSocket not connected: {seen.note or 'it has ended'}", False)
            case _:
                return ConnectionStatus("event WebSocket: connecting", False)

    def health(self) -> dict[str, object]:
        """How it stands, for `GET /healthz`."""
        seen = self._machine.snapshot()
        return {
            "state": seen.phase.value,
            "seconds": (self._clock.now_us() - seen.since_us) / 1_000_000,
            "events": seen.events,
            "connections": seen.connects,
            "takeovers": seen.takeovers,
            "gaps": seen.gaps,
            "gap_seconds": round(seen.gap_seconds, 3),
            "why": seen.note,
        }

    def figures(self) -> "Iterable[Metric]":
        """How it stands, for `GET /metrics`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        seen = self._machine.snapshot()
        is_up = seen.phase is Phase.CONNECTED
        yield GaugeMetricFamily("rtms_events_connected", "Whether the event WebSocket is connected.", float(is_up))
        yield CounterMetricFamily("rtms_events", "Events that came by the event WebSocket.", seen.events)
        yield CounterMetricFamily("rtms_events_connections", "Connections of the event WebSocket.", seen.connects)
        yield CounterMetricFamily("rtms_events_takeovers", "Connections that another client took.", seen.takeovers)
        yield CounterMetricFamily("rtms_events_gaps", "Times without a connection.", seen.gaps)
        yield CounterMetricFamily("rtms_events_gap_seconds", "How long they were together.", seen.gap_seconds)
        yield CounterMetricFamily("rtms_events_unreadable", "Messages that could not be read.", seen.unreadable)

    async def _run(self) -> None:
        try:
            finish = await self._driver.run()
        except Exception as defect:  # whatever it is, recordings go on
            log.exception("a defect in rtms: the event WebSocket is not read any more")
            self._failure = Problem(f"a defect in rtms: {type(defect).__name__}.", exit_code=Exit.FAULT)
            return
        if finish.status == "failed":
            self._failure = Problem(
                f"The event WebSocket is not available: {finish.said_by}{'' if finish.said_by[-1:] in '.?!' else '.'}",
                "`rtms doctor --events ID` looks at what is wrong.",
                Exit.REFUSED,
            )

    def _on_outward(self, command: Outward) -> None:
        match command:
            case Deliver(body):
                try:
                    self._deliver(body)
                except Exception:  # whatever it is, the next event is another one
                    log.exception("a defect in rtms: an event was not handled")
            case Tell(what, fields, text):
                if what == "connected":
                    self._is_connected.set()
                if what in _OFTEN and not self._notices.may_tell(f"messages of the event WebSocket ({what})", text):
                    return
                if "gap_seconds" in fields:
                    fields, text = self._with_hint(fields, text)
                self._station.tell(NAME, {"state": what, **fields}, text)
            case _:
                raise AssertionError(f"{command} is not a subscription's")

    def _with_hint(self, fields: Mapping[str, object], text: str) -> tuple[Mapping[str, object], str]:
        """What may have been missed in a gap, for scripts and in words."""
        running = [one.session.stream.stream_id for one in self._station.snapshots()]
        interrupted = list(self._station.interrupted)
        text += ". Streams that began then are not recorded: look at the meetings of that time"
        if interrupted:
            text += f"; interrupted recordings may have been announced again: {_some(interrupted)}"
        if running:
            text += f"; running ones may have a new server or an end, which their sockets tell too: {_some(running)}"
        return {**fields, "running": running, "interrupted": interrupted}, text

    def _deliver(self, body: bytes) -> None:
        webhook: Webhook = read_webhook(body)
        match webhook:
            case UnreadableWebhook(problem):
                text = f"WARNING: an event cannot be read: {problem}"
                self._notices.tell("events that cannot be read", text, problem[:100])
            case UrlValidation():
                self._notices.tell("validations", "an endpoint.url_validation came by the event WebSocket: ignored")
            case _:
                self._station.take(body, webhook, Via.EVENTS)


def _some(stream_ids: Sequence[str]) -> str:
    """A few ids, and how many more there are."""
    shown = ", ".join(stream_id[:100] for stream_id in stream_ids[-MOST_NAMED:])
    more = len(stream_ids) - MOST_NAMED
    return shown if more <= 0 else f"{shown} and {more} more"


def _long(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


@asynccontextmanager
async def subscribed(url: str, ask: AskToken, dial: Dial, station: Hearer) -> AsyncIterator[Subscriber]:
    """A subscriber that runs until it is left; the station's `/healthz` and `/metrics` show it.

    :param url: of the subscription, without a token.
    :param ask: gets a token, before each connect.
    :param dial: opens sockets.
    """
    dialer = EventDialer(ask, dial)
    subscriber = Subscriber(url, dialer, station)
    dialer.on_token = subscriber.keep_secret
    station.more_figures.append(subscriber.figures)
    station.more_health[NAME] = subscriber.health
    station.statuses.append(subscriber.status)
    subscriber.start()
    try:
        yield subscriber
    finally:
        await subscriber.stop()
