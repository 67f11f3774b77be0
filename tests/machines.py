"""A fleet as it is run: a listener, workers, a real Redis, a real S3 API, and a Zoom simulator that is watched.

    PYTHONPATH=tests python -m machines --streams 30 --seconds 200

records that many streams with three workers. One is killed, one is asked to end (another one takes its place), and the
queue is stopped for 60 s, once with its data and once without. Then each recording in the store is compared, sample for
sample, with what was sent.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from processes import CREDENTIALS, environment
from redis_server import RedisServer
from s3_server import CREDENTIALS as S3_CREDENTIALS
from s3_server import S3Server

from rtms_cli.fleet.dispatch import Happening
from rtms_cli.fleet.queues import open_dispatch
from rtms_cli.protocol.numbers import Product
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.store.objects import Objects, StoreError, open_store
from rtms_cli.store.urls import read_store_url

APP = App(CREDENTIALS["ZOOM_CLIENT_ID"], CREDENTIALS["ZOOM_CLIENT_SECRET"], CREDENTIALS["ZOOM_SECRET_TOKEN"])
RATE = 16_000
WAIT_S = 120.0


class Process:
    """An `rtms` whose output goes to a file."""

    def __init__(self, name: str, folder: Path, arguments: Sequence[str], settings: dict[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._file: IO[bytes] = self.log.open("ab")
        command = [sys.executable, "-m", "rtms_cli", *arguments]
        nothing, out = subprocess.DEVNULL, self._file
        self.popen = subprocess.Popen(
            command, cwd=folder, env=environment(settings), stdin=nothing, stdout=out, stderr=out
        )

    async def says(self, text: str) -> str:
        """Wait for a line of its output."""
        found = ""

        def look() -> bool:
            nonlocal found
            lines = self.log.read_text(errors="replace").splitlines()
            found = next((line for line in lines if text in line), "")
            assert found or self.popen.poll() is None, f"{self.name} has ended: {lines[-5:]}"
            return bool(found)

        await until(look, f"{self.name} to say {text!r}")
        return found

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end."""
        return await asyncio.to_thread(self.popen.wait, WAIT_S)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self._file.close()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that nobody tells."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


class Machines:
    """A fleet. Each worker has a spool of its own unless it is given one.

    :param store: where recordings go; else a folder that all share.
    """

    def __init__(self, folder: Path, redis: RedisServer, store: S3Server | None) -> None:
        self.folder, self.redis, self.store = folder, redis, store
        self._processes = contextlib.ExitStack()
        self._count = 0
        self.webhook = ""

    @property
    def settings(self) -> dict[str, str]:
        return {**CREDENTIALS, "RTMS_QUEUE": self.redis.url, **(self.store.settings if self.store else {})}

    def _start(self, name: str, *arguments: str) -> Process:
        process = Process(name, self.folder, arguments, self.settings)
        self._processes.callback(process.close)
        return process

    async def listen(self) -> Process:
        """Start what hears."""
        process = self._start("listener", "listen", "--queue", self.redis.url, "--port", "0", "--plain")
        said = await process.says("listening on")
        self.webhook = said.rpartition(" ")[2]
        return process

    async def work(self, slots: int, *more: str, spool: str = "") -> Process:
        """Start a worker."""
        self._count += 1
        name = f"worker{self._count}"
        out = [f"{self.store.url}/here", "--spool", spool or f"spool-{name}"] if self.store else ["recordings"]
        if self.store:
            out += ["--store-endpoint", self.store.endpoint]
        process = self._start(name, "work", "--slots", str(slots), "--media", "audio", "--plain", "--out", *out, *more)
        await process.says(" slots")
        return process

    async def begin(self, zoom: Simulator, streams: int, seconds: float) -> list[LiveStream]:
        """Let meetings begin."""
        zoom.webhook = self.webhook
        begun = [zoom.announce(Product.MEETING, Scenario(seconds), number) for number in range(streams)]
        await asyncio.gather(*(zoom.post(self.webhook, stream, "started") for stream in begun))
        return begun

    async def history(self, stream: LiveStream) -> Sequence[Happening]:
        """What happened to a stream."""
        async with open_dispatch(self.redis.url) as dispatch:
            return await dispatch.history(stream.stream_id)

    async def finished(self, streams: Sequence[LiveStream]) -> None:
        """Wait until the queue says that they are all over."""
        wanted = {stream.stream_id for stream in streams}
        async with open_dispatch(self.redis.url) as dispatch, asyncio.timeout(WAIT_S):
            while True:
                report = await dispatch.report()
                open_ones = {one.stream_id: one for one in report.streams if one.owner or one.state == "waiting"}
                if not wanted & open_ones.keys():
                    return
                await asyncio.sleep(0.2)

    def objects(self) -> Objects:
        """What is stored."""
        assert self.store is not None
        os.environ.update(S3_CREDENTIALS)
        return open_store(read_store_url(f"{self.store.url}/here"), self.store.endpoint)

    async def stored_wav(self, stream: LiveStream) -> bytes:
        """The finished sound of a stream, out of the store, once it is there."""
        objects, found = self.objects(), b""
        async with asyncio.timeout(WAIT_S):
            while not found:
                try:
                    names = await asyncio.to_thread(objects.folders_now)
                    (name,) = [name for name in names if stream.stream_id in name]
                    manifest = json.loads((await objects.get(f"{name}/manifest.json"))[0])
                    if manifest["status"] != "recording":
                        (key,) = [one["key"] for one in manifest["store"]["files"] if one["path"] == "audio/mixed.wav"]
                        found, _ = await objects.get(f"{name}/{key}")
                except (StoreError, ValueError):
                    await asyncio.sleep(0.2)
                else:
                    await asyncio.sleep(0 if found else 0.2)
        return found

    def close(self) -> None:
        self._processes.close()


