"""A worker's claims and what they permit, without a clock, a queue or sockets.

Theory of operation. A renewed claim holds for `LEASE_S` from the moment when the renewal was *requested*, because the
queue cannot have counted from an earlier one. `MARGIN_S` before its end, the worker stops trusting the claim: open
connections continue, which harms nobody, but no handshake begins, because a successor may be connected. A worker that
was frozen or is cut off from the queue therefore never takes a stream from its successor. If the queue is down for all
workers, they continue with their open connections.
"""

from collections.abc import Mapping

from msgspec import Struct, structs

from rtms_cli.fleet.dispatch import LEASE_S, MARGIN_S, RECORDING, RENEW_S, Claim, Held, News, Renewed, WorkerStatus
from rtms_cli.protocol.numbers import StatusCode

LATE_S, VERY_LATE_S = 0.1, 0.25
"""Delay of the event loop from which a worker takes half as many new streams, or none. Keep-alives would fail next."""
WAIT_FOR_FORMER_S = 600.0
"""How long to retry a stream if its server is still connected to the former owner. The server drops a silent client
after 30 s (PROTOCOL §9). An owner that is only cut off from the queue keeps recording until it learns that it has lost
the stream. Then a successor must be ready."""
UNREACHED_S, DEAD_S = 20.0, 55.0
"""After this long without a connection, a stream is left to another worker, which may reach its server, unless Zoom is
about to give it up (PROTOCOL §9)."""
REST_S = 5.0
"""How long a worker takes no streams after leaving one this way."""
BACK_S = 5.0
"""How long such a stream waits before its next owner may take it."""
_NOT_CONNECTED = frozenset(("announced", "connecting"))
STILL_CONNECTED = frozenset(
    (StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST, StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION)
)
"""Status codes that refuse a second client (8 and 16, PROTOCOL §8)."""


class Holding(Struct):
    """A worker's claim."""

    claim: Claim
    """The claim, with all news since."""
    since_ms: int
    """When it was taken."""
    leased_ms: int
    """Until when it certainly belongs to the worker."""
    state: str = "connecting"
    is_lost: bool = False
    is_left: bool = False
    """Whether it was left to another worker because its server cannot be reached from here."""

    @property
    def seen(self) -> int:
        """The number of the latest news."""
        return max((one.number for one in self.claim.news), default=0)

    def held(self) -> Held:
        """Return what to report about it."""
        return Held(self.claim.epoch, self.seen, self.state)


class Changes(Struct, frozen=True):
    """The consequences of a renewal."""

    lost: tuple[str, ...] = ()
    """Streams that belong to other workers: leave them."""
    news: tuple[tuple[str, News], ...] = ()
    """News, by stream."""
    restore: tuple[str, ...] = ()
    """Streams to put back into the queue: `Dispatch.restore`."""
    drain: bool = False
    """Whether the worker was asked to drain."""


