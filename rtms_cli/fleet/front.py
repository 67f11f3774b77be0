"""Puts webhooks into the queue, however they arrive."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rtms_cli.fleet.dispatch import Dispatch, DispatchError, FleetReport, Offered
from rtms_cli.machine import Via
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.station.admission import described, how_late, stream_id_of
from rtms_cli.station.observing import ConnectionStatus
from rtms_cli.station.station import Station
from rtms_cli.wire.notices import Notices

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""Retry delay for events that are not sent again."""
MOST_WAITING = 1000
"""How many events may wait while the queue is unreachable. Each concerns one stream."""
LOOK_S = 5.0
"""How often the state of the fleet is queried, for the screen and for metrics."""
_IN_WORDS = {
    Offered.STARTS: "offered to the workers",
    Offered.GOES_ON: "offered to the workers: its recording continues",
    Offered.NEWS: "sent to its worker",
    Offered.AGAIN: "a repeated webhook",
    Offered.PAST: "it is older than the stream's last start",
    Offered.UNKNOWN: "the stream is not being recorded",
}


class Front:
    """Puts webhooks into a queue, and reports the results. Use it with `async with`."""

    def __init__(self, dispatch: Dispatch, station: Station) -> None:
        self._dispatch = dispatch
        self._station = station
        self._waiting: deque[tuple[bytes, Webhook, str]] = deque()
        self._has_waiting = asyncio.Event()
        self._offers: Counter[str] = Counter()
        self._notices = Notices(station.notice)
        self._report: FleetReport | None = None
        self._away = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Front":
        self._station.elsewhere = self.put
        self._station.statuses.append(self.connection_status)
        self._station.more_health["queue"] = self.health
        self._station.more_readiness.append(self.not_ready)
        self._station.more_figures.append(self.figures)
        self._tasks = [
            asyncio.create_task(self._put_all(), name="events for the queue"),
            asyncio.create_task(self._look(), name="the fleet"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self._waiting:
            self._station.notice(f"WARNING: {len(self._waiting)} events were not put into the queue")
        self._notices.close()

    async def offer(self, body: bytes, webhook: Webhook, via: str = Via.HTTP) -> None:
        """Put a webhook into the queue. When this returns, it is stored.

        :raises DispatchError: if the queue cannot be reached.
        """
        try:
            offered = await self._dispatch.offer(body, webhook, via)
        except DispatchError as error:
            self._miss(error)
            raise
        self._reach()
        self._offers[offered.value] += 1
        stream_id = stream_id_of(webhook) or ""
        if offered in (Offered.STARTS, Offered.GOES_ON, Offered.NEWS):
            fields = {"what": "offered", "stream_id": stream_id, "became": offered.value, "via": via}
            self._station.tell("fleet", fields, f"{described(webhook)}: {_IN_WORDS[offered]}")
            late = getattr(webhook, "stream", None)
            if late is not None and (how := how_late(late)) is not None:
                self._notices.tell("late starts", f"WARNING: stream {stream_id}: {how}")
        else:
            told = f"{described(webhook)}: {_IN_WORDS[offered]}"
            self._notices.tell("webhooks that start nothing", told, told[:100])

    def put(self, body: bytes, webhook: Webhook, via: str) -> None:
        """Put an event that is not sent again into the queue, as soon as the queue can be reached."""
        if len(self._waiting) >= MOST_WAITING:
            self._notices.tell(
                "events that are lost",
                f"{described(webhook)}: the queue cannot be reached, and too many events are waiting",
            )
            return
        self._waiting.append((body, webhook, via))
        self._has_waiting.set()

    async def _put_all(self) -> None:
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            while self._waiting:
                try:
                    await self.offer(*self._waiting[0])
                except DispatchError:
                    await asyncio.sleep(AGAIN_S)
                    continue
                self._waiting.popleft()

    async def _look(self) -> None:
        while True:
            try:
                self._report = await self._dispatch.report(with_streams=False)
            except DispatchError as error:
                self._miss(error)
            else:
                self._reach()
            await asyncio.sleep(LOOK_S)

    def _miss(self, error: DispatchError) -> None:
        if not self._away:
            text = f"WARNING: {error} Webhooks are answered with 503 until it is reachable. Zoom retries them."
            self._station.tell("fleet", {"what": "queue", "state": "away"}, text)
        self._away = str(error)

    def _reach(self) -> None:
        if self._away:
            self._away = ""
            self._station.tell("fleet", {"what": "queue", "state": "reached"}, "the queue is reachable again")

    # State.

    def connection_status(self) -> ConnectionStatus:
        """Return the state of the fleet in a line."""
        if self._away or self._report is None:
            return ConnectionStatus(f"queue: {self._away or 'connecting'}", is_good=False)
        report = self._report
        workers = sum(not one.drain for one in report.workers)
        owned = sum(one.streams for one in report.workers)
        return ConnectionStatus(
            f"queue: {workers} workers, {owned} streams recorded, {report.waiting} waiting,"
            f" {report.slots_free} slots free",
            is_good=report.waiting == 0,
        )

    def health(self) -> dict[str, object]:
        """Return the state of the fleet for `GET /healthz`."""
        state: dict[str, object] = {"state": self._away or "reached", "events_waiting": len(self._waiting)}
        if self._report is not None:
            report = self._report
            state |= {"workers": len(report.workers), "waiting": report.waiting, "slots_free": report.slots_free}
        return state

    def not_ready(self) -> str | None:
        """Return why no stream could be taken now, for `GET /readyz`."""
        return f"the queue cannot be reached: {self._away}" if self._away else None

    def figures(self) -> "Iterable[Metric]":
        """Yield the fleet's metrics for `GET /metrics`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        offers = CounterMetricFamily("rtms_fleet_offers", "Webhooks that were offered.", labels=("became",))
        for became, count in self._offers.items():
            offers.add_metric((became,), count)
        yield offers
        yield GaugeMetricFamily("rtms_queue_reached", "Whether the queue can be reached.", float(not self._away))
        if self._report is not None:
            report = self._report
            yield GaugeMetricFamily("rtms_queue_waiting", "Streams without a worker.", report.waiting)
            yield GaugeMetricFamily("rtms_queue_workers", "Workers.", len(report.workers))
            yield GaugeMetricFamily(
                "rtms_queue_slots_free", "Streams that all workers could take now.", report.slots_free
            )
