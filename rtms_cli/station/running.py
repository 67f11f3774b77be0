"""A station with its writer and dialer, the event loop that it runs on, and what signals do to it."""

import asyncio
import os
import shutil
import signal
import ssl
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import MediaType
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.files import folder_mode, make_folder
from rtms_cli.recording.writer import Writer
from rtms_cli.station.intake import Choose
from rtms_cli.station.listening import OpenListener
from rtms_cli.station.marking import take_marks
from rtms_cli.station.notify_systemd import tell_systemd
from rtms_cli.station.observing import Observer
from rtms_cli.station.station import Station, recorder_in, recorder_nowhere, revoke_in
from rtms_cli.wire.descriptors import raise_limit
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy

T = TypeVar("T")

BYTES_PER_S = {
    MediaType.AUDIO: 80_000,
    MediaType.VIDEO: 1_200_000,
    MediaType.SHARE: 500_000,
    MediaType.TRANSCRIPT: 300,
    MediaType.CHAT: 100,
}
"""What a stream of each kind takes on the disk, its capture included: L16 at 16 kHz, JPG at 5 fps HD and 1 fps FHD."""

PROGRESS_S = 10.0
"""How often observers hear how far every stream is."""

THREADS = 8
"""That write files and lines, look up names, and do what else has to wait for something."""

SWITCH_S = 0.0001
"""How long the event loop waits for the thread that writes: keep-alives are in the same queue as media."""


class Room(Struct, frozen=True):
    """The space on a disk, and what is needed of it."""

    free_nbytes: int
    hour_nbytes: int
    """What an hour of one stream may take."""

    @property
    def is_short(self) -> bool:
        """Whether an hour may not fit."""
        return self.free_nbytes < self.hour_nbytes


def check_out(out: Path, request: MediaRequest, mode: int = 0o600) -> Room:
    """Make the folder for recordings, and see how much room it has for what is asked for.

    :param mode: the permissions of the recordings' files; a folder that has to be made gets those that go with it.
    :raises Problem: if nothing can be written.
    """
    try:
        make_folder(out, folder_mode(mode))
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"rtms")
    except OSError as error:
        raise Problem(f"Cannot write to {out}: {reason_of(error)}.", "Choose another folder with --out.") from None
    hour = 3600 * sum(rate for kind, rate in BYTES_PER_S.items() if kind in request.types)
    return Room(shutil.disk_usage(out).free, hour)


@asynccontextmanager
async def running_station(
    *,
    out: Path,
    request: MediaRequest,
    sign: Callable[[Stream], Signature],
    policy: HostPolicy,
    trusted: bool,
    observers: Sequence[Observer] = (),
    listeners: Sequence[OpenListener] = (),
    is_recorded: bool = True,
    max_streams: int = 1000,
    max_buffer_mib: int = 256,
    mode: int = 0o600,
    keep_revoked: bool = False,
    keep_encoded: bool = False,
    tls: ssl.SSLContext | None = None,
    choose: Choose = lambda stream, others: None,
) -> AsyncIterator[Station]:
    """A station that records until it is left; then every recording is finished.

    :param out: the folder for recordings; see `check_out`.
    :param is_recorded: whether files are made; else what comes is only listened to.
    :param mode: permissions of the recordings' files.
    :param tls: how to verify Zoom's servers; `None` is the system's way.

    The other parameters are those of `Station`.
    """
    writer = Writer(max_buffer_mib << 20)
    station = Station(
        make_recorder=recorder_in(out, mode=mode, keep_revoked=keep_revoked, keep_encoded=keep_encoded)
        if is_recorded
        else recorder_nowhere,
        request=request,
        sign=sign,
        dial=Dialer(policy, tls),
        writer=writer,
        observers=observers,
        listeners=listeners,
        trusted=trusted,
        max_streams=max_streams,
        revoke=None if keep_revoked or not is_recorded else revoke_in(out),
        check_url=policy.check_name,
        choose=choose,
    )
    reporting = asyncio.create_task(station.report_progress(PROGRESS_S), name="progress")
    marking = asyncio.create_task(take_marks(station), name="marks")
    try:
        yield station
    finally:
        await station.stop("rtms")
        await writer.close()
        reporting.cancel()
        marking.cancel()


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine, on uvloop where there is one: it halves what a wake-up costs.

    :raises Problem: if the system does not give this process the threads that it will need.
    """
    import gc

    try:
        _try_threads()
    except RuntimeError:
        work.close()
        what = f"The system does not give this process the {THREADS} threads that it needs."
        raise Problem(what, "Raise `ulimit -u` or `ulimit -v`, or what the container may have.") from None
    raise_limit()
    gc.freeze()  # what was imported stays: no need to look through it again and again
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(20_000, 20, 50)  # a packet is not a cycle, and hundreds of streams make many objects
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def _try_threads() -> None:
    """Start as many threads as may be needed: one that cannot be started later costs a recording, or the process.

    :raises RuntimeError: if one cannot be started.
    """
    may_end = threading.Event()
    try:
        for _ in range(THREADS):
            threading.Thread(target=may_end.wait, daemon=True).start()
    finally:
        may_end.set()


def on_signals(stop: Callable[[str], None], before_exit: Callable[[], None] = lambda: None) -> None:
    """Have the first SIGINT, SIGTERM or SIGHUP call `stop` with its name. A second SIGINT or SIGTERM exits at once.

    SIGHUP only ever asks for the end, and never hurries it: a terminal that closes sends it twice (the kernel and the
    shell), and a service manager sends it right after SIGTERM. Where it was ignored when the process started, as under
    `nohup`, it stays ignored.
    """
    loop = asyncio.get_running_loop()
    is_stopping = was_asked = False

    def on_hangup() -> None:
        nonlocal is_stopping
        if not is_stopping:
            is_stopping = True
            tell_systemd("STOPPING=1")
            stop("SIGHUP")

    def on_signal(name: str) -> None:
        nonlocal is_stopping, was_asked
        if was_asked:
            try:
                before_exit()
            finally:
                os._exit(130)  # what is on disk is valid, as after kill -9
        was_asked = True
        if not is_stopping:
            is_stopping = True
            tell_systemd("STOPPING=1")
            stop(name)

    loop.add_signal_handler(signal.SIGINT, on_signal, "Ctrl-C")
    loop.add_signal_handler(signal.SIGTERM, on_signal, "SIGTERM")
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
