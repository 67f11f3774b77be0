"""`/healthz`, `/readyz` and `/metrics`: of a listener, of a worker that takes no webhooks, and of a real process."""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from processes import CREDENTIALS, running

from rtms_cli.errors import Problem
from rtms_cli.station.disk_watch import DiskWatch
from rtms_cli.wire.listener import Listener, webhook_path
from rtms_cli.wire.probes import Probes, ProbeServer

ABOUT: Mapping[str, object] = {"status": "ok", "streams": [{"stream_id": "s"}], "queue": {"state": "reached"}}


def server(reasons: Sequence[str] = (), metrics: bytes | None = b"rtms_streams 0\n") -> ProbeServer:
    figures: Callable[[Mapping[int, int]], bytes] | None = None if metrics is None else lambda answers: metrics
    return ProbeServer("127.0.0.1", 0, Probes(lambda: dict(ABOUT), lambda: reasons, figures))


async def get(port: int, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.request(method, f"http://127.0.0.1:{port}{path}")


async def test_a_process_that_takes_no_webhooks_answers_probes() -> None:
    probes = server()
    port = await probes.start()
    alive, ready = await get(port, "/healthz"), await get(port, "/readyz")
    assert (alive.status_code, alive.json()) == (200, ABOUT)
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "reasons": [], "status": "ok", "queue": {"state": "reached"}}
    assert (await get(port, "/metrics")).text == "rtms_streams 0\n"
    assert (await get(port, "/webhook")).status_code == 404
    assert (await get(port, "/healthz", "POST")).status_code == 405
    assert (await get(port, "/healthz", "HEAD")).status_code == 200
    await probes.stop()


async def test_each_reason_not_to_be_ready_is_told() -> None:
    probes = server(["stopping (SIGTERM)", "the queue cannot be reached: it is away"], metrics=None)
    port = await probes.start()
    ready = await get(port, "/readyz")
    assert ready.status_code == 503
    assert ready.json()["reasons"] == ["stopping (SIGTERM)", "the queue cannot be reached: it is away"]
    assert not ready.json()["ready"]
    assert (await get(port, "/healthz")).status_code == 200  # it is alive anyway
    assert (await get(port, "/metrics")).status_code == 404
    await probes.stop()


async def test_a_listener_tells_whether_it_is_ready() -> None:
    reasons: list[str] = []
    listener = Listener(
        "127.0.0.1", 0, "/webhook", "t", lambda body, webhook: None, lambda: dict(ABOUT), not_ready=lambda: reasons
    )
    port = await listener.start()
    assert (await get(port, "/readyz")).status_code == 200
    reasons.append("full")
    assert (await get(port, "/readyz")).status_code == 503
    await listener.stop()


def test_no_webhook_comes_where_probes_are() -> None:
    with pytest.raises(Problem, match="is not a valid webhook path"):
        webhook_path("/readyz/")


async def test_a_port_that_is_taken_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        probes = ProbeServer("127.0.0.1", port, Probes(dict))
        with pytest.raises(Problem) as raised:
            await probes.start()
    assert "--health-port" in raised.value.remedy


async def test_a_disk_that_gets_short_or_goes_away(tmp_path: Path) -> None:
    out = tmp_path / "recordings"
    out.mkdir()
    disk = DiskWatch(out, free_nbytes=1, hour_nbytes=2)
    assert "the disk is short" in (disk.not_ready() or "")
    async with asyncio.timeout(20):
        while disk.not_ready() is not None:  # by now it was measured
            await asyncio.to_thread(int)  # threads are what it is measured in
    out.rmdir()
    async with asyncio.timeout(20):
        while disk.not_ready() is None:
            await asyncio.to_thread(int)  # threads are what it is measured in
    assert "cannot be used" in (disk.not_ready() or "")
    assert disk.health()["hour_bytes"] == 2


async def test_listen_says_when_it_is_full(tmp_path: Path) -> None:
    options = ["--port", "0", "--json", "--max-streams", "1"]
    async with running("listen", *options, cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = json.loads(await listen.line_with("listening on"))["text"].split("listening on ")[1]
        port = httpx.URL(url).port
        assert port is not None
        ready = await get(port, "/readyz")
        assert ready.status_code == 200
        assert ready.json()["disk"]["state"] == "ok"
        simulating = ["--webhook", url, "--seconds", "60", "--json"]
        async with running("simulate", *simulating, cwd=tmp_path, settings=CREDENTIALS) as simulate:
            await listen.line_with("CLIENT_READY_ACK")
            full = await get(port, "/readyz")
            assert full.status_code == 503
            assert "1 streams run already" in full.json()["reasons"][0]
            listen.process.terminate()
            assert await listen.exit_code() == 0
            await simulate.exit_code()
