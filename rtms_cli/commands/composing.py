"""What `listen`, `join` and `demo` compose: a station, a view that subscribes to it, and what signals and keys do."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from rtms_cli.commands.groups import RecordingOptions
from rtms_cli.commands.options import file_mode, is_terminal
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.observing import Observer
from rtms_cli.station.running import check_out, on_signals, running_station
from rtms_cli.station.station import Station
from rtms_cli.view.lines import JsonLines, PlainLines
from rtms_cli.view.terminal import never_be_stopped
from rtms_cli.view.text import size_of
from rtms_cli.wire.hosts import HostPolicy


@asynccontextmanager
async def shown_station(
    title: str,
    options: RecordingOptions,
    request: MediaRequest,
    sign: Callable[[Stream], Signature],
    policy: HostPolicy,
    *,
    trusted: bool,
    tls: ssl.SSLContext | None = None,
    max_streams: int = 1000,
    progress: Callable[[], float | None] = lambda: None,
) -> AsyncIterator[Station]:
    """A station that records until it is left, and that shows itself.

    On a terminal it is a dashboard, elsewhere (or where the options ask for it) lines. For signals see `on_signals`.

    :param title: what runs, for the dashboard's first line.
    :param progress: how far it is, from 0 to 1, where the end is known.
    """
    mode = file_mode(options.mode)
    remark = space_warning(options.out, request, mode)

    def end(stream_id: str | None) -> None:
        if stream_id is None:
            station.request_stop("the q key")
        else:
            station.end(stream_id, "the s key")

    def mark(stream_id: str) -> None:
        station.mark(stream_id, "the m key")
        station.notice("marked: a line in events.jsonl")

    async with AsyncExitStack() as stack:
        view: Observer
        restore: Callable[[], None] = lambda: None  # noqa: E731
        if options.as_json or options.plain or not is_terminal():
            never_be_stopped()
            view = lines = JsonLines() if options.as_json else PlainLines()
            stack.callback(lines.close)
        else:
            from rtms_cli.view.screen import Screen

            view = screen = Screen(title, lambda: station.snapshots(), end, mark, options.out, progress)
            restore = screen.restore
            await stack.enter_async_context(screen)
        station = await stack.enter_async_context(
            running_station(
                out=options.out,
                request=request,
                sign=sign,
                policy=policy,
                trusted=trusted,
                observers=[view],
                max_streams=max_streams,
                max_buffer_mib=options.max_buffer,
                mode=mode,
                keep_revoked=options.keep_revoked,
                keep_encoded=options.keep_encoded,
                tls=tls,
            )
        )
        on_signals(station.request_stop, restore)
        if remark is not None:
            station.notice(f"WARNING: {remark}")
        yield station


def space_warning(out: Path, request: MediaRequest, mode: int = 0o600) -> str | None:
    """A line where there is room for less than an hour of what is asked for.

    :raises Problem: where nothing can be written.
    """
    room = check_out(out, request, mode)
    if not room.is_short:
        return None
    return f"{size_of(room.free_nbytes)} are free in {out}; an hour of one stream may take {size_of(room.hour_nbytes)}"
