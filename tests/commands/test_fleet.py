"""`rtms fleet` on a real Redis."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet.test_book import MS, body
from processes import rtms, running
from redis_server import RedisServer

from rtms_cli.fleet.dispatch import Held, WorkerStatus
from rtms_cli.fleet.queues import open_dispatch
from rtms_cli.protocol.webhooks import read_webhook


@pytest.fixture(scope="module")
def queue() -> Iterator[str]:
    """A queue with one worker, a stream of its and one that waits."""
    with RedisServer() as server:
        asyncio.run(_fill(server.url))
        yield server.url


async def _fill(url: str) -> None:
    async with open_dispatch(url) as dispatch:
        status = WorkerStatus("a-1-x", 200, 199, 0.02, version="9.9", since="2026-01-01T00:00:00Z")
        for stream in ("s1", "s2\x1b[2J"):
            raw = body("started", MS, stream=stream)
            await dispatch.offer(raw, read_webhook(raw), "http")
        (claim,) = await dispatch.take(status, 1)
        await dispatch.renew(status, {claim.stream_id: Held(1, 1, "recording")})


def test_workers_and_streams_are_shown(queue: str, tmp_path: Path) -> None:
    done = rtms("fleet", cwd=tmp_path, settings={"RTMS_QUEUE": queue})
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["1", "199"] in lines, "one waits; so many slots are free"
    assert [line[:6] for line in lines if line[:1] == ["a-1-x"]] == [["a-1-x", "working", "1", "200", "199", "20.0"]]
    assert [line[:4] for line in lines if line[:1] == ["s1"]] == [["s1", "recording", "a-1-x", "1"]]
    assert "waiting" in done.stdout
    assert "\x1b" not in done.stdout, "nothing from the queue, and no colour, reaches a pipe"


def test_it_is_one_object_for_programs(queue: str, tmp_path: Path) -> None:
    done = rtms("fleet", "--queue", queue, "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (told["waiting"], told["slots_free"]) == (1, 199)
    assert told["workers"][0]["status"]["worker"] == "a-1-x"
    assert {one["stream_id"]: one["owner"] for one in told["streams"]} == {"s1": "a-1-x", "s2\x1b[2J": ""}


def test_what_happened_to_a_stream(queue: str, tmp_path: Path) -> None:
    done = rtms("fleet", "--queue", queue, "--stream-id", "s1", "--json", cwd=tmp_path)
    assert [one["what"] for one in json.loads(done.stdout)["history"]] == ["offered", "taken"]
    shown = rtms("fleet", "--queue", queue, "--stream-id", "s1", cwd=tmp_path).stdout
    assert "taken" in shown
    assert "a-1-x" in shown
    unknown = rtms("fleet", "--queue", queue, "--stream-id", "s9", cwd=tmp_path)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no stream s9" in unknown.stderr


def test_a_worker_is_asked_to_drain(queue: str, tmp_path: Path) -> None:
    unknown = rtms("fleet", "--queue", queue, "--retire", "b", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "no worker b" in unknown.stderr
    assert rtms("fleet", "--queue", queue, "--retire", "a-1-x", cwd=tmp_path).returncode == 0
    done = rtms("fleet", "--queue", queue, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["workers"][0]["drain"]
    assert json.loads(done.stdout)["slots_free"] == 0


async def test_it_is_watched_also_while_the_queue_is_away(tmp_path: Path) -> None:
    with RedisServer() as server:
        async with running("fleet", "--queue", server.url, "--watch", "--json", cwd=tmp_path) as watched:
            assert json.loads(await watched.line_with("waiting"))["workers"] == []
            server.stop()
            assert "cannot be reached" in json.loads(await watched.line_with("error"))["error"]
            server.start()
            await watched.line_with("waiting")


def test_a_queue_that_is_not_there_or_not_named(tmp_path: Path) -> None:
    away = rtms("fleet", "--queue", "redis://u:hunter2@127.0.0.1:1", cwd=tmp_path)
    assert away.returncode == 3
    assert "cannot be reached" in away.stderr
    assert "hunter2" not in away.stdout + away.stderr
    assert "RTMS_QUEUE" in rtms("fleet", cwd=tmp_path).stderr
    both = rtms("fleet", "--queue", "redis://h", "--watch", "--stream-id", "x", cwd=tmp_path)
    assert both.returncode == 2


def test_a_password_of_a_queue_is_not_among_the_settings(tmp_path: Path) -> None:
    done = rtms("config", cwd=tmp_path, settings={"RTMS_QUEUE": "redis://u:hunter2@host"})
    assert "redis://host:6379/0" in done.stdout
    assert "hunter2" not in done.stdout
