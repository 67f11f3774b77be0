"""Forwards the events of a worker's station over the line to the process that listens, and replays them there."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from rtms_cli.fleet import messages
from rtms_cli.fleet.messages import Family, Look, Sample, Sums
from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.metrics import Totals
from rtms_cli.station.observing import Observer
from rtms_cli.station.station import Station

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MOST_BACKLOG_NBYTES = 4 << 20
"""Above this backlog, only starts and ends are sent."""
FULL_NBYTES = 64 << 20
"""Above this backlog, nothing is sent, because the other process is frozen."""


class Teller:
    """An `Observer` that forwards everything to the process that listens. Never waits.

    :param send: sends a message.
    :param backlog_nbytes: returns how many bytes are waiting to be sent.
    """

    def __init__(self, send: Callable[[bytes], bool], backlog_nbytes: Callable[[], int]) -> None:
        self._send = send
        self._backlog_nbytes = backlog_nbytes
        self._untold = 0
        self.on_end: Callable[[], None] = lambda: None
        """Called when a session has ended."""

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """See `Observer`."""
        self._tell(messages.Started(_without_signature(stream), folder))

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""
        self._tell(messages.Seen.of(stream_id, frame), MOST_BACKLOG_NBYTES)

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`."""
        self._tell(messages.Progressed(dict(snapshots)), MOST_BACKLOG_NBYTES)

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        self._tell(messages.Ended(_without_signature(stream), folder, finish, manifest))
        self.on_end()

    def on_notice(self, text: str) -> None:
        """See `Observer`."""
        self._tell(messages.Noticed(text))

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""
        self._tell(messages.Happened(name, dict(fields), text))

    def look(self, station: Station) -> None:
        """Report the streams of a station."""
        figures = station.figures({}, None)
        past = figures.past
        views = [
            structs.replace(view, session=structs.replace(view.session, stream=_without_signature(view.session.stream)))
            for view in figures.views
        ]
        sums = Sums(
            dict(past.messages),
            dict(past.nbytes),
            past.keep_alives_received,
            past.keep_alives_answered,
            past.written_nbytes,
            past.losses,
        )
        more = tuple(_family(metric) for more_figures in figures.more for metric in more_figures())
        self._tell(Look(tuple(views), sums, dict(figures.ended), more), MOST_BACKLOG_NBYTES)

    def _tell(self, said: messages.Said, most_nbytes: int = FULL_NBYTES) -> None:
        if self._backlog_nbytes() > most_nbytes:
            self._untold += 1
            return
        if self._untold:
            count, self._untold = self._untold, 0
            self._send(
                messages.write(messages.Noticed(f"{count} lines of a worker were not shown: too many were waiting"))
            )
        self._send(messages.write(said))


def _without_signature(stream: Stream) -> Stream:
    return structs.replace(stream, signature=None)


def _family(metric: "Metric") -> Family:
    samples = tuple(Sample(one.name, dict(one.labels), float(one.value)) for one in metric.samples)
    return Family(metric.name, metric.documentation, metric.type, samples)


def play(said: messages.Said, observer: Observer) -> None:
    """Replay a worker's event to an observer."""
    match said:
        case messages.Started(stream, folder):
            observer.on_started(stream, folder)
        case messages.Seen(stream_id=stream_id):
            observer.on_frame(stream_id, said.frame())
        case messages.Progressed(snapshots):
            observer.on_progress(snapshots)
        case messages.Ended(stream, folder, finish, manifest):
            observer.on_finished(stream, folder, finish, manifest)
        case messages.Noticed(text):
            observer.on_notice(text)
        case messages.Happened(name, fields, text):
            observer.on_event(name, fields, text)
        case _:
            raise AssertionError(f"{type(said).__name__} is not an observer's message")


def totals_of(sums: Sums) -> Totals:
    """Convert to mutable totals."""
    totals = Totals()
    totals.messages.update(sums.messages)
    totals.nbytes.update(sums.nbytes)
    totals.keep_alives_received = sums.keep_alives_received
    totals.keep_alives_answered = sums.keep_alives_answered
    totals.written_nbytes = sums.written_nbytes
    totals.losses = sums.losses
    return totals


def labelled(families: Mapping[str, Iterable[Family]]) -> "Iterator[Metric]":
    """Yield the metrics of several workers, with a label for the worker.

    :param families: metrics by worker.
    """
    from prometheus_client.metrics_core import Metric

    metrics: dict[str, Metric] = {}
    for worker, its in families.items():
        for family in its:
            metric = metrics.setdefault(family.name, Metric(family.name, family.what, family.kind))
            for sample in family.samples:
                metric.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    yield from metrics.values()
