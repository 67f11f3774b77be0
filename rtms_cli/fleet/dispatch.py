"""The calls between receptions and workers, and their messages.

Theory of operation. A listener *offers* every webhook. A start of a stream that nobody records becomes an entry of the
queue; everything about a stream that someone records becomes *news* of it. A worker *takes* entries, as many as it has
free slots, and *renews* its claims every `RENEW_S`. A claim that was not renewed for `LEASE_S` may be taken by another
worker, with the next *epoch*. A claim of an older epoch is lost: its calls have no effect any more.
In the end the owner *finishes* the stream, or *releases* it for the next one.

`book.Book` has the rules, on a clock that is given to it; `local` serves it to the processes of one machine, and
`redis` has the same rules as scripts that run in Redis or Valkey. The tests in `tests/fleet/test_dispatch.py` hold for
both.
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
"""How long a claim is its owner's without being renewed."""
MARGIN_S = 3.0
"""How much earlier an owner stops to trust its lease: clocks do not run alike, and what is sent takes a while."""
KEPT_S = 24 * 3600.0
"""How long a stream is remembered after its end."""
RECORDING = "recording"
"""What an owner says of a stream whose connections stand."""
MOST_NEWS = 1000
"""How much is remembered of what happened to one stream."""


class DispatchError(Problem):
    """The dispatch cannot be reached, or refuses to work; it may work later."""


class Offered(StrEnum):
    """What became of a webhook that was offered."""

    STARTS = "starts"
    """A stream that nobody records: the next worker with a free slot does."""
    GOES_ON = "goes on"
    """A stream whose recording was interrupted: it goes on in the same recording."""
    NEWS = "news"
    """Something about a stream that waits or is recorded: its owner hears it."""
    AGAIN = "again"
    """The same came before: a retry."""
    PAST = "past"
    """Older than the start that the stream now runs by (PROTOCOL §2)."""
    UNKNOWN = "unknown"
    """About no stream that waits or is recorded."""


class Facts(Struct, frozen=True):
    """What decides about a webhook."""

    kind: str
    """`start`, `stop`, `interrupted`, or empty if it is not about a stream."""
    stream_id: str = ""
    product: str = ""
    event_ts: int | None = None
    """Zoom's time, ms."""
    urls: str = ""
    """The start's `server_urls`, in a form that can be compared."""
    is_revoked: bool = False
    """Whether what was recorded has to be deleted (stop reason 8)."""


def facts_of(webhook: Webhook) -> Facts:
    """What decides about a webhook."""
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
    """Counts from 1 within a stream, over all its epochs."""
    body: bytes
    """As it came."""
    via: str
    """By which way it came; see `machine.Via`."""


class Claim(Struct, frozen=True):
    """That one worker records one stream."""

    stream_id: str
    epoch: int
    """Counts the owners of a recording from 1."""
    recording: str
    """The name of its folder, or of the objects' prefix: the same for all its epochs."""
    created: str
    """When the recording was first offered, in ISO 8601: its captures count from then, in all epochs."""
    news: tuple[News, ...]
    """Everything about the stream that a successor has to know; the start is the first one. Where several starts came,
    the last one has the newest URLs."""
    waited_ms: int
    """For how long nobody has recorded it: since it was offered, or since an owner last said `RECORDING`."""
    former: str = ""
    """The worker that owned it before, if any."""


class Held(Struct, frozen=True):
    """What a worker says of a claim when it renews it."""

    epoch: int
    seen: int
    """The number of the last news that it has."""
    state: str = ""
    """How it stands: `RECORDING`, or another word for people: `connecting`, `ending`."""


class WorkerStatus(Struct, frozen=True):
    """What a worker says of itself when it renews its claims; also when it has none."""

    worker: str
    """Its name, unique: `<host>-<process id>-<four random characters>`."""
    slots: int
    """How many streams it may have, in all."""
    free: int
    """How many more it would take now; fewer than `slots` allow where its loop is late."""
    load: float = 0.0
    """By how many seconds its event loop was late at most, lately."""
    state: str = "working"
    """`working`, `draining`, `full`, or `late` where the load takes slots."""
    version: str = ""
    since: str = ""
    """When it started, in ISO 8601."""


