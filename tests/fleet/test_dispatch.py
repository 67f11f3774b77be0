"""What every dispatch does, whatever is behind it: the book in this process, and a real Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from fleet.booked import Booked
from fleet.test_book import MS, body
from redis_server import RedisServer

from rtms_cli.errors import Problem
from rtms_cli.fleet import scripts
from rtms_cli.fleet.book import Book
from rtms_cli.fleet.dispatch import Claim, Dispatch, DispatchError, Finished, Held, News, Offered, WorkerStatus
from rtms_cli.fleet.queues import open_dispatch, read_queue_url
from rtms_cli.fleet.redis import MOST_CALLS, RedisDispatch, _too_old
from rtms_cli.protocol.webhooks import read_webhook

LEASE_S = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


class Rig:
    """A dispatch, and short words for its calls."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch

    async def offer(self, event: str, event_ts: int = 0, via: str = "http", **more: str | int) -> Offered:
        raw = body(event, MS + event_ts, **more)  # type: ignore[arg-type]
        return await self.dispatch.offer(raw, read_webhook(raw), via)

    async def take(self, worker: str = "a", most: int = 10) -> list[Claim]:
        return await self.dispatch.take(status(worker), most)

    async def silence(self, worker: str) -> None:
        """Let a lease pass in which only another worker is heard."""
        for _ in range(5):
            await asyncio.sleep(LEASE_S / 4)
            await self.dispatch.renew(status(worker), {})


START = body("started", MS)


def status(worker: str) -> WorkerStatus:
    return WorkerStatus(worker, 10, 10)


@pytest.fixture(params=["book", "redis"])
async def rig(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Rig]:
    if request.param == "book":
        yield Rig(Booked(Book(LEASE_S), asyncio.Condition()))
        return
    dispatch = RedisDispatch(read_queue_url(f"{server.url}?prefix={request.node.name[:40].replace('[', '-')}"), LEASE_S)
    yield Rig(dispatch)
    await dispatch.close()


async def test_a_start_is_taken_once_and_retries_change_nothing(rig: Rig) -> None:
    assert await rig.offer("started") is Offered.STARTS
    assert await rig.offer("started") is Offered.AGAIN
    assert await rig.offer("started", -1) is Offered.PAST
    (claim,) = await rig.take("a")
    assert (claim.stream_id, claim.epoch, claim.former, len(claim.news)) == ("s1", 1, "", 1)
    assert claim.news[0].body == body("started", MS)
    assert claim.recording.endswith("_meeting_s1")
    assert await rig.take("b") == []
    assert await rig.offer("started") is Offered.AGAIN


async def test_news_goes_to_the_owner_and_to_its_successor(rig: Rig) -> None:
    await rig.offer("started")
    await rig.take("a")
    assert await rig.offer("started", 1, url="wss://b.zoom.us") is Offered.NEWS
    assert await rig.offer("interrupted", 2) is Offered.NEWS
    assert await rig.offer("interrupted", 2) is Offered.AGAIN
    renewed = await rig.dispatch.renew(status("a"), {"s1": Held(1, 1, "recording")})
    assert [one.number for one in renewed.news["s1"]] == [2, 3]
    assert (await rig.dispatch.renew(status("a"), {"s1": Held(1, 3)})).news == {}
    await rig.dispatch.leave("a")
    (claim,) = await rig.take("b")
    assert [one.number for one in claim.news] == [1, 2, 3]


async def test_a_silent_owner_loses_its_stream_and_changes_nothing_any_more(rig: Rig) -> None:
    await rig.offer("started")
    await rig.take("a")
    assert await rig.take("b") == []
    await rig.silence("b")
    (claim,) = await rig.take("b")
    assert (claim.epoch, claim.former) == (2, "a")
    assert (await rig.dispatch.renew(status("a"), {"s1": Held(1, 1)})).lost == ("s1",)
    assert await rig.dispatch.finish("a", "s1", Held(1, 1), "complete") is Finished.LOST
    assert not await rig.dispatch.release("a", "s1", Held(1, 1))
    assert (await rig.dispatch.renew(status("b"), {"s1": Held(2, 1)})).lost == ()
    assert await rig.dispatch.finish("b", "s1", Held(2, 1), "complete") is Finished.DONE
    assert await rig.take("c") == []


