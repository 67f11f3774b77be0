"""`rtms listen` with few descriptors, in a crowd of connections that say nothing.

    PYTHONPATH=tests python -m crowd --limit 1024 --idle 1200 --streams 20 --seconds 20

measures what is lost, and how long webhooks take to be answered. The suite plays small ones.
"""

import argparse
import asyncio
import json
import resource
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from processes import environment

from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.signatures import signed_headers
from rtms_cli.recording.manifest import Manifest
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator

APP = App("client", "secret", "token")
PROBE = b'{"event": "meeting.sharing_started", "event_ts": 1, "payload": {}}'


@dataclass
class Listening:
    """A listener in a process of its own."""

    process: asyncio.subprocess.Process
    url: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.url.split(":")[2].split("/")[0])


@dataclass
class Measured:
    """What came of it."""

    sent: int
    kept: int
    losses: int
    answers: Counter[int]
    """Answers to started webhooks by status; 0 is not one."""
    folders: int
    probes_ms: Sequence[float]
    """How long webhooks took meanwhile."""
    descriptors: int
    """The most that were open at once."""
    cpu_s: float


@asynccontextmanager
async def listening(folder: Path, limit: int, *arguments: str) -> AsyncIterator[Listening]:
    """Run `rtms listen` with this many descriptors at most; it is ended with SIGTERM."""
    settings = {"ZOOM_CLIENT_ID": "client", "ZOOM_CLIENT_SECRET": "secret", "ZOOM_SECRET_TOKEN": "token"}
    command = f'ulimit -n {limit}; exec "$@"'
    rtms = (sys.executable, "-m", "rtms_cli", "listen", "--port", "0", "--plain", "--media", "audio", "--out", "rec")
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command, "sh", *rtms, *arguments),
        cwd=folder,
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    found = Listening(process)
    while not found.url:
        line = (await process.stdout.readline()).decode()
        assert line, found.lines
        found.lines.append(line)
        found.url = line.split()[-1] if "listening on" in line else ""

    async def collect() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            found.lines.append(line.decode())

    collecting = asyncio.create_task(collect())
    try:
        yield found
    finally:
        process.terminate()
        await process.wait()
        await collecting


async def play(folder: Path, *, limit: int, idle: int, streams: int, seconds: float) -> Measured:
    """Record some streams in a crowd."""
    answers, probes_ms, descriptors = Counter[int](), list[float](), 0
    async with (
        listening(folder, limit) as found,
        Simulator(APP) as simulator,
    ):
        crowd = [await _say_nothing(found.port) for _ in range(idle)]
        announced = [simulator.announce(Product.MEETING, Scenario(seconds)) for _ in range(streams)]

        async def start(body: bytes) -> int:
            return await asyncio.to_thread(_post, found.port, body)

        statuses = await asyncio.gather(*(start(stream.webhook("started")) for stream in announced))
        answers.update(statuses)
        taken = [stream for stream, status in zip(announced, statuses, strict=True) if status == 200]
        done = asyncio.gather(*(stream.done() for stream in taken))
        number = 0
        while not done.done():
            number += 1
            probes_ms.append(await asyncio.to_thread(_probe, found.port, PROBE.replace(b"1,", b"%d," % number)))
            descriptors = max(descriptors, await asyncio.to_thread(_open_in, found.process.pid))
            crowd += [await _say_nothing(found.port) for _ in range(min(idle, 5))]
            await asyncio.sleep(0.1)
        await done
        cpu_s = sum(map(int, Path(f"/proc/{found.process.pid}/stat").read_text().split()[13:15])) / 100  # noqa: ASYNC240
        sent = sum(stream.report().sent["MEDIA_DATA_AUDIO"] for stream in taken)
        simulator.end()
        for writer in crowd:
            writer.close()
    manifests = [Manifest.read(path) for path in (folder / "rec").iterdir()]
    kept = sum(track.packets for manifest in manifests for track in manifest.tracks if track.kind == "audio")
    losses = sum(loss.count for manifest in manifests for loss in manifest.losses)
    return Measured(sent, kept, losses, answers, len(manifests), probes_ms, descriptors, cpu_s)


def _probe(port: int, body: bytes) -> float:
    """Post a webhook; how many ms that took."""
    began = time.perf_counter()
    assert _post(port, body) == 200
    return (time.perf_counter() - began) * 1000


def _post(port: int, body: bytes) -> int:
    """Post a webhook on its own connection, at once: those that say nothing give way. The status; 0 is not an
    answer."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed_headers("token", int(time.time()), body).items())
    head = f"POST /webhook HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as asking, suppress(ConnectionError):
        asking.sendall(head.encode() + body)
        return int((asking.recv(1000).split(b" ", 2) + [b"0"] * 2)[1])
    return 0


def _open_in(process: int) -> int:
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


async def _say_nothing(port: int) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    return writer


def main() -> None:
    """Play one, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("limit", 1024), ("idle", 1200), ("streams", 20), ("seconds", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            play(
                Path(folder),
                limit=options.limit,
                idle=options.idle,
                streams=options.streams,
                seconds=options.seconds,
            )
        )
    probes = sorted(found.probes_ms)
    print(
        json.dumps(
            {
                "sent": found.sent,
                "kept": found.kept,
                "losses": found.losses,
                "starts by status": found.answers,
                "folders": found.folders,
                "webhooks": len(probes),
                "median ms": round(probes[len(probes) // 2], 1),
                "slowest ms": round(probes[-1], 1),
                "most descriptors": found.descriptors,
                "cpu s": found.cpu_s,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
