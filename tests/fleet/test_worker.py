"""Workers over real sockets, with a book as their queue."""

import asyncio
import json
from pathlib import Path

from fleet.booked import Fleet, until

from rtms_cli.capture import Capture
from rtms_cli.fleet.dispatch import Offered
from rtms_cli.machine import frames_of
from rtms_cli.protocol.messages import Audio
from rtms_cli.protocol.numbers import Product
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator

APP = App("client", "secret", "token")


def audio_times(*folders: Path) -> list[int]:
    """The timestamps of all audio packets in captures, in order, each once."""
    times = {
        frame.message.timestamp
        for folder in folders
        for item in Capture(folder).items()
        for frame in frames_of(item)
        if isinstance(frame.message, Audio)
    }
    return sorted(time for time in times if time is not None)


def only(out: Path, pattern: str = "*") -> Path:
    """The only recording."""
    (folder,) = out.glob(pattern)
    return folder


async def test_a_stream_is_taken_recorded_and_finished(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, APP)
    async with Simulator(APP) as zoom, fleet.worker() as one:
        stream = zoom.announce(Product.MEETING, Scenario(1))
        assert await fleet.front.offer_raw(stream.webhook("started")) is Offered.STARTS
        await stream.done()
        await until(lambda: fleet.book.report(0).streams[0].state == "complete", "the end")
    folder = only(tmp_path)
    assert folder.name == fleet.book.report(0).streams[0].recording
    assert json.loads((folder / "manifest.json").read_text())["status"] == "complete"
    assert "taken" in one.told()


async def test_a_worker_that_drains_hands_its_streams_on_and_no_audio_is_lost(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, APP)
    async with Simulator(APP) as zoom, fleet.worker() as one:
        streams = [zoom.announce(Product.MEETING, Scenario(6), number) for number in range(3)]
        for stream in streams:
            await fleet.front.offer_raw(stream.webhook("started"))
        await one.has(3)
        async with fleet.worker() as two:
            one.worker.drain("the test")
            async with asyncio.timeout(30):
                await one.task
            await two.has(3)
            for stream in streams:
                await stream.done()
            await until(lambda: {seen.state for seen in fleet.book.report(0).streams} == {"complete"}, "the end")
        for stream in streams:
            sent = stream.report().sent["MEDIA_DATA_AUDIO"]
            folder = only(tmp_path, f"*{stream.stream_id}*")
            times = audio_times(folder, folder / "epochs" / "E0002")
            assert len(times) == 6 * 50 <= sent
            assert times[-1] - times[0] == 20 * (len(times) - 1)
            headers = [Capture(part).header for part in (folder, folder / "epochs" / "E0002")]
            assert [header.epoch for header in headers] == [1, 2]
            assert headers[0].created == headers[1].created
    assert two.told().count("taken over") == 3


async def test_an_owner_that_has_lost_a_stream_leaves_it(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, APP)
    async with Simulator(APP) as zoom, fleet.worker() as one:
        stream = zoom.announce(Product.MEETING, Scenario(8))
        await fleet.front.offer_raw(stream.webhook("started"))
        await one.has(1)
        async with fleet.worker() as two:
            fleet.book.leave(fleet.front._now(), one.worker.name)  # as if it had been silent
            await fleet.front.ring()
            await two.has(1)
            await stream.done()
            await until(lambda: fleet.book.report(0).streams[0].state == "complete", "the end")
    assert "lost" in one.told()
    folder = only(tmp_path)
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"


async def test_a_queue_that_is_away_costs_nothing_that_runs(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, APP)
    async with Simulator(APP) as zoom, fleet.worker() as one:
        stream = zoom.announce(Product.MEETING, Scenario(3))
        await fleet.front.offer_raw(stream.webhook("started"))
        await one.has(1)
        one.way.is_away = True
        await stream.done()
        await until(lambda: "queue" in one.told(), "that it is away")
        await until(lambda: one.seen.finished, "the end")
        one.way.is_away = False
        await until(lambda: fleet.book.report(0).streams[0].state == "complete", "the end")
    folder = only(tmp_path)
    assert json.loads((folder / "manifest.json").read_text())["status"] == "complete"


async def test_a_stop_reaches_the_owner(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, APP)
    async with Simulator(APP) as zoom, fleet.worker() as one:
        stream = zoom.announce(Product.MEETING, Scenario(30))
        await fleet.front.offer_raw(stream.webhook("started"))
        await one.has(1)
        assert await fleet.front.offer_raw(stream.webhook("stopped")) is Offered.NEWS
        await until(lambda: fleet.book.report(0).streams[0].state == "complete", "the end")


async def test_a_worker_that_drains_waits_for_a_queue_that_is_away(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, APP)
    async with Simulator(APP) as zoom, fleet.worker() as one:
        stream = zoom.announce(Product.MEETING, Scenario(4))
        await fleet.front.offer_raw(stream.webhook("started"))
        await one.has(1)
        one.way.is_away = True
        await fleet.front.ring()
        await until(lambda: "queue" in one.told(), "that it is away")
        one.worker.drain("the test")
        await asyncio.sleep(0.5)
        assert not one.task.done()
        assert len(one.station.snapshots()) == 1
        one.way.is_away = False
        async with fleet.worker() as two:
            await two.has(1)
            await stream.done()
            await until(lambda: fleet.book.report(0).streams[0].state == "complete", "the end")
        await one.task
