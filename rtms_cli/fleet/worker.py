"""A worker: takes streams from a dispatch, has a station record them, and renews its claims until they end.

Theory of operation. One loop talks to the queue: it renews every `RENEW_S` and whenever there may be news, and takes
streams while there are free slots. Each stream has its own task, which records it and then reports the result. While
the queue cannot be reached, the loop retries and recordings continue; see `claims` for what that allows.
"""

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rtms_cli import __version__
from rtms_cli.capture import Header
from rtms_cli.errors import Problem, log_defect
from rtms_cli.fleet.claims import Claims, Holding, Verdict, is_recording, judge_end
from rtms_cli.fleet.dispatch import (
    RENEW_S,
    Claim,
    Dispatch,
    DispatchError,
    Finished,
    Held,
    News,
    WorkerStatus,
)
from rtms_cli.fleet.parts import Guard, lost, part_folder
from rtms_cli.fleet.standing import Standing
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import StreamStart, StreamStop, read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder
from rtms_cli.station import log_context
from rtms_cli.station.run import Part
from rtms_cli.station.station import Outcome, Station

log = logging.getLogger(__name__)

EAGER_S = 1.0
"""Shortest time between renewals. If streams start all the time, there is always something new."""
RETRY_S = 1.0
"""Retry delay if the queue cannot be reached."""
AWAY_S = 30.0
"""How long a draining worker waits for an unreachable queue before it closes its sockets anyway."""
LAST_TRIES_S = 15.0
"""How long an ending worker tries to reach the queue. After that, its claims have expired anyway."""
ENDED = "ended"
"""The state of a claim whose recording has ended here but has not been reported to the queue."""

MakeRecorders = Callable[[Callable[[Path, Header, int], Path]], Callable[[Header], Recorder]]
"""Returns a factory of recorders, given a factory of their folders."""
OnOver = Callable[[Claim], Awaitable[tuple[Path, Manifest] | None]]
"""Called when an owner has finished a stream that is over for now, before this is reported; see `Worker`."""


def new_worker(slots: int) -> WorkerStatus:
    """Return the status of a new worker."""
    name = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(2)}"
    return WorkerStatus(name, slots, slots, version=__version__, since=iso_time(datetime.now(UTC)))


