"""The fleet as real processes: a listener, workers, a real Redis and a real S3 API."""

import asyncio
import json
import signal
import time
from io import BytesIO
from pathlib import Path

import pytest
from machines import APP, compare, machines, until

from rtms_cli.simulator.server import Simulator

MOST_LOST_MS = 1500
"""What a killed process may take along: what waited to be written, and what its socket held."""


@pytest.mark.timeout(200)
async def test_a_rolling_restart_loses_nothing_and_leaves_one_recording_each(tmp_path: Path) -> None:
    seconds = 50.0  # processes take long to start on a busy machine
    async with machines(tmp_path) as fleet, Simulator(APP) as zoom:
        await fleet.listen()
        first, second = await fleet.work(5), await fleet.work(5)
        begun = await fleet.begin(zoom, 4, seconds)
        await asyncio.sleep(3)
        third = await fleet.work(5)
        first.send(signal.SIGTERM)
        assert await first.ended() == 0
        await asyncio.sleep(2)
        fourth = await fleet.work(5)
        second.send(signal.SIGTERM)
        assert await second.ended() == 0
        for stream in begun:
            await stream.done()
        await fleet.finished(begun)
        folders = [next((tmp_path / "recordings").glob(f"*{stream.stream_id}*")) for stream in begun]
        for folder in folders:
            manifest = json.loads((folder / "manifest.json").read_text())
            assert manifest["status"] == "complete"
            assert manifest["losses"] == []
            assert not (folder / "epochs").exists()
            assert compare(folder / "audio" / "mixed.wav", seconds) == (0, 0)
        for process in (third, fourth):
            process.send(signal.SIGTERM)
            assert await process.ended() == 0


@pytest.mark.timeout(300)
async def test_a_worker_that_is_killed_is_followed_by_another_and_the_store_has_it_all(tmp_path: Path) -> None:
    seconds = 45.0
    async with machines(tmp_path, stored=True) as fleet, Simulator(APP) as zoom:
        await fleet.listen()
        first = await fleet.work(5, spool="spool")
        begun = await fleet.begin(zoom, 2, seconds)
        await first.says(" recording ")
        await asyncio.sleep(4)
        await fleet.work(5, spool="spool")
        first.send(signal.SIGKILL)
        killed = time.time()
        for stream in begun:
            await stream.done()
        await fleet.finished(begun)
        for stream in begun:
            lacking, differing = compare(BytesIO(await fleet.stored_wav(stream)), seconds)
            assert differing == 0
            assert lacking <= MOST_LOST_MS
            history = await fleet.history(stream)
            assert [one.what for one in history][:3] == ["offered", "taken", "taken over"]
        assert time.time() > killed


async def test_zoom_is_asked_to_send_again_while_the_queue_is_away(tmp_path: Path) -> None:
    async with machines(tmp_path) as fleet, Simulator(APP) as zoom:
        listener = await fleet.listen()
        await fleet.work(5)
        fleet.redis.stop()
        (stream,) = await fleet.begin(zoom, 1, 2)
        assert "webhook with 503" in stream.webhook_findings[-1].what
        await asyncio.to_thread(fleet.redis.start)
        await zoom.post(fleet.webhook, stream, "started")
        await zoom.post(fleet.webhook, stream, "started")
        await stream.done()
        await fleet.finished([stream])
        await until(lambda: "the queue is reachable again" in listener.log.read_text(), "the listener")
    assert len(list((tmp_path / "recordings").iterdir())) == 1