async def test_what_comes_late_about_an_earlier_recording_changes_nothing(rig: Rig) -> None:
    await rig.offer("started")
    await rig.take("a")
    assert await rig.dispatch.finish("a", "s1", Held(1, 1), "complete") is Finished.DONE
    await rig.offer("started", 1000)
    (claim,) = await rig.take("a")
    assert (claim.epoch, [one.number for one in claim.news]) == (1, [2])
    assert await rig.dispatch.finish("a", "s1", Held(1, 1), "complete") is Finished.LOST
    assert not await rig.dispatch.release("a", "s1", Held(1, 1))
    assert await rig.dispatch.finish("a", "s1", Held(1, 2), "complete") is Finished.DONE


async def test_a_worker_takes_again_what_it_never_heard_that_it_has(rig: Rig) -> None:
    await rig.offer("started")
    await rig.take("a")
    assert await rig.take("a") == []
    await rig.silence("a")
    (claim,) = await rig.take("a")
    assert (claim.epoch, claim.former) == (2, "a")


async def test_a_released_stream_waits_as_long_as_was_said(rig: Rig) -> None:
    await rig.offer("started")
    await rig.take("a")
    assert await rig.dispatch.release("a", "s1", Held(1, 1), after_s=LEASE_S / 2, why="it is refused")
    assert await rig.take("b") == []
    await asyncio.sleep(LEASE_S / 2)
    (claim,) = await rig.take("b")
    assert (claim.epoch, claim.former) == (2, "a")


async def test_what_starts_again(rig: Rig) -> None:
    await rig.offer("started")
    (first,) = await rig.take()
    await rig.offer("stopped", 5)
    await rig.offer("started", 9)
    assert await rig.dispatch.finish("a", "s1", Held(1, 2), "interrupted") is Finished.STARTS_AGAIN
    (second,) = await rig.take("b")
    assert (second.recording, second.epoch, len(second.news)) == (first.recording, 2, 1)
    assert await rig.dispatch.finish("b", "s1", Held(2, 9), "interrupted") is Finished.DONE
    assert await rig.offer("started", 11) is Offered.GOES_ON
    (third,) = await rig.take("a")
    assert (third.recording, third.epoch) == (first.recording, 3)
    assert await rig.dispatch.finish("a", "s1", Held(3, 9), "complete") is Finished.DONE
    assert await rig.offer("started", 11, via="events") is Offered.AGAIN
    assert await rig.offer("started", 11) is Offered.STARTS
    (fourth,) = await rig.take("a")
    assert fourth.epoch == 1
    assert fourth.recording != first.recording


async def test_a_recording_that_is_revoked_after_its_end(rig: Rig) -> None:
    assert await rig.offer("stopped") is Offered.UNKNOWN
    await rig.offer("started")
    (claim,) = await rig.take()
    await rig.dispatch.finish("a", "s1", Held(1, 1), "complete")
    assert await rig.offer("stopped", 5) is Offered.UNKNOWN
    assert await rig.offer("stopped", 6, stop_reason=8) is Offered.NEWS
    (again,) = await rig.take("b")
    assert (again.recording, len(again.news)) == (claim.recording, 1)


async def test_a_worker_that_leaves_or_is_asked_to_drain(rig: Rig) -> None:
    await rig.offer("started")
    await rig.take("a")
    assert await rig.dispatch.drain("a")
    assert not await rig.dispatch.drain("nobody")
    assert (await rig.dispatch.renew(status("a"), {"s1": Held(1, 1)})).drain
    await rig.dispatch.leave("a")
    assert (await rig.take("b"))[0].former == "a"


