"""What a worker knows of its claims, and what it may do: no clock, no queue, no socket.

Theory of operation. A claim that was renewed holds for `LEASE_S` from the moment at which the renewal was *asked* for:
whoever answered cannot have counted from an earlier one. `MARGIN_S` before that the worker stops to trust it: what
stands goes on, since it harms nobody, but no handshake begins, for a successor may be connected by then. So a worker
that was frozen, or is cut off from the queue, never takes a stream away from its successor; and where the queue is away
for all, everyone goes on with what stands.
"""

from collections.abc import Mapping

from msgspec import Struct, structs

from rtms_cli.fleet.dispatch import LEASE_S, MARGIN_S, RECORDING, RENEW_S, Claim, Held, News, Renewed, WorkerStatus
from rtms_cli.protocol.numbers import StatusCode

LATE_S, VERY_LATE_S = 0.1, 0.25
"""How late a loop may be before a worker takes half as many streams more, and none: keep-alives come next."""
WAIT_FOR_FORMER_S = 600.0
"""For how long a stream is tried again whose server still has its former owner. It lets go of one that is silent after
30 s (PROTOCOL §9); but one that is only cut off from the queue goes on recording until it hears that the stream is
another's, and then someone has to be there."""
UNREACHED_S, DEAD_S = 20.0, 55.0
"""A stream that is not connected for this long is left to another worker, which may reach its server; but not where
Zoom is about to give it up (PROTOCOL §9)."""
REST_S = 5.0
"""For how long a worker takes nothing that has left a stream so."""
BACK_S = 5.0
"""How long such a stream waits for its next owner."""
_NOT_CONNECTED = frozenset(("announced", "connecting"))
STILL_CONNECTED = frozenset(
    (StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST, StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION)
)
"""What a server refuses a second client with (8 and 16, PROTOCOL §8)."""


class Holding(Struct):
    """One claim of a worker."""

    claim: Claim
    """With all news that came since."""
    since_ms: int
    """When it was taken."""
    leased_ms: int
    """Until when it is surely the worker's."""
    state: str = "connecting"
    is_lost: bool = False
    is_left: bool = False
    """Whether it was left to another worker, since its server cannot be reached from here."""

    @property
    def seen(self) -> int:
        """The number of the last news."""
        return max((one.number for one in self.claim.news), default=0)

    def held(self) -> Held:
        """What is said of it."""
        return Held(self.claim.epoch, self.seen, self.state)


class Changes(Struct, frozen=True):
    """What follows from a renewal."""

    lost: tuple[str, ...] = ()
    """Streams that are another's: leave them."""
    news: tuple[tuple[str, News], ...] = ()
    """What came for which stream."""
    restore: tuple[str, ...] = ()
    """Streams to restore in the queue: `Dispatch.restore`."""
    drain: bool = False
    """Whether the worker was asked to drain."""


class Claims:
    """The claims of one worker. Times are in milliseconds on any clock that does not go back, also while it sleeps.

    :param slots: how many streams it may have.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.is_draining = False
        self.late_s = 0.0
        """By how much the event loop was late at most, lately."""
        self.rests_until_ms = 0
        """Until when it takes nothing: it could not reach a server."""
        self.reached_ms: int | None = None
        """When the queue was last reached: when that was asked for which it answered."""
        self._all: dict[str, Holding] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._all

    def __getitem__(self, stream_id: str) -> Holding:
        return self._all[stream_id]

    @property
    def free(self) -> int:
        """How many more streams the worker takes."""
        left = max(0, self.slots - len(self._all))
        if self.is_draining or self.late_s >= VERY_LATE_S:
            return 0
        return left // 2 if self.late_s >= LATE_S else left

    @property
    def state(self) -> str:
        """How the worker stands; see `WorkerStatus.state`."""
        if self.is_draining:
            return "draining"
        if len(self._all) >= self.slots:
            return "full"
        return "late" if self.late_s >= LATE_S else "working"

    def status(self, about: WorkerStatus) -> WorkerStatus:
        """What the worker says of itself.

        :param about: what does not change.
        """
        return structs.replace(about, slots=self.slots, free=self.free, load=round(self.late_s, 3), state=self.state)

    def held(self) -> dict[str, Held]:
        """What is renewed."""
        return {stream_id: one.held() for stream_id, one in self._all.items()}

    def take(self, claim: Claim, asked_ms: int, now_ms: int) -> Holding:
        """A stream was taken.

        :param asked_ms: when that was asked for.
        """
        self.reached_ms = max(asked_ms, self.reached_ms or asked_ms)
        one = self._all[claim.stream_id] = Holding(claim, now_ms, asked_ms + int(1000 * (LEASE_S - MARGIN_S)))
        return one

    def renewed(self, asked_ms: int, held: Mapping[str, Held], answer: Renewed) -> Changes:
        """A renewal was answered.

        :param held: what was renewed; meanwhile there may be other claims.
        """
        self.reached_ms = asked_ms
        lost, news = [], []
        for stream_id, said in held.items():
            one = self._all.get(stream_id)
            if one is None or one.claim.epoch != said.epoch:
                continue  # it was given away meanwhile
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
        """The queue has a claim again that it had lost."""
        one = self._all.get(stream_id)
        if one is not None and is_ours:
            one.leased_ms = asked_ms + int(1000 * (LEASE_S - MARGIN_S))
        elif one is not None:
            one.is_lost = True

    def has(self, one: Holding) -> bool:
        """Whether a claim is the worker's, as far as it knows: not an earlier one of the same stream."""
        return self._all.get(one.claim.stream_id) is one and not one.is_lost

    def may_connect(self, one: Holding, now_ms: int) -> bool:
        """Whether a handshake may begin: whether the stream is surely the worker's."""
        return self.has(one) and now_ms < one.leased_ms

    def unreached(self, now_ms: int) -> list[str]:
        """Streams whose servers cannot be reached from here, and that another worker may still connect to; each once.

        From then on the worker takes nothing for a while.
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
        """A claim was finished, released or lost; there may be a later one of the same stream."""
        if self._all.get(one.claim.stream_id) is one:
            del self._all[one.claim.stream_id]

    def away_ms(self, now_ms: int) -> int:
        """Since when the queue has not been reached; 0 while that is in time."""
        since = 0 if self.reached_ms is None else now_ms - self.reached_ms
        return since if since > int(2000 * RENEW_S) else 0


class Verdict(Struct, frozen=True):
    """What to do with a claim whose session has ended."""

    finishes: bool
    """Whether the stream is over for now; else the next one may try."""
    status: str = ""
    """How its recording ended."""
    after_s: float = 0.0
    """How long the next owner waits."""


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
        return Verdict(finishes=True, status="interrupted")  # former owners have recorded something
    return Verdict(finishes=True, status=status)


def is_recording(stage: str) -> str:
    """What an owner says of a session, by its stage."""
    return RECORDING if stage in ("streaming", "interrupted", "ending") else stage
