"""What those who run a worker see of it, with a real Redis: its probes and its log."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from processes import CREDENTIALS, running, until
from redis_server import RedisServer


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def test_a_worker_tells_how_it_stands_and_logs_what_it_does(redis: RedisServer, tmp_path: Path) -> None:
    log = tmp_path / "work.log"
    logged = ["--log-format", "json", "--log-file", str(log)]
    options = ["--queue", redis.url, "--slots", "1", "--health-port", "0", "--plain", *logged]
    taking = ["--queue", redis.url, "--port", "0", "--json", "--out", str(tmp_path / "none")]
    async with (
        running("work", *options, cwd=tmp_path, settings=CREDENTIALS) as work,
        running("listen", *taking, cwd=tmp_path, settings=CREDENTIALS) as listen,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        url = (await work.line_with("health on")).split("health on ")[1].strip().removesuffix("/healthz")
        webhook = json.loads(await listen.line_with("listening on"))["text"].split("listening on ")[1]
        assert (await client.get(f"{url}/readyz")).status_code == 200
        simulating = ["--webhook", webhook, "--seconds", "60", "--json"]
        async with running("simulate", *simulating, cwd=tmp_path, settings=CREDENTIALS) as simulate:
            await work.line_with("recording Meeting")
            full = await client.get(f"{url}/readyz")
            assert full.status_code == 503
            assert "no free slot" in str(full.json()["reasons"])
            assert full.json()["fleet"]["slots"] == 1
            assert (await client.get(f"{url}/healthz")).status_code == 200
            metrics = (await client.get(f"{url}/metrics")).text
            assert "\nrtms_fleet_slots_free 0.0\n" in metrics
            simulate.process.terminate()
            await simulate.exit_code()
        await asyncio.to_thread(redis.stop)

        away: list[str] = []
        while not any("the queue cannot be reached" in reason for reason in away):
            away = (await client.get(f"{url}/readyz")).json()["reasons"]
        assert (await client.get(f"{url}/healthz")).status_code == 200
        work.process.kill()
        listen.process.kill()
    await until(log.exists)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    started = next(line for line in lines if line["event"] == "started")
    assert started["epoch"] == 1
    assert started["worker"] == full.json()["fleet"]["worker"]
    assert started["stream"]
    assert started["meeting"]
    assert all(line["worker"] == started["worker"] for line in lines)
