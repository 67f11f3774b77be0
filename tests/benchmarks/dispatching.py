"""What a queue costs: `python tests/benchmarks/dispatching.py [STREAMS [SLOTS]]`.

Fills a real Redis with streams that workers hold, and asks the server what each call takes of its processor; so nothing
else that runs on the machine counts.
"""

import asyncio
import json
import sys

from redis.asyncio import Redis
from redis_server import RedisServer

from rtms_cli.fleet.dispatch import RENEW_S, Claim, Held, WorkerStatus
from rtms_cli.fleet.queues import read_queue_url
from rtms_cli.fleet.redis import RedisDispatch
from rtms_cli.protocol.webhooks import read_webhook

TIMES = 100


async def measure(streams: int, slots: int) -> dict[str, float]:
    """Milliseconds of the server's processor a call, kilobytes a stream, and the load of a fleet that only renews."""
    with RedisServer() as server:
        dispatch, direct = RedisDispatch(read_queue_url(server.url)), Redis(port=server.port)

        async def used_ms() -> float:
            told = await direct.info("cpu")
            return 1000 * (float(told["used_cpu_user"]) + float(told["used_cpu_sys"]))

        async def kilobytes() -> float:
            return float((await direct.info("memory"))["used_memory"]) / 1000

        empty, before = await kilobytes(), await used_ms()
        for number in range(streams):
            body = webhook(number)
            await dispatch.offer(body, read_webhook(body), "http")
        offered = await used_ms()
        held: dict[str, dict[str, Held]] = {}
        for place in range(-(-streams // slots)):
            name = f"worker-{place}"
            claims: list[Claim] = []
            while len(claims) < slots and (more := await dispatch.take(WorkerStatus(name, slots, 10), 10)):
                claims += more
            held[name] = {claim.stream_id: Held(claim.epoch, 1, "recording") for claim in claims}
        taken = await used_ms()
        names = list(held)
        for turn in range(TIMES):
            name = names[turn % len(names)]
            await dispatch.renew(WorkerStatus(name, slots, 0), held[name])
        renewed = await used_ms()
        for turn in range(TIMES):
            await dispatch.take(WorkerStatus(names[turn % len(names)], slots, 1), 1)
        looked = await used_ms()
        await dispatch.report(with_streams=False)
        kept = await kilobytes() - empty
        await dispatch.close()
        await direct.aclose()
    renew_ms, look_ms = (renewed - taken) / TIMES, (looked - renewed) / TIMES
    return {
        "streams": streams,
        "workers": len(held),
        "offer_ms": round((offered - before) / streams, 3),
        "take_ms": round((taken - offered) / streams, 3),
        "renew_ms": round(renew_ms, 3),
        "take_nothing_ms": round(look_ms, 3),
        "kilobytes_a_stream": round(kept / streams, 2),
        "load_of_the_server": round(len(held) * (renew_ms + look_ms) / (1000 * RENEW_S), 4),
    }


def webhook(number: int) -> bytes:
    """A start as Zoom sends it, by its size."""
    payload = {
        "account_id": "A" * 22, "operator_id": "B" * 22, "meeting_uuid": f"{number:022d}==",
        "rtms_stream_id": f"{number:032x}",
        "server_urls": f"wss://zoom{number % 50}.sjc.zoom.us:443/signaling/{'x' * 64}",
    }  # fmt: skip
    told = {"event": "meeting.rtms_started", "event_ts": 1_764_000_000_000 + number, "payload": payload}
    return json.dumps(told).encode()


if __name__ == "__main__":
    wanted = [int(one) for one in sys.argv[1:3]]
    print(json.dumps(asyncio.run(measure(*(wanted + [10_000, 200][len(wanted) :]))), indent=1))