@asynccontextmanager
async def machines(folder: Path, *, stored: bool = False, keeps: bool = False) -> AsyncIterator[Machines]:
    """A fleet with its servers."""
    with contextlib.ExitStack() as stack:
        redis = RedisServer(keeps=keeps)
        stack.callback(redis.close)
        await asyncio.to_thread(redis.start)
        store = None
        if stored:
            store = S3Server()
            stack.callback(store.stop)
            await asyncio.to_thread(store.start)
        fleet = Machines(folder, redis, store)
        stack.callback(fleet.close)
        yield fleet


def compare(wav: Path | BytesIO, seconds: float) -> tuple[int, int]:
    """How many milliseconds of a recording lack, or are silent where something was said; and how many differ else."""
    samples, rate = soundfile.read(wav, dtype="int16")
    assert rate == RATE
    expected = mixed(len(PEOPLE), 0, int(seconds * RATE), RATE)
    got = np.zeros_like(expected)
    got[: len(samples)] = samples[: len(expected)]
    wrong = got != expected
    silent = wrong & (got == 0)
    packet = RATE // 50
    lacking = int(silent.reshape(-1, packet).any(axis=1).sum()) * 20
    return lacking, int((wrong & ~silent).sum())


async def measure(streams: int, seconds: float, folder: Path) -> None:
    async with machines(folder, stored=True, keeps=True) as fleet, Simulator(APP) as zoom:
        await fleet.listen()
        slots = (streams + 1) // 2
        workers = [await fleet.work(slots) for _ in range(3)]
        begun = await fleet.begin(zoom, streams, seconds)
        began = time.time()
        await asyncio.sleep(5)
        first, second, _ = sorted(workers, key=lambda one: -one.log.read_text().count(": taken"))

        async def at(second: float, what: str) -> None:
            await asyncio.sleep(max(0.0, began + second - time.time()))
            print(f"{time.time() - began:6.1f} s  {what}", flush=True)

        await at(15, f"{first.name} is killed")
        killed = time.time()
        first.send(signal.SIGKILL)
        await at(45, f"{second.name} is asked to end, worker4 begins on the disk of {first.name}")
        await fleet.work(slots, spool=f"spool-{first.name}")
        second.send(signal.SIGTERM)
        await at(65, "the queue is stopped")
        fleet.redis.stop()
        await at(125, "the queue is back, with its data")
        await asyncio.to_thread(fleet.redis.start)
        await at(150, "the queue is stopped, and will have lost its data")
        histories = [await fleet.history(stream) for stream in begun]
        fleet.redis.stop()
        for path in fleet.redis.folder.iterdir():
            if path.name.startswith(("append", "dump")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        await at(210, "the queue is back, without its data")
        await asyncio.to_thread(fleet.redis.start)
        for stream in begun:
            await stream.done()
        await at(seconds, "the meetings have ended")
        await fleet.finished(begun)
        lacking = []
        for stream in begun:
            lack, differ = compare(BytesIO(await fleet.stored_wav(stream)), seconds)
            assert differ == 0, stream.stream_id
            lacking.append(lack)
    takeovers = [
        datetime.fromisoformat(one.at).timestamp() - killed
        for history in histories
        for one in history
        if one.what == "taken over"
    ]
    p50, most = statistics.median(takeovers), max(takeovers)
    print(f"{len(takeovers)} streams were taken over: p50 {p50:.1f} s, max {most:.1f} s")
    print(f"{sum(lack == 0 for lack in lacking)} of {streams} recordings lack nothing; the others lack", end=" ")
    print(f"{sorted(lack for lack in lacking if lack)} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=240)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(measure(given.streams, given.seconds, Path(folder)))
        except BaseException:
            for log in sorted(Path(folder).glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()
                print(f"--- {log.name}", *lines[-30:], sep="\n", file=sys.stderr)
            raise


if __name__ == "__main__":
    main()