class Renewed(Struct, frozen=True):
    """What a worker hears when it renews its claims."""

    lost: tuple[str, ...] = ()
    """Streams whose claims are another's by now, or that are over."""
    unknown: tuple[str, ...] = ()
    """Streams that the queue knows nothing of: it has lost its data. See `Dispatch.restore`."""
    news: dict[str, tuple[News, ...]] = {}
    """What is newer than what the worker has seen, by stream."""
    drain: bool = False
    """Whether someone has asked the worker to drain (`rtms fleet drain`)."""


class Finished(StrEnum):
    """What became of a claim that its owner has finished."""

    DONE = "done"
    LOST = "lost"
    """It was another's: nothing has changed."""
    STARTS_AGAIN = "starts again"
    """A newer start had come that the owner has not seen: the stream waits for its next owner."""


class FleetWorker(Struct, frozen=True):
    """A worker, as it said when it was last heard from."""

    status: WorkerStatus
    streams: int
    """How many it said that it has."""
    silent_ms: int
    """Since when it has been silent."""
    drain: bool


class FleetStream(Struct, frozen=True):
    """A stream that waits, is recorded, or was."""

    stream_id: str
    recording: str
    epoch: int
    owner: str
    """Empty while it waits."""
    state: str
    """`waiting`, what its owner says (`recording`, …), `interrupted`, or how it ended: `complete`, `failed`, …"""
    created: str
    age_ms: int
    """Since it was offered."""
    silent_ms: int
    """Since its owner renewed the claim."""


class FleetReport(Struct, frozen=True):
    """The fleet as it stands."""

    workers: tuple[FleetWorker, ...]
    streams: tuple[FleetStream, ...]
    """Those that wait or are recorded, and the last ones that ended."""
    waiting: int
    """How many have no owner."""
    slots_free: int
    """How many streams the workers would take now: the figure to scale by."""


class Happening(Struct, frozen=True):
    """One line of a stream's history."""

    at: str
    """ISO 8601."""
    what: str
    """`offered`, `taken`, `taken over`, `news`, `released`, `finished`, …"""
    epoch: int
    who: str
    """A worker, or nobody."""
    text: str


class Dispatch(Protocol):
    """See the module. Any call may raise `DispatchError`; then nothing is known of what became of it, and it may be
    called again: no call does harm twice.
    """

    async def offer(self, body: bytes, webhook: Webhook, via: str) -> Offered:
        """Tell of a webhook that was let in. When it returns, the webhook is safe, and may be answered."""

    async def take(self, status: WorkerStatus, most: int) -> list[Claim]:
        """Take up to `most` streams: those that were released or offered, and those whose owners are silent."""

    async def renew(self, status: WorkerStatus, held: Mapping[str, Held]) -> Renewed:
        """Say that a worker is there, and which claims it holds, by stream id."""

    async def restore(self, status: WorkerStatus, claim: Claim, held: Held) -> bool:
        """Put back a claim into a queue that has lost its data.

        :param claim: as it was taken, with all news since.
        :returns: whether it is the worker's now; not where the stream was offered again in between.
        """

    async def finish(self, worker: str, stream_id: str, held: Held, status: str) -> Finished:
        """Say how a recording ended: `complete`, `interrupted`, `failed`, `revoked`."""

    async def release(self, worker: str, stream_id: str, held: Held, *, after_s: float = 0.0, why: str = "") -> bool:
        """Let another worker take a stream, at once or later.

        :param after_s: nobody takes it before.
        :param why: for its history.
        :returns: whether it was the worker's.
        """

    async def leave(self, worker: str) -> None:
        """A worker goes. Its claims may be taken at once; a worker that leaves in order has released them before."""

    async def changed(self, worker: str, timeout_s: float) -> None:
        """Wait until there may be something to take, or news for a worker, or the time is over."""

    async def report(self, *, with_streams: bool = True) -> FleetReport:
        """The fleet as it stands.

        :param with_streams: whether each stream is named; of ten thousand that takes a while.
        """

    async def history(self, stream_id: str) -> Sequence[Happening]:
        """What happened to a stream, in order; empty if it is not known."""

    async def drain(self, worker: str) -> bool:
        """Ask a worker to drain.

        :returns: whether it is known.
        """

    async def close(self) -> None:
        """Let go of connections."""