def now_ms() -> int:
    """Return milliseconds of a clock that includes sleep."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


class Worker:
    """See the module.

    :param about: the worker's name and number of slots.
    :param make_recorders: returns recorders for a part's folder.
    :param on_over: handles a recording whose stream is over for now: merges its parts, and returns the merged
        recording if there were any.
    :param revoke: deletes the recording of a stream that is over. Called with the claim and the stop.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        station: Station,
        about: WorkerStatus,
        make_recorders: MakeRecorders,
        *,
        on_over: OnOver | None = None,
        revoke: Callable[[Claim, StreamStop], Awaitable[None]] | None = None,
    ) -> None:
        self.claims = Claims(about.slots)
        self._dispatch = dispatch
        self._station = station
        self._about = about
        self._make_recorders = make_recorders
        self._on_over = on_over
        self._revoke = revoke
        self._owners: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, tuple[Held, Verdict]] = {}
        """Results of ended sessions and the news that they had seen, by claim."""
        self._left: dict[str, str] = {}
        """Streams left to other workers, and why."""
        self._guards: dict[str, Guard] = {}
        self._leases_changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._renewed_ms = -int(1000 * RENEW_S)
        self._stopping = False
        self._end_by_ms: int | None = None
        """Until when to retry reporting ends to an unreachable queue, if this worker has to end."""
        self.standing = standing = Standing(self.name, self.claims)
        station.statuses.append(standing.connection_status)
        station.more_health["fleet"] = standing.health
        station.more_readiness.append(standing.not_ready)
        station.more_figures.append(standing.figures)

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._about.worker

    # Public interface.

    async def run(self) -> None:
        """Work until `drain` or `stop` has finished."""
        log_context.worker.set(self.name)
        watching = asyncio.create_task(self.standing.watch_loop(), name="the event loop's delay")
        try:
            while not (self._stopping and not self._owners):
                pause_s = await self._turn()
                await self._pause(pause_s)
        finally:
            watching.cancel()
            await self._last_words()

    def drain(self, why: str, *, wait_s: float = 0.0) -> None:
        """Take no more streams, leave running ones to other workers, and end.

        :param wait_s: how long to wait first for streams to end by themselves.
        """
        if self.claims.is_draining:
            return
        self.claims.is_draining = True
        self._tell("draining", f"draining ({why}): {len(self.claims)} streams go to other workers")
        self._draining = asyncio.create_task(self._drain(why, wait_s), name="drain")
        self._wake.set()

    def stop(self, who: str) -> None:
        """Take no more streams, end the running ones, and end."""
        self.claims.is_draining = True
        self._begin_end()
        self._station.request_stop(who)
        self._wake.set()

    # The loop that talks to the queue.

    async def _turn(self) -> float:
        """Renew and take, once.

        :returns: in how many seconds the next turn is due.
        """
        asked_ms, next_s = now_ms(), RENEW_S
        try:
            since_ms = asked_ms - self._renewed_ms
            if since_ms < 1000 * EAGER_S:
                asked_ms, next_s = self._renewed_ms, EAGER_S
            else:
                await self._renew(asked_ms)
            for stream_id in self.claims.unreached(now_ms()):
                self._leave(stream_id, "its server cannot be reached from here")
            if self.claims.free and now_ms() >= self.claims.rests_until_ms:
                await self._take()
        except DispatchError as error:
            self._miss(error)
            return RETRY_S
        finally:
            async with self._leases_changed:
                self._leases_changed.notify_all()
        return max(0.0, next_s - (now_ms() - asked_ms) / 1000)

    async def _renew(self, asked_ms: int) -> None:
        held = self._held()
        answer = await self._dispatch.renew(self.claims.status(self._about), held)
        self._reached()
        self._renewed_ms = asked_ms
        changes = self.claims.renewed(asked_ms, held, answer)
        for stream_id in changes.lost:
            self._lose(stream_id)
        for stream_id, fresh in changes.news:
            self._hear(stream_id, fresh)
        for stream_id in changes.restore:
            await self._restore(stream_id)
        if changes.drain:
            self.drain("rtms fleet --drain")

    async def _take(self) -> None:
        asked_ms = now_ms()
        for claim in await self._dispatch.take(self.claims.status(self._about), self.claims.free):
            if claim.stream_id in self.claims:  # the queue has lost its data, or the answer to its end is late
                self._lose(claim.stream_id, "the queue offers it again")
            one = self.claims.take(claim, asked_ms, now_ms())
            self.standing.taken += 1
            if claim.epoch > 1:
                text = f"stream {claim.stream_id}: taken over from {claim.former or 'another worker'}"
                self._tell("taken over", text, claim, waited_ms=claim.waited_ms)
            else:
                self._tell("taken", f"stream {claim.stream_id}: taken", claim)
            former = self._owners.get(claim.stream_id)
            owner = asyncio.create_task(self._own(one, former), name=f"own {claim.stream_id}")
            self._owners[claim.stream_id] = owner
            owner.add_done_callback(functools.partial(self._owned, one))

    async def _restore(self, stream_id: str) -> None:
        if stream_id not in self.claims or self.claims[stream_id].state == ENDED:
            return  # an ended stream need not be restored
        asked_ms, one = now_ms(), self.claims[stream_id]
        is_ours = await self._dispatch.restore(self.claims.status(self._about), one.claim, one.held())
        self.claims.restored(stream_id, asked_ms, is_ours=is_ours)
        if is_ours:
            self._tell(
                "restored", f"stream {stream_id}: the queue had lost its data; the stream was restored", one.claim
            )
        else:
            self._lose(stream_id)

    def _held(self) -> dict[str, Held]:
        stages = {view.session.stream.stream_id: view.session.stage.value for view in self._station.snapshots()}
        for stream_id in self.claims.held():
            if stream_id in stages:
                self.claims[stream_id].state = is_recording(stages[stream_id])
        return self.claims.held()

    async def _pause(self, seconds: float) -> None:
        """Wait until the next turn is due or there is something to do."""
        if seconds <= 0 or self._wake.is_set():
            self._wake.clear()
            return
        waiting: list[asyncio.Task[Any]] = [asyncio.create_task(self._wake.wait(), name="wake")]
        if not self.standing.away:
            changed = self._dispatch.changed(self.name, seconds)
            waiting.append(asyncio.ensure_future(changed))
        done, rest = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        self._wake.clear()
        for task in done:
            error = task.exception()
            if isinstance(error, DispatchError):
                self._miss(error)
            elif error is not None:
                raise error

    def _reached(self) -> None:
        if self.standing.away:
            self.standing.away = ""
            self._tell("queue", "the queue is reachable again", state="reached")

    def _miss(self, error: DispatchError) -> None:
        if not self.standing.away:
            what = f"{error} {len(self.claims)} running streams continue; no new ones are taken."
            self._tell("queue", f"WARNING: {what}", state="away")
        self.standing.away = str(error)

    # One stream.

    async def _own(self, one: Holding, former: "asyncio.Task[None] | None") -> None:
        """Record a stream, and report the result.

        :param former: the task of an earlier claim of the same stream here.
        """
        if former is not None:
            await asyncio.wait([former])
        if not self.claims.has(one):
            return
        claim = one.claim
        starts = [news for news in claim.news if isinstance(read_webhook(news.body), StreamStart)]
        if not starts:
            await self._delete(one)
            return
        try:
            await self._record(one, starts[-1])
        except Problem as problem:
            self._station.notice(f"stream {claim.stream_id} is not recorded: {problem}")
            await self._settle(one, None, None)
        self._guards.pop(claim.stream_id, None)
        if one.is_lost:
            return
        held, verdict = self._ends.pop(claim.stream_id)
        await self._give_back(one, held, verdict, self._left.pop(claim.stream_id, ""))

    async def _settle(
        self, one: Holding, outcome: Outcome | None, manifest: Manifest | None
    ) -> tuple[Path | None, Manifest | None]:
        """Decide what to do with a claim whose session has ended, and finish the recording if it is over."""
        claim, held = one.claim, one.held()  # later news has not been seen by a session
        folder = None if outcome is None else outcome.folder
        if one.is_lost:
            return folder, manifest
        status, refused = ("failed", None) if outcome is None else (outcome.finish.status, outcome.refused_with)
        was_left = claim.stream_id in self._left
        verdict = judge_end(one, status, refused, now_ms(), was_left=was_left)
        self._ends[claim.stream_id] = held, verdict
        if verdict.finishes:
            self._tell("over", f"stream {claim.stream_id}: {verdict.status}", claim, status=verdict.status)
            if self._on_over is not None and (whole := await self._on_over(claim)) is not None:
                return whole
        return folder, manifest

    def _record(self, one: Holding, start: News) -> Awaitable[Outcome]:
        claim = one.claim
        webhook = read_webhook(start.body)
        assert isinstance(webhook, StreamStart)
        guard = self._guards[claim.stream_id] = Guard(
            lambda: self.claims.may_connect(one, now_ms()), lambda: self._settled(one)
        )
        for news in claim.news:
            guard.learn(news.body)
        make = self._make_recorders(part_folder(claim.recording, claim.epoch))
        settle = functools.partial(self._settle, one)
        part = Part(claim.epoch, _read_time(claim.created), make, guard.dialing, settle)
        recording = self._station.record_part(webhook.stream, start.body, start.via, part)
        for news in claim.news:
            if news.number > start.number:
                self._station.post(claim.stream_id, news.body, news.via)
        return recording

    async def _settled(self, one: Holding) -> None:
        """Wait until a stream is certainly ours.

        :raises FinalConnectionError: if it belongs to another worker.
        """
        self._wake.set()
        async with self._leases_changed:
            while not self.claims.may_connect(one, now_ms()):
                if not self.claims.has(one):
                    raise lost()
                await self._leases_changed.wait()

    async def _delete(self, one: Holding) -> None:
        """Delete the recording of a stream that was revoked after its end."""
        held = one.held()
        for news in one.claim.news:
            webhook = read_webhook(news.body)
            if isinstance(webhook, StreamStop) and self._revoke is not None:
                fields = {"stream_id": webhook.stream_id, "event_ts": webhook.event_ts}
                self._station.tell("revoked", fields, f"stream {webhook.stream_id} was revoked")
                await self._revoke(one.claim, webhook)
        await self._give_back(one, held, Verdict(finishes=True, status="revoked"), "")

    async def _give_back(self, one: Holding, held: Held, verdict: Verdict, why: str) -> None:
        """Report the result of a stream to the queue, as soon as it can be reached.

        :param held: the state of the claim when its recording ended.
        """
        claim, one.state = one.claim, ENDED
        while not one.is_lost:
            try:
                if verdict.finishes:
                    became = await self._dispatch.finish(self.name, claim.stream_id, held, verdict.status)
                    is_ours = became is not Finished.LOST
                else:
                    is_ours = await self._dispatch.release(
                        self.name, claim.stream_id, held, after_s=verdict.after_s, why=why
                    )
            except DispatchError as error:
                self._miss(error)
                if self._end_by_ms is not None and now_ms() > self._end_by_ms:
                    self._station.notice(f"WARNING: could not report to the queue how stream {claim.stream_id} ended")
                    break
                await asyncio.sleep(RETRY_S)
                continue
            if not is_ours and not self.standing.away:
                log.info("stream %s belonged to another worker when it ended here", claim.stream_id)
            break

    def _owned(self, one: Holding, task: "asyncio.Task[None]") -> None:
        claim = one.claim
        if self._owners.get(claim.stream_id) is task:
            del self._owners[claim.stream_id]
        self.claims.drop(one)
        self._wake.set()
        if not task.cancelled() and (defect := task.exception()) is not None:
            log_defect(log, f"stream {claim.stream_id} waits for another worker", defect)
            self._station.notice(f"WARNING: a defect in rtms ended stream {claim.stream_id} here: {defect!r}")

    def _lose(self, stream_id: str, why: str = "another worker took it over") -> None:
        one = self.claims[stream_id]
        one.is_lost = True
        if one.state == ENDED:  # the queue has received that, and its answer is on the way
            return
        self.standing.lost += 1
        self._tell("lost", f"WARNING: stream {stream_id}: {why}", one.claim)
        self._station.leave(stream_id, why)

    def _hear(self, stream_id: str, news: News) -> None:
        guard = self._guards.get(stream_id)
        if guard is not None:
            guard.learn(news.body)
        self._station.post(stream_id, news.body, news.via)

    # The end.

    async def _drain(self, why: str, wait_s: float) -> None:
        if wait_s and self._owners:
            await asyncio.wait(set(self._owners.values()), timeout=wait_s)
        # While the queue is unreachable, no worker can take a stream over, and data would be lost.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AWAY_S), self._leases_changed:
                while self.standing.away:
                    await self._leases_changed.wait()
        self._begin_end()
        for stream_id in list(self._owners):
            self._leave(stream_id, why)
        self._wake.set()

    def _leave(self, stream_id: str, why: str) -> None:
        """Leave a stream to another worker."""
        self._left[stream_id] = why
        self._station.leave(stream_id, why)

    def _begin_end(self) -> None:
        self._stopping = True
        self._end_by_ms = now_ms() + int(1000 * LAST_TRIES_S)

    async def _last_words(self) -> None:
        try:
            await self._dispatch.leave(self.name)
        except DispatchError as error:
            log.info("could not report to the queue that %s has left: %s", self.name, error)
        if self._owners:  # the loop was cancelled
            for task in self._owners.values():
                task.cancel()
            await asyncio.wait(set(self._owners.values()))

    def _tell(self, what: str, text: str, claim: Claim | None = None, **fields: object) -> None:
        about: dict[str, object] = {"what": what, "worker": self.name}
        if claim is not None:
            about |= {"stream_id": claim.stream_id, "epoch": claim.epoch, "recording": claim.recording}
        self._station.tell("fleet", about | fields, text)


def _read_time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.now(UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
