"""A stream has any number of sinks: a recorder, taps, both or none; and views subscribe."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import Silent

from rtms_cli.errors import Problem
from rtms_cli.machine import Direction, Fanout, Frame, Item, as_one, frame_of, frames_of
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.messages import Media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream, read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.station import Outcome, Station, recorder_in
from rtms_cli.station.taps import TapMaker
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy

SPEED = 10


class ListTap:
    """Keeps what it gets in a list, and holds the reader up as often as it is asked to."""

    def __init__(self, full_times: int = 0) -> None:
        self.frames: list[Frame] = []
        self.is_closed = False
        self.rooms = 0
        self._full_times = full_times

    def put(self, item: Item) -> None:
        assert not self.is_closed
        self.frames.extend(frames_of(item))

    @property
    def full(self) -> bool:
        return self.rooms < self._full_times

    async def room(self) -> None:
        self.rooms += 1

    async def close(self) -> None:
        self.is_closed = True

    @property
    def media(self) -> int:
        return sum(isinstance(frame.message, Media) for frame in self.frames)


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def follow(
    out: Path, taps: Sequence[TapMaker], observers: Sequence[Silent] = (), *, recorded: bool
) -> tuple[Outcome, int, Station]:
    """Run one stream of the stand-in; the outcome, how many packets were sent, and the station."""
    app, writer = App("client", "secret", "token"), Writer()
    station = Station(
        make_recorder=recorder_in(out) if recorded else None,
        request=MediaRequest(parse_media("audio")),
        sign=app.sign_stream,
        dial=Dialer(HostPolicy()),
        writer=writer,
        taps=taps,
        observers=observers,
        trusted=True,
        make_clock=lambda: Clock(SPEED),
    )
    async with Simulator(app, speed=SPEED, client_in_real_time=False) as simulator:
        stream = simulator.announce(Product.MEETING, Scenario(3))
        body = stream.webhook("started")
        station.take(body, read_webhook(body))
        await stream.done()
        await station.idle()
    await writer.close()
    (outcome,) = station.outcomes
    assert outcome.finish.status == "complete"
    return outcome, stream.report().sent["MEDIA_DATA_AUDIO"], station


async def test_a_stream_without_sinks_lives(tmp_path: Path) -> None:
    observer = Silent()
    outcome, sent, station = await follow(tmp_path, [], [observer], recorded=False)
    assert sent > 0
    assert outcome.folder is None
    assert len(observer.started) == len(observer.finished) == 1
    assert files_in(tmp_path) == []
    assert station.snapshots() == []


async def test_a_tap_alone_hears_every_packet(tmp_path: Path) -> None:
    tap = ListTap()
    outcome, sent, _ = await follow(tmp_path, [lambda stream: tap], recorded=False)
    assert tap.media == sent
    assert tap.is_closed
    assert outcome.folder is None
    assert files_in(tmp_path) == []


async def test_a_recorder_and_a_tap_hear_the_same(tmp_path: Path) -> None:
    tap = ListTap(full_times=2)
    outcome, sent, _ = await follow(tmp_path, [lambda stream: tap], recorded=True)
    assert outcome.folder is not None
    (track,) = [track for track in Manifest.read(outcome.folder).tracks if track.kind == "audio"]
    assert track.packets == tap.media == sent
    captured = (outcome.folder / "capture.jsonl").read_text().splitlines()
    assert len(captured) - 1 == len(tap.frames)
    assert tap.rooms >= 2
    assert tap.is_closed


async def test_a_recorder_alone(tmp_path: Path) -> None:
    outcome, sent, _ = await follow(tmp_path, [], recorded=True)
    assert outcome.folder is not None
    assert [track.packets for track in Manifest.read(outcome.folder).tracks if track.kind == "audio"] == [sent]


async def test_a_tap_that_cannot_open_costs_nothing_else(tmp_path: Path) -> None:
    def fail(stream: Stream) -> ListTap:
        raise Problem("The address is taken.")

    tap, observer = ListTap(), Silent()
    outcome, sent, _ = await follow(tmp_path, [fail, lambda stream: tap], [observer], recorded=True)
    assert outcome.folder is not None
    assert tap.media == sent
    (notice,) = observer.notices
    assert "goes on without one of its taps: The address is taken." in notice


@pytest.mark.parametrize("what", ["open", "put", "full", "room", "close"])
async def test_a_tap_with_a_defect_costs_nothing_else(what: str, tmp_path: Path) -> None:
    class Broken(ListTap):
        def put(self, item: Item) -> None:
            fail_in("put")

        @property
        def full(self) -> bool:
            fail_in("full")
            return what == "room"

        async def room(self) -> None:
            fail_in("room")

        async def close(self) -> None:
            fail_in("close")

    def fail_in(part: str) -> None:
        if what == part:
            raise RuntimeError(part)

    def open_broken(stream: Stream) -> ListTap:
        fail_in("open")
        return Broken()

    tap, observer = ListTap(), Silent()
    outcome, sent, _ = await follow(tmp_path, [open_broken, lambda stream: tap], [observer], recorded=True)
    assert outcome.folder is not None
    assert [track.packets for track in Manifest.read(outcome.folder).tracks if track.kind == "audio"] == [sent]
    assert tap.media == sent
    assert tap.is_closed
    (notice,) = observer.notices
    assert f"goes on without one of its taps: RuntimeError('{what}')" in notice


@pytest.mark.parametrize("what", ["on_started", "on_frame", "on_finished"])
async def test_an_observer_with_a_defect_costs_nothing_else(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(what)

    broken, observer = Silent(), Silent()
    setattr(broken, what, fail)
    outcome, sent, _ = await follow(tmp_path, [], [broken, observer], recorded=True)
    assert outcome.folder is not None
    assert [track.packets for track in Manifest.read(outcome.folder).tracks if track.kind == "audio"] == [sent]
    assert len(observer.started) == len(observer.finished) == 1
    assert observer.frames
    (record,) = caplog.records
    assert "Silent" in record.message


class Told(Silent):
    """Tells a test that a recording began."""

    def __init__(self) -> None:
        super().__init__()
        self.is_started = asyncio.Event()

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        super().on_started(stream, folder)
        self.is_started.set()


async def test_every_observer_hears_the_same_and_a_late_one_of_running_streams(tmp_path: Path) -> None:
    first, second, late = Told(), Silent(), Silent()
    app, writer = App("client", "secret", "token"), Writer()
    station = Station(
        make_recorder=recorder_in(tmp_path),
        request=MediaRequest(parse_media("audio")),
        sign=app.sign_stream,
        dial=Dialer(HostPolicy()),
        writer=writer,
        observers=[first, second],
        trusted=True,
    )
    async with Simulator(app) as simulator:
        stream = simulator.announce(Product.MEETING, Scenario(30))
        body = stream.webhook("started")
        station.take(body, read_webhook(body))
        await asyncio.wait_for(first.is_started.wait(), 10)
        station.subscribe(late)
        assert [one.stream_id for one in late.started] == [stream.stream_id]
        station.request_stop("the test")
        await station.stopped()
    await writer.close()
    assert first.frames == second.frames
    assert len(first.finished) == len(second.finished) == len(late.finished) == 1


FRAME = frame_of(1, "media", Direction.IN, b"{}")


def test_one_sink_is_put_to_directly() -> None:
    sink = ListTap()
    assert as_one([]) is None
    assert as_one([sink]) is sink


@pytest.mark.parametrize("count", [2, 3])
def test_each_of_several_sinks_keeps_every_frame(count: int) -> None:
    taps = [ListTap() for _ in range(count)]
    sink = as_one(taps)
    assert sink is not None
    sink.put(FRAME)
    assert [tap.frames for tap in taps] == [[FRAME]] * count


async def test_a_fanout_is_full_while_one_of_its_sinks_is() -> None:
    calm, busy = ListTap(), ListTap(full_times=1)
    both = Fanout([calm, busy])
    was_full = both.full
    await both.room()
    assert [was_full, both.full] == [True, False]
    assert (calm.rooms, busy.rooms) == (1, 1)
