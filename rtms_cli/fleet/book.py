"""Which worker records which stream: the rules of the dispatch, without a clock, a socket or a thread.

`local` serves a `Book` to the processes of one machine, the fleet simulation uses it, and tests compare the Redis
scripts with it. `dispatch` documents the calls. Each takes the time as its first argument, in monotonic Unix
milliseconds.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rtms_cli.fleet.dispatch import (
    KEPT_S,
    LEASE_S,
    MOST_NEWS,
    RECORDING,
    RENEW_S,
    Claim,
    Facts,
    Finished,
    FleetReport,
    FleetStream,
    FleetWorker,
    Happening,
    Held,
    News,
    Offered,
    Renewed,
    WorkerStatus,
    facts_of,
)
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import Webhook, is_older, read_webhook
from rtms_cli.recording.names import unique_name

WAITING = "waiting"
OWNED = "owned"
INTERRUPTED = "interrupted"
"""The recording ended before the stream did. A later start continues it."""
MOST_ENDED = 1000
"""How many ended streams are remembered."""


class _Stream:
    """The state of one stream."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.state = ""
        """`WAITING`, `OWNED`, `INTERRUPTED`, or how it ended."""
        self.said = ""
        """The state that its owner reports."""
        self.recording = ""
        self.created = ""
        self.offered_ms = 0
        self.epoch = 0
        self.owner = ""
        self.former = ""
        self.heard_ms = 0
        """When its owner last called. While the stream waits: since when."""
        self.recorded_ms = 0
        """When its owner last reported that it was recording; at first, when the stream was offered."""
        self.not_before_ms = 0
        self.start: Facts | None = None
        """The newest start."""
        self.ways: Counter[str] = Counter()
        """How often it arrived by each channel."""
        self.told: set[tuple[str, int | None]] = set()
        """Ends and losses since the recording began."""
        self.past_ms: int | None = None
        """The newest end or loss of earlier recordings. Anything that is not newer belongs to them."""
        self.last_start = 0
        """The number of the newest start."""
        self.number = 0
        self.news: list[News] = []
        self.history: deque[Happening] = deque(maxlen=MOST_NEWS)

    @property
    def is_open(self) -> bool:
        """Whether it is waiting or being recorded."""
        return self.state in (WAITING, OWNED)

    def add(self, body: bytes, via: str) -> None:
        """Add news."""
        self.number += 1
        self.news.append(News(self.number, body, via))
        if len(self.news) > MOST_NEWS:  # keep the start and the newest ones
            del self.news[1]

    def wait(self, now_ms: int, after_ms: int = 0) -> None:
        """Make it available to the next owner."""
        if self.owner:
            self.former = self.owner
        self.state, self.owner, self.said = WAITING, "", ""
        self.not_before_ms = now_ms + after_ms

    def note(self, now_ms: int, what: str, text: str = "", who: str = "") -> None:
        """Add a line to its history."""
        self.history.append(Happening(_iso(now_ms), what, self.epoch, who, text))


