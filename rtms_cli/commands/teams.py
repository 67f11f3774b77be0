"""What records the streams of `listen`: this process alone, or workers on a queue."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rtms_cli.commands.groups import LiveOptions, RecordingOptions
from rtms_cli.errors import Problem
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.station.station import Station

if TYPE_CHECKING:
    from rtms_cli.feed.messages import Worker
    from rtms_cli.fleet.dispatch import Dispatch
    from rtms_cli.fleet.worker import Worker as FleetWorker

Offer = Callable[[bytes, Webhook], Coroutine[Any, Any, None]]
"""Puts a webhook where it is safe, before it is answered."""


REPORT_S = 5.0
"""How often the queue is asked about its workers, while someone looks."""


class Team(Protocol):
    """See the module."""

    def workers(self) -> "Sequence[Worker]":
        """The workers on a queue, for views."""

    def watch(self, is_watched: bool) -> None:
        """Whether a view looks at them."""

    def stop(self, station: Station, who: str) -> None:
        """Someone asked for the end."""

    def open(
        self, station: Station, live: LiveOptions, recording: RecordingOptions
    ) -> AbstractAsyncContextManager[Offer | None]:
        """Let the team work, for as long as it is entered; where webhooks have to go first, if anywhere."""


class Alone:
    """The station records."""

    def workers(self) -> "Sequence[Worker]":
        """See `Team`."""
        return ()

    def watch(self, is_watched: bool) -> None:
        """See `Team`."""

    def stop(self, station: Station, who: str) -> None:
        """See `Team`."""
        station.request_stop(who)

    @asynccontextmanager
    async def open(
        self, station: Station, live: LiveOptions, recording: RecordingOptions
    ) -> AsyncIterator[Offer | None]:
        """See `Team`."""
        yield None


class Queued:
    """Workers on a queue record, and this process too where it has slots.

    :param url: the queue's.
    :param drain_s: how long to wait for ends before this process' streams are handed over.
    """

    def __init__(self, url: str, slots: int, drain_s: float) -> None:
        self._url = url
        self._slots = slots
        self._drain_s = drain_s
        self._worker: FleetWorker | None = None
        self._dispatch: Dispatch | None = None
        self._workers: Sequence[Worker] = ()
        self._is_watched = False
        self._asking: asyncio.Task[None] | None = None

    def workers(self) -> "Sequence[Worker]":
        """See `Team`."""
        return self._workers

    def watch(self, is_watched: bool) -> None:
        """See `Team`."""
        self._is_watched = is_watched
        if is_watched and self._asking is None and self._dispatch is not None:
            self._asking = asyncio.create_task(self._ask(self._dispatch), name="workers on the queue")
        elif not is_watched and self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _ask(self, dispatch: "Dispatch") -> None:
        from rtms_cli.feed.pictures import fleet_workers

        while True:
            try:
                self._workers = fleet_workers((await dispatch.report(with_streams=False)).workers)
            except Problem:  # the queue's own line says so; the last answer stands
                pass
            await asyncio.sleep(REPORT_S)

    def stop(self, station: Station, who: str) -> None:
        """See `Team`."""
        if self._worker is not None:
            self._worker.drain(who, wait_s=self._drain_s)
        else:
            station.request_stop(who)

    @asynccontextmanager
    async def open(
        self, station: Station, live: LiveOptions, recording: RecordingOptions
    ) -> AsyncIterator[Offer | None]:
        """See `Team`."""
        from rtms_cli.commands.composing import working
        from rtms_cli.fleet.front import Front
        from rtms_cli.fleet.queues import open_dispatch

        async with open_dispatch(self._url, lambda text: station.notice(f"WARNING: {text}")) as dispatch:
            worker = working(station, dispatch, self._slots, live, recording) if self._slots else None
            self._worker, self._dispatch = worker, dispatch
            self.watch(self._is_watched)
            async with Front(dispatch, station) as front:
                task = None if worker is None else asyncio.create_task(self._work(station, worker), name="worker")
                try:
                    yield front.offer
                finally:
                    self.watch(False)
                    self._dispatch = None
                    if worker is not None and task is not None:
                        worker.drain("rtms")
                        await task

    async def _work(self, station: Station, worker: "FleetWorker") -> None:
        try:
            await worker.run()
        finally:
            station.request_stop("its worker has ended")
