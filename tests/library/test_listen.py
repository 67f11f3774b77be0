"""Streams as webhooks announce them: each in a task of its own, and a clean end for all of them."""

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import rtms_cli
from rtms_cli import Audio, Problem, Recording, Streams
from rtms_cli.library import running
from rtms_cli.library import streams as module
from rtms_cli.machine import Finish
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream as Announced
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.station.observing import NOT_RECORDED
from rtms_cli.station.station import Outcome
from rtms_cli.wire.descriptors import in_use

APP: dict[str, Any] = {"client_id": "client", "client_secret": "secret", "secret_token": "token"}
LONG_S = 600


@asynccontextmanager
async def announced(seconds: float, count: int) -> AsyncIterator[tuple[Simulator, list[LiveStream]]]:
    async with Simulator(App("client", "secret", "token")) as simulator:
        yield simulator, [simulator.announce(Product.MEETING, Scenario(seconds), number) for number in range(count)]


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def until_sound(stream: rtms_cli.Stream) -> None:
    async for item in stream:
        if isinstance(item, Audio):
            return


async def nothing_listens(port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_each_stream_has_a_task_of_its_own() -> None:
    count = 4
    async with announced(1, count) as (simulator, live):
        samples: dict[str, int] = {}

        async def use(stream: rtms_cli.Stream) -> None:
            items = [item async for item in stream]
            samples[stream.stream_id] = sum(len(item.samples) for item in items if isinstance(item, Audio))

        async with asyncio.TaskGroup() as tasks, rtms_cli.listen(port=0, media="audio", **APP) as streams:
            for one in live:
                tasks.create_task(simulator.post(streams.url, one, "started"))
            users: list[asyncio.Task[None]] = []
            async for stream in streams:
                users.append(tasks.create_task(use(stream)))
                if len(users) == count:
                    break
            await asyncio.gather(*users)
        assert samples == {one.stream_id: 16000 for one in live}
        assert [one.report().findings for one in live] == [()] * count
        await nothing_listens(streams.port)


@pytest.mark.parametrize("how", ["leave", "cancel", "stop"])
async def test_leaving_ends_every_session_and_finishes_the_files(how: str, tmp_path: Path) -> None:
    async with announced(LONG_S, 2) as (simulator, live):
        listening: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()
        ended: list[rtms_cli.Stream] = []

        async def use(stream: rtms_cli.Stream) -> None:
            await until_sound(stream)
            ended.append(stream)
            if len(ended) == 2:
                begun.set()
            async for _ in stream:
                pass

        async def listen() -> None:
            async with asyncio.TaskGroup() as tasks, rtms_cli.listen(port=0, record=tmp_path, **APP) as streams:
                listening.set_result(streams)
                count = 0
                async for stream in streams:
                    tasks.create_task(use(stream))
                    count += 1
                    if how == "leave" and count == 2:
                        await begun.wait()
                        return

        task = asyncio.create_task(listen())
        streams = await listening
        for one in live:
            await simulator.post(streams.url, one, "started")
        await begun.wait()
        if how == "cancel":
            task.cancel()
        elif how == "stop":
            await streams.stop()
        await asyncio.wait([task])
        assert task.cancelled() == (how == "cancel")
        for one in live:
            await asyncio.wait_for(one.done(), 30)
            assert one.report().findings == ()
        await nothing_listens(streams.port)
    assert [stream.outcome.status for stream in ended if stream.outcome is not None] == ["complete"] * 2
    assert sorted(Recording(folder).status for folder in files_in(tmp_path)) == ["complete"] * 2


@pytest.mark.parametrize("closes", [True, False])
async def test_without_a_block_the_iteration_listens_while_it_lasts(closes: bool) -> None:
    async with announced(LONG_S, 1) as (simulator, (live,)):
        streams = rtms_cli.listen(port=0, **APP)

        async def invite() -> None:
            while not streams.port:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await simulator.post(streams.url, live, "started")

        inviting = asyncio.create_task(invite())
        if closes:
            async with contextlib.aclosing(streams.__aiter__()) as iteration:
                stream = await anext(iteration)
                await until_sound(stream)
        else:
            async for stream in streams:
                await until_sound(stream)
                break
            gc.collect()  # Python closes what nobody can go on with
        await inviting
        await asyncio.wait_for(live.done(), 30)
        outcome = await stream.done()
        assert outcome.status == "complete"
        await nothing_listens(streams.port)


async def test_a_stream_that_is_announced_again_is_given_again() -> None:
    async with announced(LONG_S, 1) as (simulator, (live,)):
        async with rtms_cli.listen(port=0, media="audio", **APP) as streams:
            await simulator.post(streams.url, live, "started")
            given = aiter(streams)
            first = await anext(given)
            await until_sound(first)
            outcome = await first.stop()
            assert outcome.status == "complete"
            await asyncio.wait_for(live.done(), 30)
            again = simulator.announce(Product.MEETING, Scenario(LONG_S), again=live)
            again.event_ts = live.event_ts + 1000
            await simulator.post(streams.url, again, "started")
            second = await anext(given)
            await until_sound(second)
    assert second is not first
    assert second.stream_id == first.stream_id


async def test_an_address_that_is_taken_is_a_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Problem, match="Cannot listen on"):
            async with rtms_cli.listen(port=port, **APP):
                raise AssertionError("it listens")
        with pytest.raises(Problem, match="Cannot listen on"):
            await anext(aiter(rtms_cli.listen(port=port, **APP)))


