"""What `listen`, `join` and `demo` have in common: a station with its writer and view, and what signals do to it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from rtms_cli.commands.station import Observer, Station
from rtms_cli.errors import Problem
from rtms_cli.protocol.media import MediaRequest, params_fault, parse_media
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.writer import Writer
from rtms_cli.view.lines import JsonLines, PlainLines
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy


def media_request(media: str, *, split: bool) -> MediaRequest:
    """Read the options that say what to ask for.

    :raises Problem: where they do not make a valid request; it names the valid ones.
    """
    try:
        request = MediaRequest(parse_media(media), split=split)
    except ValueError as error:
        raise Problem(f"--media: {error}") from None
    fault = params_fault(request.params, request.types)
    if fault is not None:
        raise Problem(fault.text)
    return request


@asynccontextmanager
async def running_station(
    title: str,
    *,
    out: Path,
    request: MediaRequest,
    sign: Callable[[Stream], Signature],
    policy: HostPolicy,
    trusted: bool,
    max_streams: int = 1000,
    max_buffer_mib: int = 256,
    as_json: bool = False,
    plain: bool = False,
    progress: Callable[[], float | None] = lambda: None,
) -> AsyncIterator[Station]:
    """A station that records until it is left; then every recording is finished.

    It shows itself on a terminal as a dashboard, elsewhere (or where asked to) as lines. SIGINT or SIGTERM end its
    sessions cleanly; a second one ends the process at once.

    :param title: what runs, for the dashboard's first line.
    :param progress: how far it is, from 0 to 1, where the end is known.
    """
    writer = Writer(max_buffer_mib << 20)
    tasks: set[asyncio.Task[None]] = set()

    def stop(who: str) -> None:
        task = asyncio.create_task(station.stop(who), name=f"stop after {who}")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def end(stream_id: str | None) -> None:
        if stream_id is None:
            stop("the q key")
        else:
            station.end(stream_id, "the s key")

    async with AsyncExitStack() as stack:
        observer: Observer
        restore: Callable[[], None] = lambda: None  # noqa: E731
        if as_json:
            observer = JsonLines()
        elif plain or not is_terminal():
            observer = PlainLines()
        else:
            from rtms_cli.view.screen import Screen

            observer = screen = Screen(title, lambda: station.views(), end, out, progress)
            restore = screen.restore
            await stack.enter_async_context(screen)
        station = Station(
            out=out,
            request=request,
            sign=sign,
            dial=Dialer(policy),
            writer=writer,
            observer=observer,
            trusted=trusted,
            max_streams=max_streams,
        )
        on_signals(stop, restore)
        reporting = asyncio.create_task(station.report_progress(PROGRESS_S), name="progress")
        try:
            yield station
        finally:
            await station.stop("rtms")
            await writer.close()
            reporting.cancel()


PROGRESS_S = 10.0
"""How often lines tell how far every stream is."""


def is_terminal() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def on_signals(stop: Callable[[str], None], before_exit: Callable[[], None] = lambda: None) -> None:
    """Have SIGINT and SIGTERM call `stop` with who asked; asked twice, the process ends at once."""
    loop = asyncio.get_running_loop()
    asked = False

    def on_signal(name: str) -> None:
        nonlocal asked
        if asked:
            before_exit()
            os._exit(130)  # what is on disk is valid, as after kill -9
        asked = True
        stop(name)

    loop.add_signal_handler(signal.SIGINT, on_signal, "Ctrl-C")
    loop.add_signal_handler(signal.SIGTERM, on_signal, "SIGTERM")
