"""The calls between the process that receives webhooks and the workers that record streams.

Theory of operation. The receiver *offers* every webhook. The start of an unrecorded stream becomes an entry in the
queue; everything about a recorded stream becomes *news* of it. A worker *takes* entries while it has free slots, and
*renews* its claims every `RENEW_S`. Another worker may take a claim that was not renewed for `LEASE_S`, with the next
*epoch*. The holder of a claim with an older epoch has lost it: its calls have no effect any more. At the end, the
owner *finishes* the stream or *releases* it for the next worker.

`book.Book` implements the rules on a given clock. `local` serves it to the processes of one machine, and `redis`
implements the same rules as scripts for Redis or Valkey. The tests in `tests/fleet/test_dispatch.py` cover both.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.strict_json import dumps
from rtms_cli.protocol.webhooks import StreamInterrupted, StreamStart, StreamStop, Webhook

RENEW_S = 5.0
"""How often a worker renews its claims."""
LEASE_S = 15.0
"""How long a claim lasts without a renewal."""
MARGIN_S = 3.0
"""How much earlier an owner stops trusting its lease, because clocks differ and messages take time."""
KEPT_S = 24 * 3600.0
"""How long a stream is remembered after its end."""
RECORDING = "recording"
"""The reported state of a stream with open connections."""
MOST_NEWS = 1000
"""Length of a stream's history."""


class DispatchError(Problem):
    """The dispatch cannot be reached or refuses a call. It may work later."""


class Offered(StrEnum):
    """The result of offering a webhook."""

    STARTS = "starts"
    """Starts an unrecorded stream. The next worker with a free slot records it."""
    GOES_ON = "goes on"
    """Continues an interrupted recording."""
    NEWS = "news"
    """Concerns a waiting or recorded stream. Its owner is informed."""
    AGAIN = "again"
    """A retry of an earlier webhook."""
    PAST = "past"
    """Older than the stream's current start (PROTOCOL §2)."""
    UNKNOWN = "unknown"
    """Concerns no waiting or recorded stream."""


class Facts(Struct, frozen=True):
    """The facts about a webhook that decide what to do with it."""

    kind: str
    """`start`, `stop`, `interrupted`, or empty if it does not concern a stream."""
    stream_id: str = ""
    product: str = ""
    event_ts: int | None = None
    """Zoom's time, ms."""
    urls: str = ""
    """The start's `server_urls`, in a comparable form."""
    is_revoked: bool = False
    """Whether the recording has to be deleted (stop reason 8)."""


def facts_of(webhook: Webhook) -> Facts:
    """The facts about a webhook that decide what to do with it."""
    match webhook:
        case StreamStart(stream):
            urls = dumps(stream.server_urls).decode("utf-8", "replace")
            return Facts("start", stream.stream_id, stream.product, stream.event_ts, urls)
        case StreamStop(product=product, stream_id=stream_id, event_ts=event_ts, reason=reason):
            is_revoked = reason == StopReason.STOP_BC_STREAM_REVOKED
            return Facts("stop", stream_id, product, event_ts, is_revoked=is_revoked)
        case StreamInterrupted(product=product, stream_id=stream_id, event_ts=event_ts):
            return Facts("interrupted", stream_id, product, event_ts)
        case _:
            return Facts("")


class News(Struct, frozen=True):
    """A webhook about a stream."""

    number: int
    """Number within the stream, from 1, over all epochs."""
    body: bytes
    """As it came."""
    via: str
    """How it arrived; see `machine.Via`."""


class Claim(Struct, frozen=True):
    """A worker's claim on a stream."""

    stream_id: str
    epoch: int
    """Number of the recording's owner, from 1."""
    recording: str
    """The name of its folder or object prefix, the same for all epochs."""
    created: str
    """When the recording was first offered, in ISO 8601. Captures of all epochs count from then."""
    news: tuple[News, ...]
    """Everything about the stream that a successor must know, beginning with the start. If there were several starts,
    the last one has the newest URLs."""
    waited_ms: int
    """How long it has not been recorded: since it was offered, or since an owner last reported `RECORDING`."""
    former: str = ""
    """The worker that owned it before, if any."""


class Held(Struct, frozen=True):
    """What a worker reports about a claim when it renews it."""

    epoch: int
    seen: int
    """The number of the last news that it has."""
    state: str = ""
    """Its state: `RECORDING`, or another word for display, such as `connecting` or `ending`."""


