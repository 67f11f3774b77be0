"""What `listen`, `join` and `demo` have in common: a station with its writer and view, and what signals do to it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rtms_cli.commands.station import Station
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
) -> AsyncIterator[Station]:
    """A station that records until it is left; then every recording is finished.

    SIGINT or SIGTERM end its sessions cleanly; a second one ends the process at once.
    """
    writer = Writer(max_buffer_mib << 20)
    station = Station(
        out=out,
        request=request,
        sign=sign,
        dial=Dialer(policy),
        writer=writer,
        observer=JsonLines() if as_json else PlainLines(),
        trusted=trusted,
        max_streams=max_streams,
    )
    stopping: list[asyncio.Task[None]] = []
    on_signals(lambda who: stopping.append(asyncio.create_task(station.stop(who), name=f"stop after {who}")))
    progress = asyncio.create_task(station.report_progress(PROGRESS_S), name="progress")
    try:
        yield station
    finally:
        await station.stop("rtms")
        await writer.close()
        progress.cancel()


PROGRESS_S = 10.0
"""How often lines tell how far every stream is."""


def on_signals(stop: Callable[[str], None]) -> None:
    """Have SIGINT and SIGTERM call `stop` with who asked; asked twice, the process ends at once."""
    loop = asyncio.get_running_loop()
    asked = False

    def on_signal(name: str) -> None:
        nonlocal asked
        if asked:
            os._exit(130)  # what is on disk is valid, as after kill -9
        asked = True
        stop(name)

    loop.add_signal_handler(signal.SIGINT, on_signal, "Ctrl-C")
    loop.add_signal_handler(signal.SIGTERM, on_signal, "SIGTERM")
