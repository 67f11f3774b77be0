"""What `listen`, `join` and `demo` compose: a station, a view that subscribes to it, and what signals and keys do."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rtms_cli.commands.groups import RecordingOptions
from rtms_cli.commands.options import file_mode, is_terminal
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.listening import OpenListener
from rtms_cli.station.observing import Observer
from rtms_cli.station.running import check_out, on_signals, running_station
from rtms_cli.station.station import Station
from rtms_cli.view.lines import JsonLines, PlainLines
from rtms_cli.view.terminal import never_be_stopped
from rtms_cli.view.text import size_of
from rtms_cli.wire.hosts import HostPolicy

if TYPE_CHECKING:
    from rtms_cli.live.notifier import Notifier


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
        observers: list[Observer] = [view]
        listeners: list[OpenListener] = []
        if options.notify:
            notifier = await stack.enter_async_context(make_notifier(options, view, tls))
            observers.append(notifier)
            listeners.append(notifier.open_listener)
        station = await stack.enter_async_context(
            running_station(
                out=options.out,
                request=request,
                sign=sign,
                policy=policy,
                trusted=trusted,
                observers=observers,
                listeners=listeners,
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


def make_notifier(options: RecordingOptions, view: Observer, tls: ssl.SSLContext | None) -> "Notifier":
    """What sends the events that `--notify` asks for.

    :raises Problem: where a receiver or a secret is none.
    """
    from rtms_cli.live.notifications import SECRET_VARIABLE, endpoints_of, read_secrets
    from rtms_cli.live.notifier import Notifier
    from rtms_cli.station.credentials import find_secret

    secrets = read_secrets(find_secret(SECRET_VARIABLE) or "")
    endpoints = endpoints_of(options.notify or (), secrets)
    for endpoint in endpoints:
        if endpoint.is_open:
            view.on_notice(f"WARNING: {endpoint.label} is not encrypted: who is on the way reads what is said")
    return Notifier(endpoints, secrets, options.out, view.on_event, tls=tls, keep_revoked=options.keep_revoked)


def space_warning(out: Path, request: MediaRequest, mode: int = 0o600) -> str | None:
    """A line where there is room for less than an hour of what is asked for.

    :raises Problem: where nothing can be written.
    """
    room = check_out(out, request, mode)
    if not room.is_short:
        return None
    return f"{size_of(room.free_nbytes)} are free in {out}; an hour of one stream may take {size_of(room.hour_nbytes)}"
