"""The outbox thread: accepts events, returns messages, and waits for the disk so that no other thread has to."""

import logging
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.live.dispatch import Load, Remove, RemoveOld, RemoveReceiver
from rtms_cli.live.notifications import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    TRANSCRIPT,
    Endpoint,
    Subject,
    body_of,
    data_of,
    event_of,
)
from rtms_cli.live.outbox import Batch, BrokenOutboxError, Message, Outbox

log = logging.getLogger(__name__)

MOST_EVENTS, MOST_EVENTS_NBYTES = 10_000, 32 << 20
"""How much may wait for the disk."""
MOST_LINE_NBYTES = 256 << 10
"""Longer lines of a recording's files are not forwarded."""
MOST_JOBS = 500
"""Jobs per transaction."""
MOST_LOADED, MOST_LOADED_NBYTES = 20, 256 << 10
"""Messages of a lane that are fetched together."""
BATCH_LINES, BATCH_NBYTES = 200, 128 << 10
"""A batch of this size is sealed early."""
TAKE_OVER_S = 30.0
"""How often to look for messages of processes that have exited."""
AGAIN_S = 1.0
"""How long to wait after a failed write before trying again."""


class Line(Struct, frozen=True):
    """A line of a recording's file, as written."""

    kind: str
    """`transcript`, `chat` or `events`."""
    at: float
    subject: Subject
    line: bytes


class Ending(Struct, frozen=True):
    """The start or end of a stream. It is kept even if the stream is revoked."""

    event: str
    at: float
    subject: Subject
    data: Mapping[str, object]


class Revoke(Struct, frozen=True):
    """Drop what was said in a stream and has not been sent yet."""

    stream: str
    but: tuple[int, ...]


class Seal(Struct, frozen=True):
    """Seal every batch, so that it is sent."""


class Stop(Struct, frozen=True):
    """Finish the earlier jobs, then stop."""


Job = Line | Ending | Load | Remove | RemoveOld | RemoveReceiver | Revoke | Seal | Stop


class Waits(Struct, frozen=True):
    """A lane has messages waiting."""

    receiver: str
    stream: str


class Loaded(Struct, frozen=True):
    """The messages that `Load` fetched."""

    receiver: str
    stream: str
    messages: Sequence[Message]
    has_more: bool


class Dropped(Struct, frozen=True):
    """Messages that will not be delivered."""

    count: int
    why: str


class Said(Struct, frozen=True):
    """A line to show to the user."""

    text: str


class Sealed(Struct, frozen=True):
    """Every batch is sealed."""


class Done(Struct, frozen=True):
    """All jobs so far are done."""

    waiting: int
    """Messages in the outbox."""


News = Waits | Loaded | Dropped | Said | Sealed | Done


class _Open(Struct, frozen=True):
    """A batch that is still growing."""

    batch: Batch
    due: float
    """When to seal it, on the monotonic clock."""
    lines: tuple[bytes, ...]


