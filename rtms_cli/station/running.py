"""What `listen`, `join` and `demo` have in common: a station with its writer and view, and what signals do to it."""

import asyncio
import os
import shutil
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rtms_cli.commands.options import is_terminal
from rtms_cli.errors import Problem
from rtms_cli.protocol.media import (
    DEFAULT_PARAMS,
    MediaParams,
    MediaRequest,
    TranscriptParams,
    params_fault,
    parse_audio,
    parse_language,
    parse_media,
    parse_share,
    parse_video,
)
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import ContentType, MediaType
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.writer import Writer
from rtms_cli.station.station import Observer, Station, recorder_in
from rtms_cli.view.lines import JsonLines, PlainLines
from rtms_cli.view.text import size_of
from rtms_cli.wire.dialer import Dialer, tls_context
from rtms_cli.wire.hosts import HostPolicy

T = TypeVar("T")


def media_request(
    media: str,
    *,
    split: bool,
    audio: str = "l16",
    separate: bool = False,
    rtp: bool = False,
    video: str = "jpg",
    video_user: str = "",
    share: str = "jpg",
    language: str = "English",
    detect_language: bool = True,
    live: bool = False,
) -> MediaRequest:
    """Read the options that say what to ask for.

    :raises Problem: where they do not make a valid request; it names the valid ones.
    """
    option = "--media"
    try:
        types = parse_media(media)
        option = "--audio"
        audio_params = parse_audio(audio, separate=separate, rtp=rtp)
        option = "--video"
        video_params = parse_video(video, one_participant=bool(video_user))
        option = "--share"
        share_params = parse_share(share)
        option = "--language"
        spoken = parse_language(language)
    except ValueError as error:
        raise Problem(f"{option}: {error}") from None
    params = MediaParams(
        audio_params,
        video_params,
        share_params,
        TranscriptParams(ContentType.TEXT, spoken, detect_language),
        DEFAULT_PARAMS.chat,
    )
    fault = params_fault(params, types)
    if fault is not None:
        raise Problem(fault.text)
    return MediaRequest(types, params, split, False if live else None, video_user)


def file_mode(text: str) -> int:
    """Read `--mode`.

    :raises Problem: where it is no octal number, or its owner could not write the files.
    """
    try:
        mode = int(text, 8)
    except ValueError:
        mode = 0
    if mode & 0o600 != 0o600 or mode & ~0o666:
        raise Problem(f"--mode {text} makes no files that we could write.", "Use 600, 640, 644 or 660, for example.")
    return mode


def tls_options(ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext | None:
    """What `--ca-file` and `--insecure` ask for; `None` is the system's store.

    :raises Problem: where the file holds no certificate.
    """
    if insecure:
        print(  # noqa: T201
            "warning: --insecure: anybody on the way can read and change what is recorded", file=sys.stderr
        )
    elif ca_file is None:
        return None
    try:
        return tls_context(None if ca_file is None else str(ca_file), verify=not insecure)
    except OSError as error:
        raise Problem(
            f"--ca-file {ca_file} cannot be used: {error.strerror or error}.", "Give a PEM file with certificates."
        ) from None


def check_http_url(option: str, url: str) -> None:
    """Check a URL to post to.

    :raises Problem: where it is none.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Problem(f"{option} {url} is no http:// or https:// URL.", "Give the whole URL, with its path.")


BYTES_PER_S = {
    MediaType.AUDIO: 80_000,
    MediaType.VIDEO: 1_200_000,
    MediaType.SHARE: 500_000,
    MediaType.TRANSCRIPT: 300,
    MediaType.CHAT: 100,
}
"""What a stream of each kind takes on the disk, its capture included: L16 at 16 kHz, JPG at 5 fps HD and 1 fps FHD."""


def check_out(out: Path, request: MediaRequest) -> str | None:
    """Whether recordings can be made there at all.

    :returns: a warning, where there is room for less than an hour of what is asked for.
    :raises Problem: where nothing can be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"rtms")
    except OSError as error:
        raise Problem(f"Cannot write to {out}: {error.strerror}.", "Choose another folder with --out.") from None
    hour = 3600 * sum(rate for kind, rate in BYTES_PER_S.items() if kind in request.types)
    free = shutil.disk_usage(out).free
    if free < hour:
        return f"{size_of(free)} are free in {out}; an hour of one stream may take {size_of(hour)}"
    return None


SWITCH_S = 0.0001
"""How long the event loop waits for the thread that writes: keep-alives are in the same queue as media."""


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine, on uvloop where there is one: it halves what a wake-up costs."""
    import gc

    gc.freeze()  # what was imported stays: no need to look through it again and again
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(20_000, 20, 50)  # a packet is no cycle, and hundreds of streams make many objects
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


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
    mode: int = 0o600,
    keep_revoked: bool = False,
    keep_encoded: bool = False,
    tls: ssl.SSLContext | None = None,
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
    remark = check_out(out, request)
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

    def mark(stream_id: str) -> None:
        station.mark(stream_id, "the m key")
        station.notice("marked: a line in events.jsonl")

    async with AsyncExitStack() as stack:
        observer: Observer
        restore: Callable[[], None] = lambda: None  # noqa: E731
        if as_json or plain or not is_terminal():
            observer = lines = JsonLines() if as_json else PlainLines()
            stack.callback(lines.close)
        else:
            from rtms_cli.view.screen import Screen

            observer = screen = Screen(title, lambda: station.views(), end, mark, out, progress)
            restore = screen.restore
            await stack.enter_async_context(screen)
        station = Station(
            make_recorder=recorder_in(out, mode=mode, keep_revoked=keep_revoked, keep_encoded=keep_encoded),
            request=request,
            sign=sign,
            dial=Dialer(policy, tls),
            writer=writer,
            observer=observer,
            trusted=trusted,
            max_streams=max_streams,
        )
        on_signals(stop, restore)
        if remark is not None:
            station.notice(f"WARNING: {remark}")
        reporting = asyncio.create_task(station.report_progress(PROGRESS_S), name="progress")
        try:
            yield station
        finally:
            await station.stop("rtms")
            await writer.close()
            reporting.cancel()


PROGRESS_S = 10.0
"""How often lines tell how far every stream is."""


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