async def test_what_is_reported(rig: Rig) -> None:
    await rig.offer("started")
    await rig.offer("started", stream="s2")
    await rig.take("a", 1)
    await rig.dispatch.renew(status("a"), {"s1": Held(1, 1, "recording")})
    report = await rig.dispatch.report()
    assert sorted((one.stream_id, one.owner, one.state) for one in report.streams) == [
        ("s1", "a", "recording"),
        ("s2", "", "waiting"),
    ]
    assert (report.waiting, report.slots_free, [one.streams for one in report.workers]) == (1, 10, [1])
    assert (await rig.dispatch.report(with_streams=False)).streams == ()
    assert [one.what for one in await rig.dispatch.history("s1")] == ["offered", "taken"]
    assert await rig.dispatch.history("s3") == []


async def test_who_waits_is_woken(rig: Rig) -> None:
    await rig.dispatch.renew(status("a"), {})
    waiting = asyncio.create_task(rig.dispatch.changed("a", 30))
    done: set[asyncio.Task[None]] = set()
    async with asyncio.timeout(20):
        number = 0
        while not done:  # it may not be waiting yet when the first one comes
            number += 1
            await rig.offer("started", stream=f"s{number}")
            if isinstance(rig.dispatch, Booked):
                await rig.dispatch.ring()
            done, _ = await asyncio.wait([waiting], timeout=0.2)
    await waiting


async def test_many_workers_never_share_a_stream(rig: Rig) -> None:
    for number in range(60):
        await rig.offer("started", stream=f"s{number}")
    taken = await asyncio.gather(*(rig.take(f"w{number % 8}", 3) for number in range(40)))
    streams = [claim.stream_id for claims in taken for claim in claims]
    assert sorted(streams) == sorted(f"s{number}" for number in range(60))


async def test_eight_clients_take_two_hundred_streams_once_each(server: RedisServer) -> None:
    """They are offered while they are taken, each start by two listeners."""
    where = read_queue_url(f"{server.url}?prefix=races")
    listeners = [Rig(RedisDispatch(where)) for _ in range(2)]
    workers = [Rig(RedisDispatch(where)) for _ in range(8)]
    taken: list[str] = []

    async def offer(listener: Rig) -> list[Offered]:
        return [await listener.offer("started", stream=f"s{number}") for number in range(200)]

    async def take(name: str, worker: Rig) -> None:
        while len(taken) < 200:
            taken.extend(claim.stream_id for claim in await worker.take(name, 3))

    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        offering = [group.create_task(offer(one)) for one in listeners]
        for place, worker in enumerate(workers):
            group.create_task(take(f"w{place}", worker))
    taken += [claim.stream_id for claim in await workers[0].take("w0", 10)]
    assert sorted(taken) == sorted(f"s{number}" for number in range(200))
    verdicts = [verdict for task in offering for verdict in task.result()]
    assert (verdicts.count(Offered.STARTS), verdicts.count(Offered.AGAIN)) == (200, 200)
    for rig in (*listeners, *workers):
        await rig.dispatch.close()


async def test_two_workers_are_woken_not_all(server: RedisServer) -> None:
    where = read_queue_url(f"{server.url}?prefix=bells")
    rigs = {name: Rig(RedisDispatch(where)) for name in "abcd"}
    for place, (name, rig) in enumerate(rigs.items()):
        await rig.dispatch.renew(WorkerStatus(name, 10, place), {})
    await rigs["a"].offer("started")
    async with asyncio.timeout(30):
        await asyncio.gather(*(rigs[name].dispatch.changed(name, 60) for name in "cd"))
    for name in "ab":
        waiting = rigs[name].dispatch.changed(name, 0.1)
        await waiting
        assert not rigs[name].dispatch._bells  # type: ignore[attr-defined]
    for rig in rigs.values():
        await rig.dispatch.close()


async def test_a_queue_that_forgot_its_stream_of_entries_gets_claims_back(server: RedisServer) -> None:
    import redis

    rig = Rig(RedisDispatch(read_queue_url(f"{server.url}?prefix=evicted"), LEASE_S))
    await rig.offer("started")
    await rig.take("a")
    with redis.Redis(port=server.port) as direct:
        await asyncio.to_thread(direct.delete, "{evicted}:queue")
    assert (await rig.dispatch.renew(status("a"), {"s1": Held(1, 1)})).lost == ()
    assert await rig.take("b") == []
    await rig.silence("b")
    (claim,) = await rig.take("b")
    assert (claim.epoch, claim.former) == (2, "a")
    await rig.dispatch.close()


