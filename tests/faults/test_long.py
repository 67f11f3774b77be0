"""What shows after hours, and after many streams: drift, memory, descriptors, an interruption that ends late."""

import asyncio
import gc
import sys
from pathlib import Path

import numpy as np
import soundfile
from frames import HEADER, ZERO_MS, audio, media, said
from harness import Silent, make_station, read_wav, same_files
from processes import rtms

from rtms_cli.machine import Frame
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.ownership import FolderLock
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.metrics import exposition

STREAMS, HOURS = 400, 6
HOUR_S, STEP_MS, RATE = 3600, 1_000, 8_000
COUNT = RATE * STEP_MS // 1000


class WithoutCapture(Files):
    """Saves two gigabytes that are not this test's subject."""

    def append(self, name: str, data: bytes) -> int:
        return 0 if name == "capture.jsonl" else super().append(name, data)


def test_hours_have_no_drift_and_take_no_memory(tmp_path: Path) -> None:
    """Six hours of packets whose timestamps jitter by some ms, with a pause an hour; only their time is not real."""
    recorder = Recorder(tmp_path, HEADER, files=WithoutCapture(tmp_path))
    params = {"content_type": 2, "sample_rate": 0, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": STEP_MS}
    recorder.fold([said({"msg_type": 4, "status_code": 0, "media_params": {"audio": params}})])
    after_hour: list[int] = []
    slots = HOURS * HOUR_S * 1000 // STEP_MS
    paused = slots // HOURS - 10
    batch: list[Frame] = []
    for slot in range(slots):
        if slot % (slots // HOURS) >= paused:
            continue
        pcm = np.full(COUNT, slot % 30_000 + 1, "<i2").tobytes()
        batch.append(audio(pcm, ZERO_MS + slot * STEP_MS + slot * 7919 % 5, at_us=slot * STEP_MS * 1000))
        if slot % 25 == 0:
            batch.append(media(17, f"line {slot}", ZERO_MS + slot * STEP_MS, user_id=1, at_us=slot * STEP_MS * 1000))
            recorder.fold(batch)
            batch = []
        if slot % (slots // HOURS) == paused - 1:
            gc.collect()
            after_hour.append(sys.getallocatedblocks())
    recorder.fold(batch)
    recorder.close()
    assert max(after_hour[1:]) < after_hour[0] + 2_000, after_hour
    manifest = Manifest.read(tmp_path)
    (track,) = [track for track in manifest.tracks if track.kind == "audio"]
    assert track.gap_count == HOURS - 1
    assert all(abs((end - start) - 10) < 0.2 for start, end in track.gaps)
    with soundfile.SoundFile(tmp_path / track.path) as sound:
        assert abs(sound.frames - HOURS * HOUR_S * RATE + 10 * COUNT) <= COUNT
        for slot in range(0, slots, 997):
            if slot % (slots // HOURS) < paused:
                sound.seek(slot * COUNT + COUNT // 2)
                assert sound.read(1, dtype="int16") == [slot % 30_000 + 1], slot


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_hundreds_of_streams_leave_no_descriptor_and_no_task(tmp_path: Path) -> None:
    app = App("client", "secret", "token")
    writer = Writer()
    station = make_station(tmp_path, writer, MediaRequest(parse_media("audio,transcript")), sign=app.sign_stream)
    async with Simulator(app, speed=50) as simulator:

        async def one(number: int) -> None:
            stream = simulator.announce(Product.MEETING, Scenario(0.1), number)
            body = stream.webhook("started")
            station.take(body, read_webhook(body))
            await stream.done()

        async def some(first: int) -> None:
            await asyncio.gather(*(one(number) for number in range(first, first + 50)))
            await station.idle()

        await some(0)
        descriptors, tasks = open_descriptors(), len(asyncio.all_tasks())
        for first in range(50, STREAMS, 50):
            await some(first)
        assert abs(open_descriptors() - descriptors) <= 5
        assert len(asyncio.all_tasks()) <= tasks + 5
    await writer.close()
    folders = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert len(folders) == STREAMS
    assert all(Manifest.read(folder).status == "complete" for folder in folders)


async def test_a_later_webhook_continues_an_interrupted_recording(tmp_path: Path) -> None:
    app = App("client", "secret", "token")
    writer = Writer()
    observer = Silent()
    request = MediaRequest(parse_media("audio"))
    station = make_station(tmp_path / "out", writer, request, sign=app.sign_stream, observer=observer)
    async with Simulator(app) as simulator:
        stream = simulator.announce(Product.MEETING, Scenario(5, faults=(FaultAt(1_000, Fault.STOP, 19),)))
        for _ in range(2):
            body = stream.webhook("started")
            station.take(body, read_webhook(body))
            await stream.done()
            await station.idle()
            await asyncio.sleep(0.1)  # the pause that is looked for below: less than half a packet is none
            stream = simulator.announce(Product.MEETING, Scenario(1), again=stream)
        simulator.end()
    await writer.close()
    assert [finish.status for finish in observer.finished] == ["interrupted", "complete"]
    (folder,) = await asyncio.to_thread(lambda: list((tmp_path / "out").iterdir()))
    manifest = Manifest.read(folder)
    assert (manifest.status, manifest.losses) == ("complete", [])
    # What was counted before the interruption is counted once.
    figures = exposition(station.figures({}, None)).decode()
    count = manifest.messages["received"]["MEDIA_DATA_AUDIO"].count
    assert f'rtms_messages_total{{type="MEDIA_DATA_AUDIO"}} {count}.0\n' in figures
    assert 'rtms_recordings_total{status="interrupted"} 1.0\n' in figures
    _, samples = read_wav(folder / "audio/mixed.wav")
    (track,) = [track for track in manifest.tracks if track.kind == "audio"]
    ((start, end),) = track.gaps
    assert end - start >= 0.1
    first, second = round(start * 16_000), round(end * 16_000)
    assert np.array_equal(samples[:first], mixed(len(PEOPLE), 0, first, 16_000))
    assert not samples[first:second].any()
    assert np.array_equal(samples[second:], mixed(len(PEOPLE), 0, len(samples) - second, 16_000))
    assert first == 16_000
    assert len(samples) - second == 16_000
    done = await asyncio.to_thread(rtms, "replay", folder, "--out", tmp_path / "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (replayed,) = await asyncio.to_thread(lambda: list((tmp_path / "again").iterdir()))
    same_files(folder, replayed)


async def test_an_interrupted_recording_that_somebody_repairs_is_followed_by_a_new_one(tmp_path: Path) -> None:
    app, writer, observer = App("client", "secret", "token"), Writer(), Silent()
    request = MediaRequest(parse_media("audio"))
    station = make_station(tmp_path / "out", writer, request, sign=app.sign_stream, observer=observer)
    locks: list[FolderLock] = []
    async with Simulator(app) as simulator:
        stream = simulator.announce(Product.MEETING, Scenario(2, faults=(FaultAt(500, Fault.STOP, 19),)))
        for _ in range(2):
            body = stream.webhook("started")
            station.take(body, read_webhook(body))
            await stream.done()
            await station.idle()
            (first, *_) = await asyncio.to_thread(lambda: sorted((tmp_path / "out").iterdir()))
            if not locks:
                locks.append(FolderLock(first))
                locks[0].acquire()
            stream = simulator.announce(Product.MEETING, Scenario(1), again=stream)
        simulator.end()
    locks[0].release()
    await writer.close()
    folders = await asyncio.to_thread(lambda: sorted((tmp_path / "out").iterdir()))
    manifests = [Manifest.read(folder) for folder in folders]
    assert sorted(manifest.status for manifest in manifests) == ["complete", "interrupted"]
    assert len({manifest.rtms_stream_id for manifest in manifests}) == 1
    assert [notice for notice in observer.notices if "A new recording is begun." in notice]
    count = sum(manifest.messages["received"]["MEDIA_DATA_AUDIO"].count for manifest in manifests)
    figures = exposition(station.figures({}, None)).decode()
    assert f'rtms_messages_total{{type="MEDIA_DATA_AUDIO"}} {count}.0\n' in figures
    for folder in folders:
        out = tmp_path / "again" / folder.name
        done = await asyncio.to_thread(rtms, "replay", folder, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (replayed,) = await asyncio.to_thread(list, out.iterdir())
        same_files(folder, replayed)