class WorkerStatus(Struct, frozen=True):
    """What a worker reports about itself when it renews its claims, even without any."""

    worker: str
    """Its unique name: `<host>-<process id>-<four random characters>`."""
    slots: int
    """How many streams it may hold in total."""
    free: int
    """How many more it would take now. Fewer than `slots` allows if its event loop is late."""
    load: float = 0.0
    """Greatest recent delay of its event loop, in seconds."""
    state: str = "working"
    """`working`, `draining`, `full`, or `late` if load reduces its slots."""
    version: str = ""
    since: str = ""
    """When it started, in ISO 8601."""


class Renewed(Struct, frozen=True):
    """The answer to a renewal."""

    lost: tuple[str, ...] = ()
    """Streams that now belong to another worker or are over."""
    unknown: tuple[str, ...] = ()
    """Streams that the queue does not know, because it has lost its data. See `Dispatch.restore`."""
    news: dict[str, tuple[News, ...]] = {}
    """News that the worker has not seen, by stream."""
    drain: bool = False
    """Whether the worker was asked to drain (`rtms fleet drain`)."""


class Finished(StrEnum):
    """The result of finishing a claim."""

    DONE = "done"
    LOST = "lost"
    """It belonged to another worker. Nothing has changed."""
    STARTS_AGAIN = "starts again"
    """There was a newer start that the owner has not seen. The stream waits for its next owner."""


class FleetWorker(Struct, frozen=True):
    """A worker, as it last reported itself."""

    status: WorkerStatus
    streams: int
    """How many streams it reported."""
    silent_ms: int
    """Seconds since its last call."""
    drain: bool


class FleetStream(Struct, frozen=True):
    """A waiting, recorded or ended stream."""

    stream_id: str
    recording: str
    epoch: int
    owner: str
    """Empty while it waits."""
    state: str
    """`waiting`, the state that its owner reports (`recording`, …), `interrupted`, or how it ended (`complete`, …)."""
    created: str
    age_ms: int
    """Since it was offered."""
    silent_ms: int
    """Since its owner renewed the claim."""


class FleetReport(Struct, frozen=True):
    """The state of the fleet."""

    workers: tuple[FleetWorker, ...]
    streams: tuple[FleetStream, ...]
    """Waiting and recorded streams, and the last ones that ended."""
    waiting: int
    """How many have no owner."""
    slots_free: int
    """How many more streams the workers would take now. Use this number for scaling."""


class Happening(Struct, frozen=True):
    """An entry of a stream's history."""

    at: str
    """ISO 8601."""
    what: str
    """`offered`, `taken`, `taken over`, `news`, `released`, `finished`, …"""
    epoch: int
    who: str
    """A worker's name, or empty."""
    text: str


class Dispatch(Protocol):
    """See the module docstring. Any call may raise `DispatchError`. Then its result is unknown, and it may be repeated:
    all calls are idempotent.
    """

    async def offer(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        """Offer a verified webhook. When this returns, the webhook is stored and may be answered."""

    async def take(self, status: WorkerStatus, most: int) -> list[Claim]:
        """Take up to `most` streams: released or offered ones, and those of silent owners."""

    async def renew(self, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        """Report that a worker is alive, and renew its claims, by stream id."""

    async def restore(self, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        """Put a claim back into a queue that has lost its data.

        :param claim: the claim as taken, with all news since.
        :returns: whether it belongs to the worker now. Not if the stream was offered again in the meantime.
        """

    async def finish(self, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        """Report how a recording ended: `complete`, `interrupted`, `failed`, `revoked`."""

    async def release(self, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = "") -> bool:
        """Let another worker take a stream, at once or later.

        :param after_s: delay before it can be taken.
        :param why: the reason, for its history.
        :returns: whether it belonged to the worker.
        """

    async def leave(self, worker: str) -> None:
        """Remove a worker. Its remaining claims can be taken at once. A worker that leaves in good order has released
        them."""

    async def changed(self, worker: str, timeout_s: float) -> None:
        """Wait until there may be something to take or news for a worker, or until the time-out."""

    async def report(self, *, with_streams: bool = True) -> FleetReport:
        """Return the state of the fleet.

        :param with_streams: whether to list the streams. Ten thousand of them take a while.
        """

    async def history(self, stream_id: str) -> Sequence[Happening]:
        """Return a stream's history in order; empty if it is unknown."""

    async def drain(self, worker: str) -> bool:
        """Ask a worker to drain.

        :returns: whether the worker is known.
        """

    async def close(self) -> None:
        """Close all connections."""
