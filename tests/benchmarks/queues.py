"""What a fleet costs its queue:

    PYTHONPATH=tests python tests/benchmarks/queues.py [--workers 50] [--claims 200]

Offers as many streams as all workers have claims, has them taken, and lets every worker renew its claims some times,
with a Redis or Valkey of its own on this machine. Times and the server's share of a processor are by call; the server
counts commands, also those in scripts, and its memory. Runs in one process, so a call waits for no other one.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis import Redis
from redis_server import RedisServer

from rtms_cli.fleet.dispatch import RECORDING, RENEW_S, Held, WorkerStatus
from rtms_cli.fleet.queues import read_queue_url
from rtms_cli.fleet.redis import RedisDispatch
from rtms_cli.protocol.webhooks import read_webhook

T = TypeVar("T")
ROUNDS = 5
NOW_MS = 1_764_000_000_000


class Meter:
    """What calls cost the server."""

    def __init__(self, client: "Redis") -> None:
        self._client = client

    def info(self) -> tuple[float, int, int]:
        """Processor time in s, commands, and memory in bytes, so far."""
        info: dict[str, Any] = self._client.info("all")
        commands = sum(value["calls"] for name, value in info.items() if name.startswith("cmdstat_"))
        return info["used_cpu_sys"] + info["used_cpu_user"], commands, info["used_memory"]

    async def measure(
        self, what: str, call: Callable[[T], Awaitable[None]], each_of: Sequence[T]
    ) -> tuple[float, float]:
        """Make a call with each of some arguments, one after the other, and print what one costs.

        :returns: the server's processor time and commands of one.
        """
        cpu_s, commands, _ = self.info()
        times = []
        for one in each_of:
            began = time.perf_counter()
            await call(one)
            times.append(time.perf_counter() - began)
        more_cpu_s, more_commands, memory = self.info()
        times.sort()
        each_s, each = (more_cpu_s - cpu_s) / len(each_of), (more_commands - commands) / len(each_of)
        print(
            f"{what:28} {1000 * times[len(times) // 2]:8.2f} ms median, {1000 * times[-1]:8.2f} ms at most,"
            f" {1000 * each_s:7.3f} ms of the server, {each:7.1f} commands; it has {memory / 2**20:.1f} MiB"
        )
        return each_s, each


async def run(workers: int, claims: int) -> None:
    """Measure."""
    server = RedisServer()
    server.start()
    dispatch = RedisDispatch(read_queue_url(server.url))
    meter = Meter(Redis.from_url(server.url))
    names = [WorkerStatus(f"host{number}-1-abcd", claims, claims, version="1", since="-") for number in range(workers)]
    bodies = [_start(number) for number in range(workers * claims)]
    held: dict[str, dict[str, Held]] = {}

    async def take(status: WorkerStatus) -> None:
        taken = await dispatch.take(status, claims)
        held[status.worker] = {one.stream_id: Held(one.epoch, 1, RECORDING) for one in taken}

    async def offer(body: bytes) -> None:
        await dispatch.offer(body, read_webhook(body), "http")

    async def renew(status: WorkerStatus) -> None:
        await dispatch.renew(status, held[status.worker])

    async def look(status: WorkerStatus) -> None:
        await dispatch.take(status, 1)

    async def finish(ended: tuple[str, str, Held]) -> None:
        await dispatch.finish(*ended, "complete")

    async def report(_: int) -> None:
        await dispatch.report(with_streams=False)

    try:
        await dispatch.renew(names[0], {})
        _, _, empty = meter.info()
        await meter.measure("offer one stream", offer, bodies)
        await meter.measure(f"take {claims} streams", take, names)
        cpu_s, commands = await meter.measure(f"renew {claims} claims", renew, names * ROUNDS)
        await meter.measure("look for more, in vain", look, names)
        await meter.measure("report, without streams", report, range(20))
        ends = [(worker, stream, one) for worker, streams in held.items() for stream, one in streams.items()]
        await meter.measure("finish one stream", finish, ends)
        _, _, full = meter.info()
        print(f"memory for a stream, ended: {(full - empty) / len(bodies):.0f} bytes")
        print(
            f"{workers * claims} streams, renewed every {RENEW_S:.0f} s: {workers / RENEW_S:.1f} calls/s,"
            f" {commands * workers / RENEW_S:.0f} commands/s, {100 * cpu_s * workers / RENEW_S:.1f} % of a core"
        )
    finally:
        await dispatch.close()
        server.stop()


def _start(number: int) -> bytes:
    payload = {
        "meeting_uuid": f"meeting {number}",
        "rtms_stream_id": f"stream-{number:032}",
        "server_urls": "wss://rtms-sjc1-zone1.zoom.us:443",
        "signature": "0" * 64,
    }
    return json.dumps({"event": "meeting.rtms_started", "event_ts": NOW_MS + number, "payload": payload}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--claims", type=int, default=200)
    options = parser.parse_args()
    asyncio.run(run(options.workers, options.claims))


if __name__ == "__main__":
    main()