class Desk:
    """Accepts jobs from any thread, and reports news.

    :param outbox: an open outbox. The desk closes it at the end.
    :param tell: called with news, on the desk's thread.
    """

    def __init__(self, outbox: Outbox, endpoints: Sequence[Endpoint], tell: Callable[[Sequence[News]], None]) -> None:
        self._outbox = outbox
        self._endpoints = endpoints
        self._tell = tell
        self._jobs: deque[Job] = deque()
        self._nbytes = 0
        self._events = 0
        self._may_work = threading.Condition()
        self._refused = 0
        self._batches: dict[tuple[str, float], _Open] = {}
        self._gone: frozenset[str] = frozenset()
        """Receivers that want no more messages."""
        self._take_over_at = time.monotonic()
        self._is_first = True
        self._is_failing = False
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="rtms-outbox", daemon=True)

    def start(self) -> None:
        """Start with what an earlier run left behind."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end after `Stop`, and return whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def put(self, job: Job) -> None:
        """Queue a job. Never waits; an event that does not fit is counted as dropped."""
        nbytes = len(job.line) if isinstance(job, Line) else 0
        is_event = isinstance(job, Line | Ending)
        share = 1.1 if isinstance(job, Ending) else 1.0
        with self._may_work:
            if is_event:
                too_many = self._events >= MOST_EVENTS * share or self._nbytes + nbytes > MOST_EVENTS_NBYTES * share
                if too_many or nbytes > MOST_LINE_NBYTES:
                    self._refused += 1
                    return
                self._events += 1
                self._nbytes += nbytes
            self._is_stopping = self._is_stopping or isinstance(job, Stop)
            self._jobs.append(job)
            self._may_work.notify()

    # On the thread.

    def _run(self) -> None:
        jobs: list[Job] = []
        while not any(isinstance(job, Stop) for job in jobs):
            jobs = self._next_jobs()
            failures = 0
            while not self._do(jobs):
                failures += 1
                with self._may_work:
                    if self._may_work.wait_for(lambda: self._is_stopping, AGAIN_S) and failures > 1:
                        self._give_up(jobs, "the disk does not accept writes")
                        break
        self._outbox.close()

    def _give_up(self, jobs: Sequence[Job], why: str) -> None:
        if count := sum(isinstance(job, Line | Ending) for job in jobs):
            self._tell([Dropped(count, why)])

    def _next_jobs(self) -> list[Job]:
        """Wait for jobs or for the next timed task."""
        due = min((one.due for one in self._batches.values()), default=self._take_over_at)
        due = min(due, self._take_over_at)
        with self._may_work:
            self._may_work.wait_for(lambda: self._jobs or self._refused, max(0.0, due - time.monotonic()))
            jobs = [self._jobs.popleft() for _ in range(min(MOST_JOBS, len(self._jobs)))]
            self._events -= sum(isinstance(job, Line | Ending) for job in jobs)
            self._nbytes -= sum(len(job.line) for job in jobs if isinstance(job, Line))
        return jobs

    def _do(self, jobs: Sequence[Job]) -> bool:
        """Do all jobs or none, and return whether they were done."""
        work = _Work(self._outbox, self._endpoints, dict(self._batches), self._gone)
        with self._may_work:
            refused, self._refused = self._refused, 0
        if refused:
            self._tell([Dropped(refused, "too many arrived at once, or they were too long")])
        try:
            self._outbox.commit(lambda: self._work(work, jobs))
        except BrokenOutboxError as error:
            self._renew(error)
            return False
        except sqlite3.Error as error:
            if not self._is_failing:
                self._is_failing = True
                self._tell([Said(f"WARNING: cannot save notifications: {error}; retrying")])
            return False
        except Exception:  # a defect in rtms loses these notifications, but not those that follow
            log.exception("a defect in the outbox")
            self._give_up(jobs, "of a defect in rtms")
            return True
        if self._is_failing:
            self._is_failing = False
            self._tell([Said("notifications are being saved again")])
        self._is_first = False
        self._batches, self._gone = work.batches, work.gone
        self._tell([*work.news, Done(self._outbox.waiting)])
        return True

    def _work(self, work: "_Work", jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        if self._is_first or now >= self._take_over_at:
            self._take_over_at = now + TAKE_OVER_S
            work.take_over(time.time(), is_first=self._is_first)
        for job in jobs:
            work.do(job, now)
        for key in [key for key, one in work.batches.items() if one.due <= now]:
            work.seal(key)

    def _renew(self, error: BrokenOutboxError) -> None:
        """Create a new file if the old one is gone or damaged."""
        lost = self._outbox.waiting
        try:
            aside = self._outbox.open()
            self._outbox.commit(self._keep_batches)
        except (Problem, BrokenOutboxError, sqlite3.Error) as problem:
            if not self._is_failing:
                self._is_failing = True
                self._tell([Said(f"WARNING: {problem}")])
            return
        where = "" if aside is None else f", and is now {aside}"
        self._tell([Said(f"WARNING: the outbox for notifications was damaged ({error}){where}")])
        if lost:
            self._tell([Dropped(lost, "they were in the damaged outbox")])

    def _keep_batches(self) -> None:
        for one in self._batches.values():
            self._outbox.grow(one.batch)


class _Work:
    """The changes of one transaction. If it fails, none of them happened."""

    def __init__(
        self,
        outbox: Outbox,
        endpoints: Sequence[Endpoint],
        batches: dict[tuple[str, float], _Open],
        gone: frozenset[str],
    ) -> None:
        self._outbox = outbox
        self._endpoints = endpoints
        self.batches = batches
        self.gone = gone
        self.news: list[News] = []

    def take_over(self, now: float, *, is_first: bool) -> None:
        """Take over what other processes left behind, and the first time also what an earlier run left."""
        if is_first:
            self._outbox.seal_own()
        dropped = self._outbox.take_over([endpoint.key for endpoint in self._endpoints], now)
        if dropped:
            self.news.append(Dropped(dropped, "their URLs are no longer configured, and they are a day old"))
        if is_first and (left := self._outbox.waiting):
            self.news.append(Said(f"sending notifications left by an earlier run: {left}"))
        self.news += [Waits(*lane) for lane in self._outbox.lanes() if lane[0] not in self.gone]

    def do(self, job: Job, now: float) -> None:
        """Do one job.

        :param now: on the monotonic clock.
        """
        match job:
            case Line():
                self._take_line(job, now)
            case Ending():
                if job.event in (INTERRUPTED, FINISHED, FAILED):
                    self._seal_all(job.subject.stream_id)
                self._send(job.event, body_of(job.event, job.at, job.subject, job.data), job.at, job.subject, kept=True)
            case Load():
                found, more = self._outbox.heads(job.receiver, job.stream, job.after, MOST_LOADED, MOST_LOADED_NBYTES)
                self.news.append(Loaded(job.receiver, job.stream, found, more))
            case Remove():
                self._outbox.remove([job.seq])
            case RemoveOld():
                self._drop(
                    self._outbox.remove_old(job.receiver, job.stream, job.after, job.before),
                    "not accepted for a day",
                )
            case RemoveReceiver():
                self.gone |= {job.receiver}
                self._remove_receiver(job.receiver, job.but)
            case Revoke():
                self.batches = {key: one for key, one in self.batches.items() if key[0] != job.stream}
                self._drop(self._outbox.remove_stream(job.stream, job.but), "their stream was revoked")
            case Seal():
                self._seal_all(None)
                self.news.append(Sealed())
            case Stop():
                self._seal_all(None)

    def seal(self, key: tuple[str, float]) -> None:
        """Seal a batch, so that it is sent."""
        for message, has_room in self._outbox.seal(self.batches.pop(key).batch.id):
            if message.receiver in self.gone:
                self._remove_receiver(message.receiver, ())
            else:
                self._announce_waiting(message, has_room)

    def _seal_all(self, stream: str | None) -> None:
        for key in [key for key in self.batches if stream in (None, key[0])]:
            self.seal(key)

    def _take_line(self, job: Line, now: float) -> None:
        event = event_of(job.kind, job.line)
        if event is None:
            return
        if event == TRANSCRIPT:
            for batch_s in {endpoint.batch_s for endpoint in self._wanting(event) if endpoint.batch_s}:
                self._gather(job, batch_s, now)
        body = body_of(event, job.at, job.subject, data_of(event, [job.line]))
        self._send(event, body, job.at, job.subject, kept=False)

    def _send(self, event: str, body: bytes, at: float, subject: Subject, *, kept: bool) -> None:
        message_id = new_id()
        for endpoint in self._wanting(event):
            if not (event == TRANSCRIPT and endpoint.batch_s):
                message = Message(endpoint.key, subject.stream_id, message_id, at, body, kept)
                self._announce_waiting(message, self._outbox.add(message))

    def _gather(self, job: Line, batch_s: float, now: float) -> None:
        key = job.subject.stream_id, batch_s
        former = self.batches.get(key)
        lines = (job.line,) if former is None else (*former.lines, job.line)
        at = job.at if former is None else former.batch.at
        body = body_of(TRANSCRIPT, at, job.subject, data_of(TRANSCRIPT, lines))
        if former is None:
            receivers = tuple(one.key for one in self._wanting(TRANSCRIPT) if one.batch_s == batch_s)
            batch, due = Batch(new_id(), receivers, job.subject.stream_id, at, body), now + batch_s
        else:
            batch, due = msgspec.structs.replace(former.batch, body=body), former.due
        self._outbox.grow(batch)
        self.batches[key] = _Open(batch, due, lines)
        if len(lines) >= BATCH_LINES or len(body) >= BATCH_NBYTES:
            self.seal(key)

    def _wanting(self, event: str) -> list[Endpoint]:
        return [one for one in self._endpoints if event in one.events and one.key not in self.gone]

    def _announce_waiting(self, message: Message, has_room: bool) -> None:
        if has_room:
            self.news.append(Waits(message.receiver, message.stream))
        else:
            self._drop(1, "too many are already waiting for their receiver")

    def _remove_receiver(self, receiver: str, but: Sequence[int]) -> None:
        self._drop(self._outbox.remove_receiver(receiver, but), "their receiver wants no more")

    def _drop(self, count: int, why: str) -> None:
        if count:
            self.news.append(Dropped(count, why))


def new_id() -> str:
    """Return an unguessable message id without full stops, as the specification requires."""
    return f"msg_{secrets.token_hex(14)}"
