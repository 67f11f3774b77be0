"""What a station has done, in Prometheus' text format, for `GET /metrics`."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from rtms_cli.protocol.numbers import MessageType
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.observing import StreamSnapshot

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MoreFigures = Callable[[], "Iterable[Metric]"]
"""Gives figures of something that a station knows nothing of."""

OTHERS = "other types"
"""What a server names itself: a label for each would fill a scraper's memory, and it might not even be text."""
_KNOWN = frozenset((*MessageType.__members__, "UNREADABLE", "unreadable"))


class Totals:
    """Sums over recorders; counters that a scraper sees never fall."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.nbytes: Counter[str] = Counter()
        self.keep_alives_received = self.keep_alives_answered = 0
        self.written_nbytes = self.losses = 0

    def add(self, snapshot: RecorderSnapshot, times: int = 1) -> None:
        """Add a recorder's counters, or take them away again (`times=-1`)."""
        for name, count in snapshot.counts.items():
            label = name if name in _KNOWN else OTHERS
            self.messages[label] += times * count
            self.nbytes[label] += times * snapshot.nbytes.get(name, 0)
        for received, answered, _ in snapshot.keep_alive.values():
            self.keep_alives_received += times * received
            self.keep_alives_answered += times * answered
        self.written_nbytes += times * snapshot.written_nbytes
        self.losses += times * snapshot.losses

    def merge(self, other: "Totals") -> None:
        """Add other sums."""
        self.messages.update(other.messages)
        self.nbytes.update(other.nbytes)
        self.keep_alives_received += other.keep_alives_received
        self.keep_alives_answered += other.keep_alives_answered
        self.written_nbytes += other.written_nbytes
        self.losses += other.losses


class Figures:
    """A collector for one scrape.

    :param past: what finished recordings had counted.
    :param ended: how often recordings have ended, by status.
    :param answers: how often a webhook was answered, by HTTP status.
    :param more: give further figures.
    """

    def __init__(
        self,
        views: Sequence[StreamSnapshot],
        past: Totals,
        ended: Mapping[str, int],
        answers: Mapping[int, int],
        free_nbytes: int | None,
        more: Sequence["MoreFigures"] = (),
    ) -> None:
        self.views = views
        self.past = past
        self.ended = ended
        self._answers = answers
        self._free_nbytes = free_nbytes
        self.more = more

    def collect(self) -> Iterator["Metric"]:
        """See `prometheus_client.registry.Collector`."""
        from prometheus_client.core import GaugeMetricFamily as Gauge

        totals = deepcopy(self.past)
        for view in self.views:
            totals.add(view.recording)
        sockets = [channel for view in self.views for channel in view.session.channels]
        slowest_ms = [one[2] or 0.0 for view in self.views for one in view.recording.keep_alive.values()]
        yield Gauge("rtms_streams", "Streams that are being recorded.", len(self.views))
        yield _by("rtms_recordings", "Recordings that ended.", "status", self.ended.items())
        yield _by("rtms_webhooks", "Webhooks, by HTTP status of the answer.", "status", self._answers.items())
        yield _by("rtms_messages", "Messages received.", "type", totals.messages.items())
        yield _by("rtms_received_bytes", "Bytes of messages received.", "type", totals.nbytes.items())
        yield _counter("rtms_keep_alives_received", "Keep-alive requests.", totals.keep_alives_received)
        yield _counter("rtms_keep_alives_answered", "Keep-alive requests answered.", totals.keep_alives_answered)
        yield Gauge(
            "rtms_keep_alive_slowest_seconds",
            "Slowest answer to a keep-alive among the streams that run.",
            max(slowest_ms, default=0.0) / 1000,
        )
        yield _counter("rtms_written_bytes", "Bytes written to recordings.", totals.written_nbytes)
        yield _counter("rtms_losses", "What could not be kept; see the manifests.", totals.losses)
        backlog = sum(view.recording.backlog_nbytes for view in self.views)
        yield Gauge("rtms_backlog_bytes", "Bytes that wait for the disk.", backlog)
        phases = Counter(channel.phase.value for channel in sockets)
        yield _gauges("rtms_sockets", "Sockets of the streams that run, by state.", "state", phases.items())
        retries = sum(max(0, channel.connects - 1) for channel in sockets)
        yield Gauge("rtms_reconnects", "Reconnections of the running streams.", retries)
        if self._free_nbytes is not None:
            yield Gauge("rtms_disk_free_bytes", "Bytes free where recordings go.", self._free_nbytes)
        for figures in self.more:
            yield from figures()


def exposition(figures: Figures) -> bytes:
    """The figures as a scraper reads them."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    return generate_latest(registry)


def _counter(name: str, what: str, value: float) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, what, value)


def _by(name: str, what: str, label: str, values: Iterable[tuple[object, float]]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, what, labels=(label,))
    for key, value in values:
        family.add_metric((str(key),), value)
    return family


def _gauges(name: str, what: str, label: str, values: Iterable[tuple[object, float]]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, what, labels=(label,))
    for key, value in values:
        family.add_metric((str(key),), value)
    return family