async def test_a_queue_that_has_lost_its_data_takes_claims_back(server: RedisServer) -> None:
    import redis

    where = read_queue_url(f"{server.url}/7")
    rig = Rig(RedisDispatch(where, LEASE_S))
    await rig.offer("started")
    (claim,) = await rig.take()
    with redis.Redis(port=server.port, db=7) as direct:
        await asyncio.to_thread(direct.flushdb)
    held = Held(1, 1, "recording")
    assert (await rig.dispatch.renew(status("a"), {"s1": held})).unknown == ("s1",)
    assert await rig.dispatch.restore(status("a"), claim, held)
    assert await rig.dispatch.restore(status("a"), claim, held), "no call does harm twice"
    assert not await rig.dispatch.restore(status("b"), claim, held)
    assert await rig.take("b") == []
    assert await rig.offer("started") is Offered.AGAIN
    assert await rig.offer("stopped", 5) is Offered.NEWS
    await rig.silence("b")
    (taken,) = await rig.take("b")
    assert (taken.epoch, taken.recording, taken.created) == (2, claim.recording, claim.created)
    await rig.dispatch.close()


async def test_a_claim_that_a_former_owner_has_put_back_goes_to_its_owner(rig: Rig) -> None:
    first, later = (
        Claim("s1", epoch, "20251124T160000Z_meeting_s1", "2025-11-24T16:00:00.000Z", (News(1, START, "http"),), 0)
        for epoch in (1, 3)
    )
    assert await rig.dispatch.restore(status("a"), first, Held(1, 1, "recording"))
    held = {"s1": Held(3, 1, "recording")}
    assert (await rig.dispatch.renew(status("b"), held)).unknown == ("s1",)
    assert await rig.dispatch.restore(status("b"), later, held["s1"])
    assert (await rig.dispatch.renew(status("a"), {"s1": Held(1, 1, "recording")})).lost == ("s1",)
    assert not await rig.dispatch.restore(status("a"), first, Held(1, 1, "recording"))
    renewed = await rig.dispatch.renew(status("b"), held)
    assert (renewed.lost, renewed.unknown) == ((), ())
    await rig.silence("c")
    (taken,) = await rig.take("c")
    assert (taken.epoch, taken.former, [one.number for one in taken.news]) == (4, "b", [1])


async def test_a_server_that_is_away_frozen_or_refuses_us_is_named_without_its_password() -> None:
    with RedisServer() as server:
        url = f"redis://user:hunter2@127.0.0.1:{server.port}"
        async with open_dispatch(url) as dispatch:
            with pytest.raises(DispatchError) as refused:
                await dispatch.take(status("a"), 1)
        assert "denies access" in str(refused.value)
        assert "hunter2" not in str(refused.value)
        async with open_dispatch(server.socket_url) as dispatch:
            assert await dispatch.take(status("a"), 1) == []
            server.freeze()
            with pytest.raises(DispatchError, match="did not answer"):
                await dispatch.take(status("a"), 1)
            server.thaw()
            assert await dispatch.take(status("a"), 1) == []
            server.stop()
            with pytest.raises(DispatchError, match="cannot be reached"):
                await dispatch.take(status("a"), 1)
            server.start()
            assert await dispatch.take(status("a"), 1) == []


async def test_connections_are_few_and_a_wait_that_is_given_up_leaves_none_behind(server: RedisServer) -> None:
    import redis

    rig = Rig(RedisDispatch(read_queue_url(f"{server.url}?prefix=few")))
    with redis.Redis(port=server.port) as direct:
        before = len(await asyncio.to_thread(direct.client_list))
        verdicts = await asyncio.gather(*(rig.offer("started", stream=f"s{number}") for number in range(100)))
        assert verdicts == [Offered.STARTS] * 100
        for _ in range(20):
            waiting = asyncio.create_task(rig.dispatch.changed("a", 60))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
        await rig.dispatch.renew(status("a"), {})
        await rig.offer("started", stream="s100")
        async with asyncio.timeout(30):
            await rig.dispatch.changed("a", 60)
            while len(await asyncio.to_thread(direct.client_list)) - before > MOST_CALLS + 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    await rig.dispatch.close()