class Claims:
    """The claims of one worker. Times are in milliseconds, on a monotonic clock that includes sleep.

    :param slots: how many streams it may hold.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.is_draining = False
        self.late_s = 0.0
        """Greatest recent delay of the event loop."""
        self.rests_until_ms = 0
        """Until when it takes no streams, because it could not reach a server."""
        self.reached_ms: int | None = None
        """When the queue was last reached: the time of the last request that it answered."""
        self._all: dict[str, Holding] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._all

    def __getitem__(self, stream_id: str) -> Holding:
        return self._all[stream_id]

    @property
    def free(self) -> int:
        """Return how many more streams the worker takes."""
        left = max(0, self.slots - len(self._all))
        if self.is_draining or self.late_s >= VERY_LATE_S:
            return 0
        return left // 2 if self.late_s >= LATE_S else left

    @property
    def state(self) -> str:
        """Return the worker's state; see `WorkerStatus.state`."""
        if self.is_draining:
            return "draining"
        if len(self._all) >= self.slots:
            return "full"
        return "late" if self.late_s >= LATE_S else "working"

    def status(self, about: WorkerStatus) -> WorkerStatus:
        """Return the worker's status.

        :param about: the constant parts.
        """
        return structs.replace(about, slots=self.slots, free=self.free, load=round(self.late_s, 3), state=self.state)

    def held(self) -> dict[str, Held]:
        """Return the claims to renew."""
        return {stream_id: one.held() for stream_id, one in self._all.items()}

    def take(self, claim: Claim, asked_ms: int, now_ms: int) -> Holding:
        """Add a stream that was taken.

        :param asked_ms: when it was requested.
        """
        self.reached_ms = max(asked_ms, self.reached_ms or asked_ms)
        one = self._all[claim.stream_id] = Holding(claim, now_ms, asked_ms + int(1000 * (LEASE_S - MARGIN_S)))
        return one

    def renewed(self, asked_ms: int, held: Mapping[str, Held], answer: Renewed) -> Changes:
        """Process the answer to a renewal.

        :param held: the renewed claims. Others may have been added since.
        """
        self.reached_ms = asked_ms
        lost, news = [], []
        for stream_id, said in held.items():
            one = self._all.get(stream_id)
            if one is None or one.claim.epoch != said.epoch:
                continue  # it was given away in the meantime
            if stream_id in answer.lost:
                if not one.is_lost:
                    lost.append(stream_id)
                one.is_lost = True
                continue
            if stream_id not in answer.unknown:
                one.leased_ms = max(one.leased_ms, asked_ms + int(1000 * (LEASE_S - MARGIN_S)))
            for fresh in answer.news.get(stream_id, ()):
                if fresh.number > one.seen:
                    one.claim = structs.replace(one.claim, news=(*one.claim.news, fresh))
                    news.append((stream_id, fresh))
        unknown = tuple(stream_id for stream_id in answer.unknown if stream_id in self._all)
        return Changes(tuple(lost), tuple(news), unknown, answer.drain)

    def restored(self, stream_id: str, asked_ms: int, *, is_ours: bool) -> None:
        """Process the answer to a restored claim."""
        one = self._all.get(stream_id)
        if one is not None and is_ours:
            one.leased_ms = asked_ms + int(1000 * (LEASE_S - MARGIN_S))
        elif one is not None:
            one.is_lost = True

    def has(self, one: Holding) -> bool:
        """Return whether the worker still has this claim, rather than a later one of the same stream."""
        return self._all.get(one.claim.stream_id) is one and not one.is_lost

    def may_connect(self, one: Holding, now_ms: int) -> bool:
        """Return whether a handshake may begin, because the stream certainly belongs to the worker."""
        return self.has(one) and now_ms < one.leased_ms

    def unreached(self, now_ms: int) -> list[str]:
        """Return streams whose servers only other workers may still reach. Each is returned once.

        Afterwards, the worker takes no streams for a while.
        """
        found = [
            stream_id
            for stream_id, one in self._all.items()
            if one.state in _NOT_CONNECTED
            and now_ms - one.since_ms >= 1000 * UNREACHED_S
            and one.claim.waited_ms + now_ms - one.since_ms < 1000 * DEAD_S
            and not one.is_left
        ]
        for stream_id in found:
            self._all[stream_id].is_left = True
            self.rests_until_ms = now_ms + int(1000 * REST_S)
        return found

    def drop(self, one: Holding) -> None:
        """Remove a claim that was finished, released or lost. A later claim of the same stream stays."""
        if self._all.get(one.claim.stream_id) is one:
            del self._all[one.claim.stream_id]

    def away_ms(self, now_ms: int) -> int:
        """Return for how long the queue has not been reached; 0 while that is normal."""
        since = 0 if self.reached_ms is None else now_ms - self.reached_ms
        return since if since > int(2000 * RENEW_S) else 0


class Verdict(Struct, frozen=True):
    """What to do with a claim whose session has ended."""

    finishes: bool
    """Whether the stream is over for now. Otherwise, the next worker may try."""
    status: str = ""
    """How its recording ended."""
    after_s: float = 0.0
    """How long the next owner has to wait."""


def judge_end(one: Holding, status: str, refused: int | None, now_ms: int, *, was_left: bool) -> Verdict:
    """Decide what becomes of a claim.

    :param status: how the session ended; see `protocol.endings.Status`.
    :param refused: the status code that the server refused the session with, if it did.
    :param was_left: whether the worker left the stream to another one.
    """
    if was_left:
        return Verdict(finishes=False)
    waited_s = (one.claim.waited_ms + now_ms - one.since_ms) / 1000
    if status == "failed" and refused in STILL_CONNECTED and waited_s < WAIT_FOR_FORMER_S:
        return Verdict(finishes=False, after_s=BACK_S)
    if status == "failed" and one.claim.epoch > 1:
        return Verdict(finishes=True, status="interrupted")  # former owners have recorded parts
    return Verdict(finishes=True, status=status)


def is_recording(stage: str) -> str:
    """Return the state to report for a session's stage."""
    return RECORDING if stage in ("streaming", "interrupted", "ending") else stage
