"""Recordings go to a real S3 API while they are made: what arrives there, and what a store that is away costs."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness import make_station
from s3_server import S3Server, use_credentials

from rtms_cli.capture import Capture
from rtms_cli.machine import frames_of
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.station.station import Station
from rtms_cli.store.objects import Objects, StoreError, open_store
from rtms_cli.store.segments import epoch_and_number, unpacked_segment, without_header
from rtms_cli.store.shipping import Shipping
from rtms_cli.store.spool import SpoolPart, drop_least_valuable, parts_in
from rtms_cli.store.urls import read_store_url

APP = App("client", "secret", "token")
MANY = 1 << 40
pytestmark = pytest.mark.timeout(300)  # each has an S3 server of its own, which takes long to start on a busy machine


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    use_credentials(monkeypatch)
    monkeypatch.setattr("rtms_cli.store.shipping.SEGMENT_S", 0.5)
    monkeypatch.setattr("rtms_cli.store.shipping.QUIET_S", 0.0)
    with S3Server() as running:
        yield running


class Told:
    """What a shipping told."""

    def __init__(self) -> None:
        self.states: list[object] = []

    def __call__(self, name: str, fields: Mapping[str, object], text: str) -> None:
        assert name == "store"
        self.states.append(fields["state"])


@asynccontextmanager
async def shipping_station(
    server: S3Server, spool: Path, told: Told, most: int = MANY
) -> AsyncIterator[tuple[Station, Shipping, Objects]]:
    objects, writer = open_store(read_store_url(f"{server.url}/here"), server.endpoint), Writer()
    request = MediaRequest(parse_media("audio,transcript"))
    station = make_station(spool, writer, request, trusted=True, sign=APP.sign_stream)
    async with Shipping(objects, spool, most, told) as shipping:
        station.subscribe(shipping)
        yield station, shipping, objects
    await station.stop("the test")
    await writer.close()


async def record(station: Station, seconds: float) -> LiveStream:
    async with Simulator(APP) as zoom:
        stream = zoom.announce(Product.MEETING, Scenario(seconds))
        body = stream.webhook("started")
        station.take(body, read_webhook(body))
        await stream.done()
        await station.idle()
    return stream


async def everything(objects: Objects) -> dict[str, bytes]:
    keys = [info.key async for info in objects.listed()]
    return {key: (await objects.get(key))[0] for key in keys}


def audio_packets(lines: bytes, folder: Path) -> int:
    (folder / "capture.jsonl").write_bytes(lines)
    items = Capture(folder / "capture.jsonl").items()
    return sum("Audio" in type(frame.message).__name__ for item in items for frame in frames_of(item))


async def test_a_recording_arrives_whole(server: S3Server, tmp_path: Path) -> None:
    told = Told()
    async with shipping_station(server, tmp_path / "spool", told) as (station, shipping, objects):
        await record(station, 3)
        assert await shipping.idle(90)
    stored = await everything(objects)
    (recording,) = {key.partition("/")[0] for key in stored}
    names = {key.removeprefix(f"{recording}/") for key in stored}
    manifest = json.loads(stored[f"{recording}/manifest.json"])
    assert (manifest["status"], manifest["store"]["epoch"], manifest["losses"]) == ("complete", 1, [])
    assert {"E0001/audio/mixed.wav", "E0001/transcript.jsonl", "manifest.json"} <= names
    for file in manifest["store"]["files"]:
        data = stored[f"{recording}/{file['key']}"]
        assert len(data) == file["nbytes"]
    segments = sorted(key for key in stored if epoch_and_number(key))
    assert len(segments) > 2
    assert [f"{recording}/{key}" for key in manifest["store"]["segments"]] == segments
    pieces = [unpacked_segment(stored[key]) for key in segments]
    whole = pieces[0] + b"".join(map(without_header, pieces[1:]))
    assert audio_packets(whole, tmp_path) == 150
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()], "the spool is empty again"
    assert told.states == ["stored"]


async def test_a_store_that_is_away_costs_nothing(server: S3Server, tmp_path: Path) -> None:
    told = Told()
    async with shipping_station(server, tmp_path / "spool", told) as (station, shipping, objects):
        server.stop()
        await record(station, 2)
        async with asyncio.timeout(90):
            while "away" not in told.states:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert shipping.snapshot()["state"] != "reached"
        await asyncio.to_thread(server.start)
        assert await shipping.idle(90)
        stored = await everything(objects)
    assert any(key.endswith("/manifest.json") for key in stored)
    assert told.states[-1] == "stored"
    assert "reached" in told.states


async def test_the_next_run_stores_what_was_left(server: S3Server, tmp_path: Path) -> None:
    server.stop()
    async with shipping_station(server, tmp_path / "spool", Told()) as (station, _shipping, objects):
        await record(station, 1)
    await asyncio.to_thread(server.start)
    told = Told()
    async with shipping_station(server, tmp_path / "spool", told) as (_, _shipping, objects):
        async with asyncio.timeout(90):
            while "stored" not in told.states:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    stored = await everything(objects)
    assert [json.loads(data)["status"] for key, data in stored.items() if key.endswith("/manifest.json")] == [
        "complete"
    ]
    assert told.states[0] == "adopted"


async def test_what_was_left_is_stored_by_one_process_only(server: S3Server, tmp_path: Path) -> None:
    server.stop()
    async with shipping_station(server, tmp_path / "spool", Told()) as (station, _shipping, objects):
        await record(station, 1)
    await asyncio.to_thread(server.start)
    told = [Told(), Told()]
    async with (
        Shipping(objects, tmp_path / "spool", MANY, told[0]) as one,
        Shipping(objects, tmp_path / "spool", MANY, told[1]) as other,
        asyncio.timeout(90),
    ):
        while "stored" not in told[0].states + told[1].states:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert await one.idle(90)
        assert await other.idle(90)
    states = [state for each in told for state in each.states]
    assert (states.count("adopted"), states.count("stored"), states.count("failed")) == (1, 1, 0)
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


async def test_a_full_spool_loses_what_can_be_made_again_and_the_store_gets_it_all_the_same(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtms_cli.store.shipping.ADOPT_S", 0.5)
    told = Told()
    async with shipping_station(server, tmp_path / "spool", told, most=1000) as (station, shipping, objects):
        server.stop()
        await record(station, 1)
        async with asyncio.timeout(90):
            while list((tmp_path / "spool").rglob("*.wav")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.to_thread(server.start)
        assert await shipping.idle(90)
        stored = await everything(objects)
    assert "spool full" in told.states
    assert [len(data) for key, data in stored.items() if key.endswith("mixed.wav")] != []


async def test_a_former_owner_writes_nothing_more(server: S3Server, tmp_path: Path) -> None:
    told = Told()
    async with shipping_station(server, tmp_path / "spool", told) as (station, shipping, objects):
        async with Simulator(APP) as zoom:
            stream = zoom.announce(Product.MEETING, Scenario(3))
            body = stream.webhook("started")
            station.take(body, read_webhook(body))
            async with asyncio.timeout(90):
                while not [info async for info in objects.listed()]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            (manifest,) = [info.key async for info in objects.listed() if info.key.endswith("manifest.json")]
            for one in shipping._parts.values():
                one.confirmed -= 60  # as if it had been frozen
            await objects.put(manifest, b'{"status": "recording", "store": {"epoch": 2}}')
            before = {info.key for info in [info async for info in objects.listed()]}
            await stream.done()
            await station.idle()
            assert await shipping.idle(90)
        after = {info.key: info async for info in objects.listed()}
    assert len(after.keys() - before) <= 1, "what was under way when the other one came"
    assert "fenced" in told.states
    assert json.loads((await objects.get(manifest))[0])["store"]["epoch"] == 2


async def test_what_is_being_stored_is_not_dropped(server: S3Server, tmp_path: Path) -> None:
    server.stop()
    async with shipping_station(server, tmp_path / "spool", Told()) as (station, _shipping, _objects):
        await record(station, 1)
    (part,) = parts_in(tmp_path / "spool")
    assert drop_least_valuable(tmp_path / "spool", 1, busy={part.folder}) == (0, 0)
    assert drop_least_valuable(tmp_path / "spool", 1)[0] == 1
    assert part.state().dropped == ["audio/mixed.wav"]


def test_a_part_is_removed_without_those_of_its_successors(tmp_path: Path) -> None:
    from rtms_cli.store.spool import SpoolPart

    recording = tmp_path / "a"
    (recording / "audio").mkdir(parents=True)
    (recording / "audio" / "mixed.wav").write_bytes(b"x")
    (recording / "epochs" / "E0002").mkdir(parents=True)
    (recording / "epochs" / "E0002" / "capture.jsonl").write_bytes(b"y")
    SpoolPart(tmp_path, "a", recording, 1).remove()
    assert [path.name for path in recording.rglob("*") if path.is_file()] == ["capture.jsonl"]
    SpoolPart(tmp_path, "a", recording / "epochs" / "E0002", 2).remove()
    assert not recording.exists()


async def test_a_recording_that_goes_on_is_not_taken_for_one_that_is_stored(server: S3Server, tmp_path: Path) -> None:
    """Its process dies behind an interruption that was stored: what came since must not go with the spool."""
    spool, told = tmp_path / "spool", Told()
    async with shipping_station(server, spool, told) as (station, shipping, objects):
        async with Simulator(APP) as zoom:
            stream = zoom.announce(Product.MEETING, Scenario(30))
            body = stream.webhook("started")
            station.take(body, read_webhook(body))
            async with asyncio.timeout(90):
                while not [info async for info in objects.listed()]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            station.leave(stream.stream_id, "the test")
            await station.idle()
            assert await shipping.idle(90)
    (folder,) = [path for path in spool.iterdir() if not path.name.startswith(".")]
    with (folder / "capture.jsonl").open("ab") as capture:
        capture.write(b'{"at": 99.000000, "ch": "signaling", "dir": "in", "data": {"msg_type": 99}}\n')
    os.utime(folder / "manifest.json", (0, 0))
    again = Told()
    async with shipping_station(server, spool, again) as (_, shipping, objects):
        async with asyncio.timeout(90):
            while "stored" not in again.states:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    keys = sorted([info.key async for info in objects.listed() if epoch_and_number(info.key)])
    assert b'"at": 99.0' in unpacked_segment((await objects.get(keys[-1]))[0])


async def test_what_a_dead_owner_left_is_taken_up_again_where_that_failed(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    async with shipping_station(server, tmp_path / "spool", Told()) as (station, _shipping, objects):
        await record(station, 1)
    parts = list(parts_in(tmp_path / "spool"))
    shipping = Shipping(objects, tmp_path / "spool", MANY, Told(), in_fleet=True)
    with pytest.raises(StoreError):
        await shipping._ship_others(SpoolPart(tmp_path / "spool", parts[0].recording, tmp_path / "other", 2))
    assert shipping._parts == {}
    assert not parts[0].is_being_recorded()


async def test_an_error_in_the_spool_does_not_end_it(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rtms_cli.store.shipping.nbytes_in", fail)
    told = Told()
    async with shipping_station(server, tmp_path / "spool", told) as (station, shipping, _objects):
        await record(station, 1)
        assert await shipping.idle(90)
    assert told.states == ["stored"]


async def test_what_a_dead_owner_left_of_a_revoked_stream_does_not_come_back(server: S3Server, tmp_path: Path) -> None:
    server.stop()
    async with shipping_station(server, tmp_path / "spool", Told()) as (station, _shipping, objects):
        await record(station, 1)
    (part,) = parts_in(tmp_path / "spool")
    await asyncio.to_thread(server.start)
    revoked = b'{"status": "revoked", "store": {"epoch": 2}}'
    await objects.put(f"{part.recording}/manifest.json", revoked)
    async with Shipping(objects, tmp_path / "spool", MANY, Told(), in_fleet=True) as shipping, asyncio.timeout(90):
        while part.folder.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert await shipping.idle(90)
    assert await everything(objects) == {f"{part.recording}/manifest.json": revoked}