class Book:
    """See the module docstring and `Dispatch`.

    :param lease_s: see `LEASE_S`.
    """

    def __init__(self, lease_s: float = LEASE_S) -> None:
        self._lease_ms = int(lease_s * 1000)
        self._streams: dict[str, _Stream] = {}
        """In the order in which they were offered."""
        self._workers: dict[str, tuple[WorkerStatus, int]] = {}
        """The last status of each worker, and its time."""
        self._has: dict[str, int] = {}
        """How many streams each worker reported."""
        self._alive_ms: int | None = None
        """When any worker last called."""
        self._grace_ms = 0
        """Until when nothing is taken over. After an outage, all workers first need time to renew their claims."""
        self._draining: set[str] = set()

    def offer(self, now_ms: int, body: bytes, webhook: Webhook, via: str) -> Offered:
        """See `Dispatch.offer`."""
        facts = facts_of(webhook)
        if not facts.kind:
            return Offered.UNKNOWN
        stream = self._streams.get(facts.stream_id)
        if facts.kind == "start":
            verdict = self._offer_start(now_ms, facts, stream, body, via)
        else:
            verdict = self._offer_end(now_ms, facts, stream, body, via)
        self._forget(now_ms)
        return verdict

    def _offer_start(self, now_ms: int, facts: Facts, stream: _Stream | None, body: bytes, via: str) -> Offered:
        if stream is None:
            self._begin(now_ms, facts, body, via)
            return Offered.STARTS
        assert stream.start is not None, "every offered or restored stream has one"
        is_same = (facts.event_ts, facts.urls) == (stream.start.event_ts, stream.start.urls)
        if is_older(facts.event_ts, stream.start.event_ts):
            stream.note(now_ms, "past", "a start older than the last one")
            return Offered.PAST
        if is_same:
            stream.ways[via] += 1
            if stream.is_open:
                return Offered.AGAIN
            # One event may arrive by HTTP and by the event WebSocket, the second time after the stream has ended.
            if any(count >= stream.ways[via] for other, count in stream.ways.items() if other != via):
                return Offered.AGAIN
        else:
            stream.ways = Counter({via: 1})
        if stream.is_open:
            stream.start = facts
            stream.add(body, via)
            stream.last_start = stream.number
            stream.note(now_ms, "news", "a newer start")
            return Offered.NEWS
        if stream.state != INTERRUPTED:
            self._begin(now_ms, facts, body, via, stream)
            return Offered.STARTS
        self._go_on(now_ms, stream, facts, body, via)
        return Offered.GOES_ON

    def _begin(self, now_ms: int, facts: Facts, body: bytes, via: str, before: _Stream | None = None) -> None:
        """Make a stream available to the first owner of a new recording."""
        stream = self._streams[facts.stream_id] = _Stream(facts.stream_id)
        stream.created, stream.offered_ms, stream.recorded_ms = _iso(now_ms), now_ms, now_ms
        stream.recording = unique_name(stream.created, facts.product, facts.stream_id)
        stream.start, stream.ways = facts, Counter({via: 1})
        if before is not None:
            stream.number, stream.history = before.number, before.history
            stream.past_ms, stream.ways = _newest(before), before.ways
            if before.recording == stream.recording:
                stream.recording += "_2"
            del self._streams[facts.stream_id]
            self._streams[facts.stream_id] = stream  # behind the others
        stream.add(body, via)
        stream.last_start = stream.number
        stream.wait(now_ms)
        stream.heard_ms = now_ms
        stream.note(now_ms, "offered", stream.recording)

    def _go_on(self, now_ms: int, stream: _Stream, facts: Facts, body: bytes, via: str) -> None:
        """Make a stream with an interrupted recording available to the next owner."""
        stream.past_ms, stream.told = _newest(stream), set()
        stream.start, stream.news = facts, []
        stream.add(body, via)
        stream.last_start = stream.number
        stream.wait(now_ms)
        stream.heard_ms = stream.recorded_ms = now_ms
        stream.note(now_ms, "offered", "its recording continues")

    def _offer_end(self, now_ms: int, facts: Facts, stream: _Stream | None, body: bytes, via: str) -> Offered:
        if stream is None:
            return Offered.UNKNOWN
        assert stream.start is not None, "every offered or restored stream has one"
        if is_older(facts.event_ts, stream.start.event_ts):
            stream.note(now_ms, "past", f"{facts.kind}, from before the last start")
            return Offered.PAST
        if facts.event_ts is not None and stream.past_ms is not None and facts.event_ts <= stream.past_ms:
            return Offered.PAST
        if (facts.kind, facts.event_ts) in stream.told:
            return Offered.AGAIN
        if not stream.is_open and not facts.is_revoked:
            stream.told.add((facts.kind, facts.event_ts))
            return Offered.UNKNOWN
        stream.told.add((facts.kind, facts.event_ts))
        if not stream.is_open:  # revoked after its end: a worker has to delete its recording
            stream.news = []
            stream.wait(now_ms)
            stream.heard_ms = now_ms
        stream.add(body, via)
        stream.note(now_ms, "news", facts.kind)
        return Offered.NEWS

    def take(self, now_ms: int, status: WorkerStatus, most: int) -> list[Claim]:
        """See `Dispatch.take`."""
        self._hear(now_ms, status)
        taken: list[Claim] = []
        for stream in list(self._streams.values()):
            if len(taken) >= most:
                break
            if not self._may_be_taken(now_ms, stream):
                continue
            former, waited_ms = stream.owner or stream.former, now_ms - stream.recorded_ms
            stream.epoch += 1
            what = "taken over" if stream.owner else "taken"
            stream.state, stream.owner, stream.former, stream.said = OWNED, status.worker, "", ""
            stream.heard_ms = now_ms
            stream.note(now_ms, what, f"from {former}" if former else "", status.worker)
            taken.append(
                Claim(
                    stream.stream_id,
                    stream.epoch,
                    stream.recording,
                    stream.created,
                    tuple(stream.news),
                    waited_ms,
                    former,
                )
            )
        return taken

    def _may_be_taken(self, now_ms: int, stream: _Stream) -> bool:
        if stream.state == WAITING:
            return stream.not_before_ms <= now_ms
        # Including the worker's own streams: it renews before it takes, so it never learned that it has this one.
        return stream.state == OWNED and now_ms >= self._grace_ms and now_ms - stream.heard_ms >= self._lease_ms

    def renew(self, now_ms: int, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        """See `Dispatch.renew`."""
        self._hear(now_ms, status)
        self._has[status.worker] = len(held)
        lost, unknown, news = [], [], {}
        for stream_id, claim in held.items():
            stream = self._streams.get(stream_id)
            if stream is None or (stream.state == OWNED and claim.epoch > stream.epoch):
                unknown.append(stream_id)  # or put back by a former owner that did not know that it had lost it
            elif not _is_owner(stream, status.worker, claim.epoch):
                lost.append(stream_id)
            else:
                stream.heard_ms, stream.said = now_ms, claim.state
                if claim.state == RECORDING:
                    stream.recorded_ms = now_ms
                if fresh := tuple(one for one in stream.news if one.number > claim.seen):
                    news[stream_id] = fresh
        self._forget(now_ms)
        return Renewed(tuple(lost), tuple(unknown), news, status.worker in self._draining)

    def restore(self, now_ms: int, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        """See `Dispatch.restore`."""
        self._hear(now_ms, status)
        known = self._streams.get(claim.stream_id)
        if known is not None and not _is_older(known, claim):
            return _is_owner(known, status.worker, claim.epoch)
        stream = self._streams[claim.stream_id] = _Stream(claim.stream_id)
        if known is not None:
            stream.history = known.history
        stream.state, stream.owner, stream.epoch, stream.said = OWNED, status.worker, claim.epoch, held.state
        stream.recording, stream.created = claim.recording, claim.created
        stream.offered_ms = stream.heard_ms = stream.recorded_ms = now_ms
        stream.start = Facts("")  # a stream that was revoked after its end has no start in its news
        for one in claim.news:
            facts = facts_of(read_webhook(one.body))
            if facts.kind == "start":
                stream.start, stream.last_start, stream.ways = facts, one.number, Counter({one.via: 1})
            else:
                stream.told.add((facts.kind, facts.event_ts))
            stream.news.append(one)
            stream.number = max(stream.number, one.number)
        stream.note(now_ms, "restored", stream.recording, status.worker)
        return True

    def finish(self, now_ms: int, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        """See `Dispatch.finish`."""
        stream = self._streams.get(stream_id)
        if stream is None or not (_is_owner(stream, worker, held.epoch) and _has_begun(stream, held.seen)):
            return Finished.LOST
        stream.note(now_ms, "finished", status, worker)
        stream.heard_ms = now_ms
        if stream.last_start > held.seen:
            self._start_again(now_ms, stream, status)
            return Finished.STARTS_AGAIN
        stream.state, stream.owner, stream.said, stream.former = status, "", "", worker
        return Finished.DONE

    def _start_again(self, now_ms: int, stream: _Stream, status: str) -> None:
        start, facts = next(one for one in stream.news if one.number == stream.last_start), stream.start
        later = [one for one in stream.news if one.number > start.number]
        assert facts is not None
        stream.state, stream.former, stream.owner = status, stream.owner, ""
        if status == INTERRUPTED:
            self._go_on(now_ms, stream, facts, start.body, start.via)
        else:
            self._begin(now_ms, facts, start.body, start.via, stream)
        for one in later:
            self._streams[stream.stream_id].add(one.body, one.via)

    def release(
        self, now_ms: int, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = ""
    ) -> bool:
        """See `Dispatch.release`."""
        stream = self._streams.get(stream_id)
        if stream is None or not (_is_owner(stream, worker, held.epoch) and _has_begun(stream, held.seen)):
            return False
        stream.wait(now_ms, int(after_s * 1000))
        stream.note(now_ms, "released", why, worker)
        return True

    def leave(self, now_ms: int, worker: str) -> None:
        """See `Dispatch.leave`."""
        self._forget_worker(worker)
        for stream in self._streams.values():
            if stream.state == OWNED and stream.owner == worker:
                stream.wait(now_ms)
                stream.note(now_ms, "released", "its worker has left", worker)

    def drain(self, worker: str) -> bool:
        """See `Dispatch.drain`."""
        if worker not in self._workers:
            return False
        self._draining.add(worker)
        return True

    def due_ms(self, worker: str) -> int | None:
        """Return when a worker may take the next stream, or `None` if there is none."""
        due = [
            stream.not_before_ms if stream.state == WAITING else stream.heard_ms + self._lease_ms
            for stream in self._open()
            if stream.owner != worker
        ]
        return min(due, default=None)

    def has_news(self, worker: str, held: Mapping[str, Held]) -> bool:
        """Return whether there is news for a worker, or a request to drain."""
        return worker in self._draining or any(
            stream is not None and stream.owner == worker and stream.number > claim.seen
            for stream, claim in ((self._streams.get(stream_id), claim) for stream_id, claim in held.items())
        )

    def spread(self, now_ms: int) -> tuple[int, Counter[str]]:
        """Return how many streams a worker without streams could take now, and how many each worker has."""
        owned: Counter[str] = Counter()
        waiting = 0
        for stream in self._open():
            if self._may_be_taken(now_ms, stream):
                waiting += 1
            elif stream.owner:
                owned[stream.owner] += 1
        return waiting, owned

    def state(self, stream_id: str) -> str:
        """Return a stream's state: `WAITING`, `OWNED`, `INTERRUPTED`, how it ended, or empty for an unknown stream."""
        stream = self._streams.get(stream_id)
        return "" if stream is None else stream.state

    def report(self, now_ms: int, *, with_streams: bool = True) -> FleetReport:
        """See `Dispatch.report`."""
        workers = tuple(
            FleetWorker(status, self._has.get(name, 0), now_ms - heard_ms, name in self._draining)
            for name, (status, heard_ms) in sorted(self._workers.items())
        )
        streams = tuple(
            FleetStream(
                stream.stream_id,
                stream.recording,
                stream.epoch,
                stream.owner,
                (stream.said or RECORDING) if stream.state == OWNED else stream.state,
                stream.created,
                now_ms - stream.offered_ms,
                now_ms - stream.heard_ms,
            )
            for stream in self._streams.values()
            if with_streams
        )
        waiting = sum(stream.state == WAITING for stream in self._streams.values())
        alive = [worker for worker in workers if worker.silent_ms < self._lease_ms and not worker.drain]
        return FleetReport(workers, streams, waiting, sum(worker.status.free for worker in alive))

    def history(self, stream_id: str) -> list[Happening]:
        """See `Dispatch.history`."""
        stream = self._streams.get(stream_id)
        return [] if stream is None else list(stream.history)

    def _forget_worker(self, worker: str) -> None:
        self._workers.pop(worker, None)
        self._has.pop(worker, None)
        self._draining.discard(worker)

    def _open(self) -> Iterator[_Stream]:
        return (stream for stream in self._streams.values() if stream.is_open)

    def _hear(self, now_ms: int, status: WorkerStatus) -> None:
        if self._alive_ms is not None and now_ms - self._alive_ms > 2000 * RENEW_S:
            self._grace_ms = now_ms + self._lease_ms
        self._alive_ms = now_ms
        self._workers[status.worker] = status, now_ms

    def _forget(self, now_ms: int) -> None:
        """Forget streams that ended long ago, and silent workers."""
        kept_ms = int(KEPT_S * 1000)
        ended = [stream for stream in self._streams.values() if not stream.is_open]
        too_many = len(ended) - MOST_ENDED
        for place, stream in enumerate(ended):
            if place < too_many or now_ms - stream.heard_ms > kept_ms:
                del self._streams[stream.stream_id]
        for name, (_, heard_ms) in list(self._workers.items()):
            if now_ms - heard_ms > 20 * self._lease_ms:
                self._forget_worker(name)


def _is_owner(stream: _Stream, worker: str, epoch: int) -> bool:
    return stream.state == OWNED and stream.owner == worker and stream.epoch == epoch


def _is_older(stream: _Stream, claim: Claim) -> bool:
    """Return whether a former owner put a stream back before its last owner did."""
    return stream.state == OWNED and stream.recording == claim.recording and stream.epoch < claim.epoch


def _has_begun(stream: _Stream, seen: int) -> bool:
    """Return whether a call is about this recording, and not about an earlier one with the same epochs."""
    return not stream.news or stream.news[0].number <= seen


def _newest(stream: _Stream) -> int | None:
    """Return the newest end or loss of a stream."""
    times = [event_ts for _, event_ts in stream.told if event_ts is not None]
    return max(times, default=stream.past_ms)


def _iso(now_ms: int) -> str:
    return iso_time(datetime.fromtimestamp(now_ms / 1000, UTC))
