"""Receives webhooks and events on a machine with workers, as a station does, but records nothing.

Announced streams go to the dispatch. The workers' reports are shown here as if the streams were recorded here.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

from rtms_cli.errors import reason_of
from rtms_cli.fleet.book import INTERRUPTED, OWNED, WAITING
from rtms_cli.fleet.crew import Crew
from rtms_cli.fleet.dispatch import Offered
from rtms_cli.fleet.local import LocalDispatch
from rtms_cli.fleet.messages import Ended
from rtms_cli.machine import Via
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.webhooks import (
    OtherWebhook,
    Stream,
    StreamInterrupted,
    StreamStart,
    StreamStop,
    Webhook,
    read_webhook,
    shortened_webhook,
)
from rtms_cli.station.admission import Admission, described, how_late, server_of, stream_id_of
from rtms_cli.station.intake import Choose
from rtms_cli.station.metrics import Figures, MoreFigures
from rtms_cli.station.observing import ConnectionStatus, IgnoredWebhooks, Observer, StreamSnapshot
from rtms_cli.wire.notices import Notices

MOST_STREAMS = 2_000
"""How many streams are remembered, to choose among those of one meeting."""


class Reception:
    """See the module docstring. It has the interface of a `Station` for listeners and views.

    :param observer: receives all events.
    :param max_streams: how many streams may wait or be recorded at once.
    :param check_url: returns why a start's server must not be connected to, if so.
    :param choose: returns why a stream is not recorded next to others of the same meeting, if so.
    :param revoke: deletes the recording of a stream that is over; `None` keeps it.
    """

    def __init__(
        self,
        dispatch: LocalDispatch,
        observer: Observer,
        *,
        max_streams: int,
        check_url: Callable[[str], str | None],
        choose: Choose,
        revoke: Callable[[StreamStop], list[Path]] | None,
    ) -> None:
        self._dispatch = dispatch
        self._observer = observer
        self._max_streams = max_streams
        self._check_url = check_url
        self._choose = choose
        self._revoke = revoke
        self._admission = Admission()
        self._streams: dict[str, Stream] = {}
        """Streams that were announced and taken, in that order."""
        self._notices = Notices(self.notice)
        self._tasks: set[asyncio.Task[None]] = set()
        self._crew: Crew | None = None
        self.more_figures: list[MoreFigures] = []
        """See `Station`."""
        self.statuses: list[Callable[[], ConnectionStatus]] = []
        """See `Station`."""
        self.hints: list[str] = []
        """See `Station`."""
        self.ignored = IgnoredWebhooks()
        """See `Station`."""
        self.more_health: dict[str, Callable[[], object]] = {}
        """See `Station`."""
        self.more_readiness: list[Callable[[], str | None]] = []
        """See `Station`."""

    @property
    def crew(self) -> Crew:
        """The workers."""
        assert self._crew is not None, "the crew is set before listening starts"
        return self._crew

    def lead(self, crew: Crew) -> None:
        """Set the crew that records streams."""
        self._crew = crew

    # Webhooks and events.

    def take(self, body: bytes, webhook: Webhook, via: str = Via.HTTP) -> None:
        """Act on a verified webhook; see `Station`."""
        if not isinstance(webhook, StreamStart | StreamStop | StreamInterrupted):
            self._leave_aside(webhook)
            return
        given, body = body, shortened_webhook(body)
        webhook = webhook if body is given else read_webhook(body)
        if not isinstance(webhook, StreamStart | StreamStop | StreamInterrupted):
            return
        if (why := self._why_not(webhook)) is not None:
            self.ignored.add(described(webhook), why)
            self._notices.tell("webhooks that start nothing", f"{described(webhook)}: {why}", why[:100])
            return
        offered = self._dispatch.offer_now(body, webhook, via)
        match offered, webhook:
            case Offered.STARTS | Offered.GOES_ON, StreamStart(stream):
                self._begin(stream)
            case Offered.NEWS, StreamStop() | StreamInterrupted():
                self._admission.note_end(webhook)
            case Offered.PAST, _:
                why = "it is older than the stream's last start"
                self.ignored.add(described(webhook), why)
                text = f"{described(webhook)}: {why}"
                self._notices.tell("webhooks that start nothing", text, "older")
            case Offered.UNKNOWN, StreamStop(reason=StopReason.STOP_BC_STREAM_REVOKED):
                self._in_background(self._delete_revoked(webhook))
            case Offered.UNKNOWN, _:
                self._leave_aside(webhook)
            case _:
                pass

    def not_now(self, webhook: Webhook) -> str | None:
        """Return why a webhook should be sent again later, or `None`."""
        if not isinstance(webhook, StreamStart) or self._is_open(webhook.stream.stream_id):
            return None
        if self.crew.is_stopping:
            return "rtms is stopping"
        if self._count() < self._max_streams or self._not_chosen(webhook.stream) is not None:
            return None
        return f"{self._count()} streams are already running (--max-streams)"

    def may_repeat(self, webhook: Webhook) -> bool:
        """Return whether a webhook with a repeated signature may be acted on."""
        if not isinstance(webhook, StreamStart) or self._is_open(webhook.stream.stream_id):
            return True
        return self._admission.may_repeat(webhook.stream.stream_id)

    def on_ended(self, ended: Ended) -> None:
        """Handle the end of a worker's session."""
        by_zoom = ended.finish.stop_reason is not None or ended.finish.status == Status.REVOKED
        self._admission.end(ended.stream.stream_id, by_zoom=by_zoom)

    # Requests.

    def request_stop(self, who: str) -> None:
        """Begin to stop. `stopped` waits for the end."""
        self.crew.stop(who)

    async def stopped(self) -> None:
        """Wait until everything has ended."""
        await self.crew.stopped()
        self._notices.close()

    def end(self, stream_id: str, who: str) -> None:
        """End one stream's session cleanly."""
        self.crew.end(stream_id, who)

    def mark(self, stream_id: str, text: str) -> None:
        """Mark this moment in one stream's events."""
        self.crew.mark(stream_id, text)

    def notice(self, text: str) -> None:
        """Notify the observers of something that does not concern a running stream."""
        self._observer.on_notice(text)

    def tell(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Notify the observers of an event for scripts."""
        self._observer.on_event(name, fields, text)

    def snapshots(self) -> Sequence[StreamSnapshot]:
        """Return the running streams, as last reported by their workers."""
        return self.crew.views()

    @property
    def is_stopping(self) -> bool:
        """See `Station`."""
        return self.crew.is_stopping

    @property
    def interrupted(self) -> Sequence[str]:
        """Return the ids of streams whose recordings continue when they are announced again."""
        return [stream_id for stream_id in self._streams if self._dispatch.book.state(stream_id) == INTERRUPTED]

    def health(self) -> dict[str, object]:
        """Return the state for `GET /healthz`."""
        streams = [
            one.health() | {"worker": self.crew.worker_of(one.session.stream.stream_id)} for one in self.snapshots()
        ]
        more = {name: look() for name, look in self.more_health.items()}
        waiting = sum(self._dispatch.book.state(stream_id) == WAITING for stream_id in self._streams)
        status = "stopping" if self.crew.is_stopping else "ok"
        return {"status": status, "streams": streams, "waiting": waiting, "workers": self.crew.health(), **more}

    def not_ready(self) -> Sequence[str]:
        """Return why no stream would be taken now; see `Station.not_ready`."""
        own = []
        if self.crew.is_stopping:
            own.append("stopping")
        elif self._count() >= self._max_streams:
            own.append(f"{self._count()} streams are already running (--max-streams)")
        return [*own, *(why for look in self.more_readiness if (why := look()) is not None)]

    def figures(self, answers: Mapping[int, int], free_nbytes: int | None) -> Figures:
        """Return all metrics for `GET /metrics`; see `Station.figures`."""
        more = [*self.more_figures, self.crew.figures]
        return Figures(self.snapshots(), self.crew.totals(), self.crew.ended(), answers, free_nbytes, more)

    # Decisions.

    def _why_not(self, webhook: StreamStart | StreamStop | StreamInterrupted) -> str | None:
        """Return why a webhook about a stream is ignored, or `None`."""
        stream_id = stream_id_of(webhook) or ""
        is_open = self._is_open(stream_id)
        if isinstance(webhook, StreamStart) and not is_open:
            if self.crew.is_stopping:
                return "rtms is stopping"
            if (why := self._not_chosen(webhook.stream)) is not None:
                return why
            if self._count() >= self._max_streams:
                return f"{self._count()} streams are already running (--max-streams)"
        if (url := server_of(webhook)) is not None and (refused := self._check_url(url)) is not None:
            return refused
        return self._admission.refusal(webhook, may_be_old=is_open)

    def _begin(self, stream: Stream) -> None:
        self._admission.begin(stream)
        self._streams.pop(stream.stream_id, None)
        self._streams[stream.stream_id] = stream
        if len(self._streams) > MOST_STREAMS:
            states = {stream_id: self._dispatch.book.state(stream_id) for stream_id in self._streams}
            is_kept = (WAITING, OWNED, INTERRUPTED)
            self._streams = {name: one for name, one in self._streams.items() if states[name] in is_kept}
        if (late := how_late(stream)) is not None:
            self._notices.tell("late starts", f"WARNING: stream {stream.stream_id}: {late}")

    def _not_chosen(self, stream: Stream) -> str | None:
        book = self._dispatch.book
        others = [one for name, one in self._streams.items() if book.state(name) in (WAITING, OWNED, INTERRUPTED)]
        return self._choose(stream, others)

    def _is_open(self, stream_id: str) -> bool:
        return self._dispatch.book.state(stream_id) in (WAITING, OWNED)

    def _count(self) -> int:
        """Return how many streams are waiting or being recorded."""
        return sum(map(self._is_open, self._streams))

    def _leave_aside(self, webhook: Webhook) -> None:
        of = "kinds" if isinstance(webhook, OtherWebhook) else "streams"
        told = described(webhook)
        stream_id = stream_id_of(webhook)
        standing = "nothing to be done"
        if stream_id:
            is_known = self._admission.knows(stream_id)
            standing = "its session has already ended" if is_known else "the stream is not being recorded"
        self.ignored.add(told, standing)
        self._notices.tell(f"webhooks of other {of}", f"{told}: {standing}", told)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="revoke")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _delete_revoked(self, told: StreamStop) -> None:
        """Delete the recording of a stream by an earlier process."""
        if self._revoke is None:
            return
        try:
            deleted = await asyncio.to_thread(self._revoke, told)
        except OSError as error:
            self.notice(f"WARNING: stream {told.stream_id} was revoked but could not be deleted: {reason_of(error)}")
            return
        for folder in deleted:
            self.notice(f"stream {told.stream_id} was revoked: {folder} was deleted")
