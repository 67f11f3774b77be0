"""A station's event WebSocket: what comes of events, and what views and scrapers see of the connection."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from processes import until

from rtms_cli.cloud.tokens import TokenError
from rtms_cli.errors import Exit, Problem
from rtms_cli.machine import Via
from rtms_cli.protocol.event_socket import HEARTBEAT, built, delivery
from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.station.station import Station
from rtms_cli.station.subscribing import EventDialer, subscribed
from rtms_cli.wire.dialer import UpgradeRefusedError
from rtms_cli.wire.driver import FinalConnectionError
from rtms_cli.wire.sockets import OnClosed, OnMessages

URL = "wss://ws.zoom.us/ws?subscriptionId=1"
EVENT = b'{"event":"rtms.start_failed","payload":{}}'


class Token:
    """What gives a token's value."""

    value = Secret("a/token+that is=ours")


class FakeSocket:
    """Our end of a connection, whose other end is the test."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.on_messages: OnMessages = lambda raws: None
        self.on_closed: OnClosed = lambda code, reason: None

    def start(self, on_messages: OnMessages, on_closed: OnClosed) -> None:
        self.on_messages, self.on_closed = on_messages, on_closed
        on_messages([built()])

    def send(self, raw: bytes, *, binary: bool) -> None:
        self.sent.append(raw)

    async def drain(self, limit: int) -> None:
        """Nothing waits."""

    @property
    def undelivered(self) -> int:
        return 0

    def pause(self) -> None:
        """Nothing comes by itself."""

    resume = pause

    def close(self, code: int, reason: str) -> None:
        asyncio.get_running_loop().call_soon(self.on_closed, code, reason)

    def abort(self) -> None:
        self.close(1006, "")


class FakeStation:
    """Takes events, as a station does."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, str]] = []
        self.told: list[tuple[str, Mapping[str, object], str]] = []
        self.has_gap = asyncio.Event()
        self.notices: list[str] = []
        self.more_figures: list[Callable[[], Any]] = []
        self.more_health: dict[str, Callable[[], Any]] = {}
        self.statuses: list[Callable[[], Any]] = []
        self.hints: list[str] = []
        self.interrupted = ["stream 1", "stream 2"]
        self.defect: Exception | None = None

    def take(self, body: bytes, webhook: Webhook, via: str) -> None:
        if self.defect is not None:
            raise self.defect
        self.taken.append((body, via))

    def tell(self, name: str, fields: Mapping[str, object], text: str) -> None:
        self.told.append((name, fields, text))
        if "gap_seconds" in fields:
            self.has_gap.set()

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def snapshots(self) -> list[Any]:
        return []


def subscription(station: FakeStation, dial: Callable[[str], Any]) -> Any:
    async def ask() -> Token:
        return Token()

    return subscribed(URL, ask, cast("Any", dial), cast("Station", station))


async def test_events_come_to_the_station_and_a_defect_costs_one_event_only(caplog: pytest.LogCaptureFixture) -> None:
    station, socket, urls = FakeStation(), FakeSocket(), list[str]()

    async def dial(url: str) -> FakeSocket:
        urls.append(url)
        return socket

    async with subscription(station, dial) as subscriber:
        await subscriber.connected()
        assert urls == [f"{URL}&access_token=a%2Ftoken%2Bthat%20is%3Dours"]
        station.defect = RuntimeError("a defect in taking it")
        socket.on_messages([delivery(EVENT)])
        assert "an event was not handled" in caplog.text
        station.defect = None
        socket.on_messages([delivery(EVENT), delivery(b"not JSON"), delivery(b'{"event":"meeting.ended"}')])
        assert [via for _, via in station.taken] == [Via.EVENTS, Via.EVENTS]
        assert any("cannot be read" in notice for notice in station.notices)
        assert subscriber.snapshot().events == 4
        assert station.statuses[0]().is_good
        assert station.more_health["events"]()["state"] == "connected"
        figures = {metric.name: metric.samples[0].value for metric in station.more_figures[0]()}
        assert figures["rtms_events_connected"] == 1
        assert figures["rtms_events"] == 4
    assert socket.sent in ([], [HEARTBEAT])


async def test_what_a_gap_may_have_concerned_is_named() -> None:
    station, sockets = FakeStation(), [FakeSocket(), FakeSocket()]

    async def dial(url: str) -> FakeSocket:
        return sockets.pop(0)

    first = sockets[0]
    async with subscription(station, dial) as subscriber:
        await subscriber.connected()
        first.on_closed(1008, "")
        async with asyncio.timeout(20):
            await station.has_gap.wait()
        name, fields, text = station.told[-1]
        assert (name, fields["state"], fields["interrupted"]) == ("events", "connected", ["stream 1", "stream 2"])
        assert "interrupted recordings may have been announced again: stream 1, stream 2" in text


async def test_when_the_next_try_is_stands_before_a_reason_of_any_length() -> None:
    async def dial(url: str) -> Any:
        raise ConnectionError("no way. " * 20)

    station = FakeStation()
    async with subscription(station, dial) as subscriber:
        await until(lambda: subscriber.snapshot().due_us is not None)
        assert re.match(r"event WebSocket, next try in \d+ s: no way\.", station.statuses[0]().text)


async def test_what_cannot_be_had_is_a_problem() -> None:
    async def dial(url: str) -> FakeSocket:
        raise FinalConnectionError("there is no such host")

    station = FakeStation()
    async with subscription(station, dial) as subscriber:
        for wait in (subscriber.connected, subscriber.failed):
            with pytest.raises(Problem, match="there is no such host") as raised:
                await wait()
            assert raised.value.exit_code is Exit.REFUSED
        assert not station.statuses[0]().is_good


async def test_no_token_is_asked_for_before_zoom_wants_it() -> None:
    asked, now_s = 0, 0.0

    async def ask() -> Token:
        nonlocal asked
        asked += 1
        raise TokenError("Too many requests.", is_final=False, retry_after_s=60.0)

    async def dial(url: str) -> Any:
        raise AssertionError("there is no token")

    dialer = EventDialer(ask, cast("Any", dial), lambda: now_s)
    for at_s, says, times in ((0, "Too many", 1), (5, "another 55 s", 1), (39, "another 21 s", 1), (61, "Too", 2)):
        now_s = at_s
        with pytest.raises(ConnectionError, match=says) as raised:
            await dialer(URL)
        assert not isinstance(raised.value, FinalConnectionError)
        assert asked == times


async def test_a_question_is_one_sentence() -> None:
    async def dial(url: str) -> FakeSocket:
        raise UpgradeRefusedError("wss://ws.zoom.us/ws answered HTTP 404", 404)

    async with subscription(FakeStation(), dial) as subscriber:
        with pytest.raises(Problem) as raised:
            await subscriber.connected()
    assert raised.value.what.endswith("that it belongs to?")


@pytest.mark.parametrize(("status", "is_final"), [(401, True), (404, True), (408, False), (429, False), (502, False)])
async def test_an_upgrade_that_is_refused(status: int, is_final: bool) -> None:
    async def ask() -> Token:
        return Token()

    async def dial(url: str) -> Any:
        raise UpgradeRefusedError(f"wss://ws.zoom.us/ws answered HTTP {status}", status)

    with pytest.raises(ConnectionError) as raised:
        await EventDialer(ask, cast("Any", dial))(URL)
    assert isinstance(raised.value, FinalConnectionError) is is_final
    assert "token+" not in str(raised.value)