async def test_what_somebody_else_has_written_is_an_error_in_words(server: RedisServer) -> None:
    import redis

    rig = Rig(RedisDispatch(read_queue_url(f"{server.url}?prefix=spoilt")))
    await rig.offer("started")
    with redis.Redis(port=server.port) as direct:
        await asyncio.to_thread(direct.hdel, "{spoilt}:s:s1", "recording")
        with pytest.raises(DispatchError, match="foreign data"):
            await rig.take()
        await asyncio.to_thread(direct.set, "{spoilt}:queue", "text")
        with pytest.raises(DispatchError, match="refuses a command: "):
            await rig.take()
        await asyncio.to_thread(direct.hset, "{spoilt}:workers", "a", b"\xff{")
        assert (await rig.dispatch.report()).workers == ()
    await rig.dispatch.close()


async def test_a_server_that_may_forget_is_warned_of_once() -> None:
    told: list[str] = []
    with RedisServer() as server:
        server.stop()
        server.start("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
        async with open_dispatch(server.url, told.append) as dispatch:
            for _ in range(3):
                await dispatch.take(status("a"), 1)
    assert len(told) == 1
    assert "allkeys-lru" in told[0]


def test_which_versions_are_too_old() -> None:
    assert [one for one in ("5.0.7", "6.0.16", "6.2.0", "7.2.4", "10.0.1", "", "unstable") if _too_old(one)] == [
        "5.0.7",
        "6.0.16",
    ]


async def test_of_streams_that_have_ended_little_is_kept(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    assert "MOST_ENDED = 20000" in scripts.COMMON
    monkeypatch.setattr(scripts, "COMMON", scripts.COMMON.replace("MOST_ENDED = 20000", "MOST_ENDED = 3"))
    rig = Rig(RedisDispatch(read_queue_url(f"{server.url}?prefix=ended")))
    for number in range(10):
        await rig.offer("started", stream=f"s{number}")
        await rig.take()
        assert await rig.dispatch.finish("a", f"s{number}", Held(1, 1), "complete") is Finished.DONE
    await rig.dispatch.leave("a")
    with redis.Redis(port=server.port) as direct:
        keys = set(await asyncio.to_thread(direct.keys, "{ended}:*")) - {b"{ended}:looked"}  # soon gone
        kept = {key for key in keys if await asyncio.to_thread(direct.ttl, key) > 0}
        entries = await asyncio.to_thread(direct.xlen, "{ended}:queue")
        consumers = await asyncio.to_thread(direct.xinfo_consumers, "{ended}:queue", "workers")
    assert kept == {f"{{ended}}:{kind}:s{number}".encode() for kind in "sh" for number in (7, 8, 9)}
    assert {key.decode().partition(":")[2] for key in keys - kept} == {"queue", "ended", "alive"}
    assert (entries, consumers) == (0, [])
    await rig.dispatch.close()


@pytest.mark.parametrize(
    "url",
    ["", "http://x", "redis://", "redis://host/x", "redis://:hunter2@host/1?what=1", "redis://host:99999", "unix://"],
)
def test_what_is_no_queue(url: str) -> None:
    with pytest.raises(Problem) as refused:
        read_queue_url(url)
    assert "hunter2" not in str(refused.value)


def test_what_is_shown_of_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_queue_url("rediss://u:p@host").shown == "rediss://host:6379/0"
    assert read_queue_url("redis://[::1]:1/2?prefix=x").shown == "redis://[::1]:1/2?prefix=x"
    assert read_queue_url("unix:///a/b").shown == "unix:///a/b"
    monkeypatch.setenv("RTMS_QUEUE_PASSWORD", "hunter2")
    where = read_queue_url("redis://:other@host")
    assert where.password == "hunter2"
    assert "hunter2" not in json.dumps(repr(where))
