"""The scripts in Redis against the book: the same calls at the same times get the same answers.

Both go by one clock, which the test moves. So the scripts run with those parts changed that ask Redis for the time, or
have it wait.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Iterator
from typing import TypeVar

import pytest
from fleet.test_book import MS, body
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis_server import RedisServer

from rtms_cli.fleet import redis as in_redis
from rtms_cli.fleet import scripts
from rtms_cli.fleet.book import Book, _iso
from rtms_cli.fleet.dispatch import Claim, Held, Renewed, WorkerStatus
from rtms_cli.fleet.queues import read_queue_url
from rtms_cli.protocol.webhooks import read_webhook

T = TypeVar("T")
WORKERS = st.sampled_from("ab")
STREAMS = st.sampled_from(["s1", "s1", "s1", "s2"])
SECONDS = st.sampled_from([0, 0, 1, 4, 7, 16])
EVENTS = st.sampled_from(["started", "started", "started", "stopped", "interrupted"])
BY_REAL_TIME = [
    (
        "COMMON",
        "local now = time[1] * 1000 + math.floor(time[2] / 1000)",
        "local now = tonumber(redis.call('GET', 'clock'))",
    ),
    ("COMMON", "local IDLE = LEASE", "local IDLE = 0"),
    ("COMMON", "now + LEASE, 'PX', LEASE)", "now + LEASE)"),
    ("TAKE", "redis.call('SET', P .. 'looked', 1, 'NX', 'PX', math.ceil(LEASE / LOOKS))", "true"),
]
"""What goes by the server's own clock, in which script, and what stands for it here."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.mark.timeout(600)  # to find the shortest steps that show a difference takes long
def test_redis_has_the_rules_of_the_book(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, its, instead in BY_REAL_TIME:
        script = getattr(scripts, name)
        assert its in script
        monkeypatch.setattr(scripts, name, script.replace(its, instead))
    monkeypatch.setattr(in_redis, "_created", lambda: _iso(Both.now_ms))
    monkeypatch.setattr(Both, "url", server.url)
    run_state_machine_as_test(Both, settings=settings(max_examples=100, stateful_step_count=50, deadline=None))


class Both(RuleBasedStateMachine):
    """A book and a Redis that are asked the same."""

    now_ms = MS
    url = ""

    def __init__(self) -> None:
        super().__init__()
        Both.now_ms = MS
        self.runner = asyncio.Runner()
        self.book = Book()
        self.redis = in_redis.RedisDispatch(read_queue_url(self.url))
        self.claims: dict[str, dict[str, Claim]] = defaultdict(dict)
        """What each worker believes that it has; some of it is long lost."""
        self.event_ts = {"s1": 0, "s2": 0}
        self.run(self.redis._redis.flushdb())
        self.pass_time(0)

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self.runner.run(wait())

    def teardown(self) -> None:
        for stream in ("s1", "s2"):
            assert self.run(self.redis.history(stream)) == self.book.history(stream)
        self.run(self.redis.close())
        self.runner.close()

    def pass_time(self, seconds: int) -> None:
        Both.now_ms += 1000 * seconds
        self.run(self.redis._redis.set("clock", self.now_ms))

    @rule(
        event=EVENTS, later=st.sampled_from([0, 0, 1, 1, 1, -1]), stream=STREAMS,
        via=st.sampled_from(["http", "events"]), reason=st.sampled_from([6, 8]), seconds=SECONDS,
    )  # fmt: skip
    def offer(self, event: str, later: int, stream: str, via: str, reason: int, seconds: int) -> None:
        self.pass_time(seconds)
        self.event_ts[stream] += max(0, later)
        raw = body(event, MS + self.event_ts[stream] + min(0, later), stream, stop_reason=reason)
        webhook = read_webhook(raw)
        assert self.run(self.redis.offer(raw, webhook, via)) == self.book.offer(self.now_ms, raw, webhook, via)

    @rule(worker=WORKERS, seconds=SECONDS)
    def take(self, worker: str, seconds: int) -> None:
        self.pass_time(seconds)
        taken = sorted(self.run(self.redis.take(self.status(worker), 10)), key=lambda claim: claim.stream_id)
        assert taken == sorted(self.book.take(self.now_ms, self.status(worker), 10), key=lambda claim: claim.stream_id)
        self.claims[worker] |= {claim.stream_id: claim for claim in taken}

    @rule(
        worker=WORKERS,
        sees=st.sampled_from([True, True, True, False]),
        state=st.sampled_from(["recording", "connecting"]),
        forgets=STREAMS,
        seconds=SECONDS,
    )
    def renew(self, worker: str, *, sees: bool, state: str, forgets: str, seconds: int) -> None:
        """Where the worker forgets a stream, the answer was lost that gave it."""
        self.pass_time(seconds)
        if not sees:
            self.claims[worker].pop(forgets, None)
        held = {stream: self.held(claim, state) for stream, claim in self.claims[worker].items()}
        answer = self.run(self.redis.renew(self.status(worker), held))
        assert answer == self.book.renew(self.now_ms, self.status(worker), held)
        self.learn(worker, answer)

    def learn(self, worker: str, answer: Renewed) -> None:
        for stream, news in answer.news.items():
            claim = self.claims[worker][stream]
            self.claims[worker][stream] = Claim(
                stream, claim.epoch, claim.recording, claim.created, (*claim.news, *news), claim.waited_ms
            )

    @rule(worker=WORKERS, stream=STREAMS, status=st.sampled_from(["complete", "interrupted", "failed"]))
    def finish(self, worker: str, stream: str, status: str) -> None:
        if (claim := self.claims[worker].get(stream)) is not None:
            given = worker, stream, self.held(claim, ""), status
            assert self.run(self.redis.finish(*given)) == self.book.finish(self.now_ms, *given)

    @rule(worker=WORKERS, stream=STREAMS, after_s=st.sampled_from([0, 3, 20]))
    def release(self, worker: str, stream: str, after_s: int) -> None:
        if (claim := self.claims[worker].get(stream)) is not None:
            given = worker, stream, self.held(claim, "")
            released = self.run(self.redis.release(*given, after_s=after_s, why="why"))
            assert released == self.book.release(self.now_ms, *given, after_s=after_s, why="why")

    @rule(what=st.sampled_from(["leave", "drain", "lose data"]), worker=WORKERS)
    def befall(self, what: str, worker: str) -> None:
        if what == "leave":
            self.run(self.redis.leave(worker))
            self.book.leave(self.now_ms, worker)
        elif what == "drain":
            assert self.run(self.redis.drain(worker)) == self.book.drain(worker)
        else:
            self.lose_data()

    def lose_data(self) -> None:
        """All workers tell again what they have, in any order."""
        self.run(self.redis._redis.flushdb())
        self.book = Book()
        self.pass_time(0)
        for worker, claims in self.claims.items():
            for claim in claims.values():
                given = self.status(worker), claim, self.held(claim, "recording")
                assert self.run(self.redis.restore(*given)) == self.book.restore(self.now_ms, *given)

    @invariant()
    def all_is_reported_alike(self) -> None:
        one, other = self.run(self.redis.report()), self.book.report(self.now_ms)
        assert sorted(one.streams, key=lambda stream: stream.stream_id) == sorted(
            other.streams, key=lambda stream: stream.stream_id
        )
        assert sorted(one.workers, key=lambda worker: worker.status.worker) == list(other.workers)
        assert (one.waiting, one.slots_free) == (other.waiting, other.slots_free)

    @staticmethod
    def status(worker: str) -> WorkerStatus:
        return WorkerStatus(worker, 10, 10)

    @staticmethod
    def held(claim: Claim, state: str) -> Held:
        return Held(claim.epoch, max(news.number for news in claim.news), state)
