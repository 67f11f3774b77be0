"""What records the streams of `listen`: this process alone, or workers on a queue."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rtms_cli.commands.groups import LiveOptions, RecordingOptions
from rtms_cli.protocol.webhooks import Webhook
from rtms_cli.station.station import Station

if TYPE_CHECKING:
    from rtms_cli.fleet.worker import Worker

Offer = Callable[[bytes, Webhook], Coroutine[Any, Any, None]]
"""Puts a webhook where it is safe, before it is answered."""


class Team(Protocol):
    """See the module."""

    def stop(self, station: Station, who: str) -> None:
        """Someone asked for the end."""

    def open(
        self, station: Station, live: LiveOptions, recording: RecordingOptions
    ) -> AbstractAsyncContextManager[Offer | None]:
        """Let the team work, for as long as it is entered; where webhooks have to go first, if anywhere."""


class Alone:
    """The station records."""

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
        self._worker: Worker | None = None

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
            self._worker = worker
            async with Front(dispatch, station) as front:
                task = None if worker is None else asyncio.create_task(self._work(station, worker), name="worker")
                try:
                    yield front.offer
                finally:
                    if worker is not None and task is not None:
                        worker.drain("rtms")
                        await task

    async def _work(self, station: Station, worker: "Worker") -> None:
        try:
            await worker.run()
        finally:
            station.request_stop("its worker has ended")