async def test_cancelled_while_it_begins() -> None:
    for pauses in range(4):
        streams = rtms_cli.listen(port=0, **APP)
        task = asyncio.create_task(streams.__aenter__())
        for _ in range(pauses):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [one for one in asyncio.all_tasks() if one.get_name() == "rtms"] == []


async def test_who_does_not_verify_webhooks_is_warned(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOOM_SECRET_TOKEN", raising=False)
    with caplog.at_level(logging.WARNING, "rtms_cli"):
        async with rtms_cli.listen(port=0, **APP | {"secret_token": None}):
            pass
    assert any("not verified" in record.message for record in caplog.records)


async def test_a_program_that_takes_no_stream_keeps_no_memory(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_UNTAKEN", 1)
    async with announced(LONG_S, 2) as (simulator, live), rtms_cli.listen(port=0, **APP) as streams:
        for one in live:
            await simulator.post(streams.url, one, "started")
            while not one.report().ready:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        stream = await anext(aiter(streams))
        assert stream.stream_id == live[1].stream_id
        await until_sound(stream)
    assert [
        live[0].stream_id in record.message for record in caplog.records if "too many are waiting" in record.message
    ] == [True]


async def test_no_more_streams_than_there_are_files_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "soft_limit", lambda: in_use() + 40)
    async with announced(LONG_S, 1) as (simulator, (live,)), rtms_cli.listen(port=0, **APP) as streams:
        await simulator.post(streams.url, live, "started")
        await until_sound(await anext(aiter(streams)))
    assert any("1 streams at once at most" in record.message for record in caplog.records)


def test_what_comes_from_outside_stays_on_one_line_of_a_log(caplog: pytest.LogCaptureFixture) -> None:
    hub, evil = module.Hub(1), "a\n\x1b[31mb\u202e"
    announced = Announced(Product.MEETING, "id", evil, "wss://127.0.0.1:1")
    finish = Finish("failed", None, f"closed ({evil})")
    with caplog.at_level(logging.INFO, "rtms_cli"):
        hub.on_notice(evil)
        hub.on_event("tap", {}, evil)
        hub.on_started(announced, None)
        hub.on_finished(announced, None, finish, None)
    assert len(caplog.records) == 4
    problem = module._problem(Outcome(announced, None, finish, False, NOT_RECORDED))
    assert problem is not None
    for text in (*(record.getMessage() for record in caplog.records), str(problem)):
        assert text.isprintable()
        assert "a\\n" in text
