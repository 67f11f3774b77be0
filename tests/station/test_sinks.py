"""A stream has a recorder, one that keeps nothing, or none; others listen to it, and views subscribe."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import Heard, Silent

from rtms_cli.errors import Problem
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream, read_webhook
from rtms_cli.recording.audio import HEADER_SIZE
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.tracks import without_t
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.listening import OpenListener
from rtms_cli.station.station import Outcome, Station, recorder_in, recorder_nowhere
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy

SPEED = 10


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def follow(
    out: Path, listeners: Sequence[OpenListener], observers: Sequence[Silent] = (), *, recorded: bool
) -> tuple[Outcome, int, Station]:
    """Run one stream of the simulator; the outcome, how many packets were sent, and the station."""
    app, writer = App("client", "secret", "token"), Writer()
    station = Station(
        make_recorder=recorder_in(out) if recorded else recorder_nowhere if listeners else None,
        request=MediaRequest(parse_media("audio")),
        sign=app.sign_stream,
        dial=Dialer(HostPolicy()),
        writer=writer,
        listeners=listeners,
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


async def test_a_listener_hears_the_very_samples_though_nothing_is_kept(tmp_path: Path) -> None:
    heard = Heard()
    outcome, sent, _ = await follow(tmp_path, [lambda stream, folder: heard], recorded=False)
    assert len(heard.audio["audio/mixed.wav"]) == sent * 640
    assert heard.is_closed
    assert outcome.folder is None
    assert outcome.snapshot.losses == 0
    assert files_in(tmp_path) == []


async def test_a_listener_hears_what_the_files_get(tmp_path: Path) -> None:
    heard, folders = Heard(), list[Path | None]()

    def hear(stream: Stream, folder: Path | None) -> Heard:
        folders.append(folder)
        return heard

    outcome, sent, _ = await follow(tmp_path, [hear], recorded=True)
    assert outcome.folder is not None
    assert folders == [outcome.folder]
    assert (outcome.folder / "audio/mixed.wav").read_bytes()[HEADER_SIZE:] == heard.audio["audio/mixed.wav"]
    lines = [without_t(line) for path, line in heard.lines if path == "events.jsonl"]
    kept = (outcome.folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    assert lines == [without_t(line) for line in kept]  # `t` is renewed where the recording's zero becomes known
    assert heard.is_closed
    manifest = Manifest.read(outcome.folder)
    assert [track.packets for track in manifest.tracks if track.kind == "audio"] == [sent]
    assert [tap.bytes for tap in manifest.taps] == [sent * 640]


async def test_a_recorder_alone(tmp_path: Path) -> None:
    outcome, sent, _ = await follow(tmp_path, [], recorded=True)
    assert outcome.folder is not None
    assert [track.packets for track in Manifest.read(outcome.folder).tracks if track.kind == "audio"] == [sent]


@pytest.mark.parametrize("what", ["open", "on_audio", "on_line", "on_turn", "entries", "close"])
async def test_a_listener_with_a_defect_costs_nothing_else(what: str, tmp_path: Path) -> None:
    def open_broken(stream: Stream, folder: Path | None) -> Heard:
        if what == "open":
            raise Problem("The address is taken.")
        return Heard(what)

    heard, observer = Heard(), Silent()
    outcome, sent, _ = await follow(tmp_path, [open_broken, lambda stream, folder: heard], [observer], recorded=True)
    assert outcome.folder is not None
    assert (outcome.folder / "audio/mixed.wav").read_bytes()[HEADER_SIZE:] == heard.audio["audio/mixed.wav"]
    assert len(heard.audio["audio/mixed.wav"]) == sent * 640
    assert heard.is_closed
    (notice,) = observer.notices
    why = "The address is taken." if what == "open" else f"RuntimeError('{what}')"
    assert f"continues without one of its taps: {why}" in notice


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
