"""Who hears: webhooks by either way end in the queue."""

from pathlib import Path

import pytest
from fleet.booked import Fleet, until
from harness import Silent, make_station

from rtms_cli.fleet.dispatch import DispatchError
from rtms_cli.fleet.front import Front
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator

APP = App("client", "secret", "token")


async def test_an_event_that_nobody_sends_again_waits_for_the_queue(tmp_path: Path) -> None:
    fleet, seen = Fleet(tmp_path, APP), Silent()
    station = make_station(tmp_path, Writer(), observer=seen)
    fleet.front.is_away = True
    async with Simulator(APP) as zoom, Front(fleet.front, station) as front:
        body = zoom.announce(Product.MEETING, Scenario(1)).webhook("started")
        station.take(body, read_webhook(body), "events")
        await until(lambda: front.health()["state"] != "reached" and seen.events, "that it is away")
        assert front.health()["events_waiting"] == 1
        assert not front.connection_status().is_good
        assert front.not_ready() is not None
        fleet.front.is_away = False
        await until(lambda: fleet.book.report(0).waiting == 1, "the event")
        await until(lambda: front.not_ready() is None, "that it is reached")
    assert [fields["what"] for name, fields in seen.events if name == "fleet"] == ["queue", "queue", "offered"]
    assert station.snapshots() == []


async def test_what_cannot_be_put_there_is_refused_and_what_starts_nothing_is_shown(tmp_path: Path) -> None:
    fleet, seen = Fleet(tmp_path, APP), Silent()
    station = make_station(tmp_path, Writer(), observer=seen)
    async with Simulator(APP) as zoom, Front(fleet.front, station) as front:
        body = zoom.announce(Product.MEETING, Scenario(1)).webhook("started")
        fleet.front.is_away = True
        with pytest.raises(DispatchError):
            await front.offer(body, read_webhook(body))
        fleet.front.is_away = False
        await front.offer(body, read_webhook(body))
        await front.offer(body, read_webhook(body))
    assert any("a repeated webhook" in notice for notice in seen.notices)
