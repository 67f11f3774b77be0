"""A worker's state for screens and probes, and the delay of its event loop."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rtms_cli.fleet.claims import Claims
from rtms_cli.station.observing import ConnectionStatus

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

LATE_EVERY_S, LATE_FOR_S = 0.05, 10.0
"""How often the loop's delay is measured, and how long the greatest one counts."""


class Standing:
    """A worker's state.

    :param name: the worker's name.
    """

    def __init__(self, name: str, claims: Claims) -> None:
        self.name = name
        self.away = ""
        """Why the queue cannot be reached."""
        self.taken = self.lost = 0
        self._claims = claims

    async def watch_loop(self) -> None:
        """Measure the event loop's delay, which also delays keep-alives."""
        loop, seen = asyncio.get_running_loop(), list[tuple[float, float]]()
        while True:
            due = loop.time() + LATE_EVERY_S
            await asyncio.sleep(LATE_EVERY_S)
            now = loop.time()
            seen = [(at, late_s) for at, late_s in seen if at > now - LATE_FOR_S and late_s > now - due]
            seen.append((now, now - due))
            self._claims.late_s = seen[0][1]

    def connection_status(self) -> ConnectionStatus:
        """Return the worker's state in a line."""
        if self.away:
            return ConnectionStatus(f"queue unreachable: {self.away}", is_good=False)
        return ConnectionStatus(
            f"{self.name}: {len(self._claims)} of {self._claims.slots} slots taken, {self._claims.state}", is_good=True
        )

    def not_ready(self) -> str | None:
        """Return why the worker takes no stream now, for `GET /readyz`."""
        if self.away:
            return f"the queue cannot be reached: {self.away}"
        return None if self._claims.free else f"the worker has no free slot: it is {self._claims.state}"

    def health(self) -> dict[str, object]:
        """Return the worker's state for `GET /healthz`."""
        claims = self._claims
        return {
            "worker": self.name,
            "slots": claims.slots,
            "slots_free": claims.free,
            "state": claims.state,
            "queue": self.away or "reached",
            "late_seconds": round(claims.late_s, 3),
        }

    def figures(self) -> "Iterable[Metric]":
        """Yield the worker's metrics for `GET /metrics`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        claims = self._claims
        yield GaugeMetricFamily("rtms_fleet_slots", "Streams that this worker may hold.", claims.slots)
        yield GaugeMetricFamily("rtms_fleet_slots_free", "Streams that this worker could take now.", claims.free)
        yield GaugeMetricFamily("rtms_fleet_queue_reached", "Whether the queue can be reached.", float(not self.away))
        yield GaugeMetricFamily("rtms_loop_late_seconds", "Recent delay of the event loop.", claims.late_s)
        yield CounterMetricFamily("rtms_fleet_taken", "Streams that this worker has taken.", self.taken)
        yield CounterMetricFamily("rtms_fleet_lost", "Streams that another worker has taken over.", self.lost)
