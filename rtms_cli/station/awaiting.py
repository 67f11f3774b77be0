"""Waits for the stream that Zoom was asked to start, and for its end."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from rtms_cli.cloud.rest import Order, Target
from rtms_cli.errors import Problem
from rtms_cli.machine import Finish, Frame
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.control import Accepted, Control
from rtms_cli.station.station import Outcome, Station
from rtms_cli.station.subscribing import Subscriber

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a started webhook may take before the usual causes are listed: it comes within seconds, or mostly never."""
_NUMBERED = (Product.MEETING, Product.WEBINAR)


class Awaited:
    """The stream that was asked for: told from the others that are announced, and watched.

    Subscribes to the station as an observer, and is asked by its intake which streams to take.

    :param target: what it is a stream of.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.is_asked_for = False
        """Whether Zoom was asked: from then on a stream that does not say of which meeting it is, is taken for it."""
        self.has_begun = asyncio.Event()
        self.has_ended = asyncio.Event()

    def refusal(self, stream: Stream, others: Sequence[Stream]) -> str | None:
        """Why a stream is not recorded, or `None`.

        :param others: those that run or may go on.
        """
        if any(other.stream_id == stream.stream_id for other in others):
            return None
        if (why := self._not_of_the_target(stream)) is not None:
            return why
        if others:
            whose = f" (operator {stream.operator_id})" if stream.operator_id else ""
            return f"another stream of {self._target}{whose}: one is recorded already"
        return "it is over" if self.has_ended.is_set() else None

    def _not_of_the_target(self, stream: Stream) -> str | None:
        target = self._target
        told = f"it is not of {target}, which is waited for"
        if target.product not in _NUMBERED:
            return None if (stream.product, stream.id) == (target.product, target.id) else told
        if stream.product not in _NUMBERED:
            return told
        if stream.number is not None:
            return None if stream.number == target.id else told
        return None if self.is_asked_for else f"{told}, or does not say so"

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """See `Observer`."""
        self.has_begun.set()

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        self.has_ended.set()

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`."""

    def on_notice(self, text: str) -> None:
        """See `Observer`."""

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""


async def started_and_recorded(
    station: Station,
    awaited: Awaited,
    control: Control,
    order: Order,
    wait_s: float,
    causes: Sequence[str],
    *,
    subscriber: Subscriber | None = None,
    patience_s: float = PATIENCE_S,
) -> Outcome | None:
    """Ask Zoom for a stream, wait for it, and wait for its end.

    A refusal ends it, unless the stream has begun by then. Until it has, it is waited for until the station is stopped.

    :param wait_s: how long to go on asking; see `Control.give`.
    :param causes: lines that are told where no stream begins for some time after Zoom took the order.
    :param subscriber: what has to be connected before Zoom is asked.
    :returns: how it ended; `None` if the station was stopped before it began.
    :raises Problem: if Zoom does not take the order, or the event WebSocket is not available.
    """
    station.subscribe(awaited)
    async with AsyncExitStack() as stack:

        def task(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
            made = asyncio.create_task(work, name=name)
            stack.callback(made.cancel)
            return made

        begun, ended = task(awaited.has_begun.wait(), "begun"), task(awaited.has_ended.wait(), "ended")
        over = {ended, task(station.stopped(), "stopped")}
        early: set[asyncio.Task[Any]] = {begun, *over}
        may_ask = True
        if subscriber is not None:
            station.notice("connecting to Zoom's event WebSocket, before Zoom is asked for the stream")
            may_ask = await _first(early, task(subscriber.connected(), "connected"))
            early.add(task(subscriber.failed(), "failed"))
        if may_ask:
            awaited.is_asked_for = True
            asking = task(control.give(order, wait_s, station.notice), "ask Zoom")
            if await _first(early, asking):
                _tell(station, asking.result(), order)
                reminder = task(_remind(station, order, causes, patience_s), "causes")
                await _first(early, begun)
                reminder.cancel()
            else:
                asking.add_done_callback(lambda done: _told_late(station, done, order))
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
    return station.outcomes[-1] if station.outcomes else None


async def _first(others: Iterable[asyncio.Task[Any]], wanted: asyncio.Task[Any]) -> bool:
    """Wait for a task, or for one of others; says whether it was that one, and none of them.

    :raises Problem: what it, or another one, raised.
    """
    done, _ = await asyncio.wait({*others, wanted}, return_when=asyncio.FIRST_COMPLETED)
    if done <= {wanted}:
        await wanted
        return True
    for task in done - {wanted}:
        await task
    return False


def _tell(station: Station, accepted: Accepted, order: Order) -> None:
    fields: dict[str, object] = {
        "state": "accepted",
        "action": order.action.value,
        "product": order.target.product.value,
        "id": order.target.id,
        "http_status": accepted.told.status,
        "tries": accepted.tries,
        "token_flow": accepted.flow,
    }
    text = (
        f"Zoom was asked to {order.action} the stream of {order.target} ({accepted.told.status}, by {accepted.flow}); "
        "waiting for its started webhook"
    )
    station.tell("remote", fields, text)


def _told_late(station: Station, asking: "asyncio.Task[Accepted]", order: Order) -> None:
    """Tell what came of asking after the stream had begun: then nothing depends on it any more."""
    if asking.cancelled():
        return
    error = asking.exception()
    if error is None:
        _tell(station, asking.result(), order)
    elif isinstance(error, Problem):
        station.notice(f"it has begun, whatever was answered: {error.what}")
    else:
        raise error


async def _remind(station: Station, order: Order, causes: Sequence[str], patience_s: float) -> None:
    await asyncio.sleep(patience_s)
    station.notice(f"No started webhook for {patience_s:.0f} s. Still waiting for {order.target}; the usual causes:")
    for line in causes:
        station.notice(f"  {line}")
