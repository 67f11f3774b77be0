"""What `listen`, `join` and `demo` compose: a station, a view that subscribes to it, and what signals and keys do."""

import asyncio
import functools
import os
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO
from urllib.parse import urlsplit

from rtms_cli.commands.groups import (
    CloudOptions,
    HookOptions,
    LiveOptions,
    LoggedOptions,
    RecordingOptions,
    WebOptions,
)
from rtms_cli.commands.options import file_mode, is_terminal, size
from rtms_cli.errors import Problem
from rtms_cli.live.hooks import Hooks
from rtms_cli.live.programs import kill_groups
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.disk_watch import DiskWatch
from rtms_cli.station.hearing import Hearer
from rtms_cli.station.intake import Choose
from rtms_cli.station.listening import OpenListener
from rtms_cli.station.metrics import MoreFigures
from rtms_cli.station.notify_systemd import heeding_systemd
from rtms_cli.station.observing import ConnectionStatus, Observer, Observers, StreamSnapshot
from rtms_cli.station.running import Room, check_out, on_signals, running_station
from rtms_cli.station.station import Station, recorder_in, recorder_nowhere
from rtms_cli.view.lines import JsonLines, PlainLines
from rtms_cli.view.terminal import never_be_stopped
from rtms_cli.view.text import size_of
from rtms_cli.wire.hosts import HostPolicy, is_zooms

if TYPE_CHECKING:
    from rtms_cli.cloud.tokens import Tokens
    from rtms_cli.fleet.crew import Crew
    from rtms_cli.fleet.dispatch import Dispatch
    from rtms_cli.fleet.reception import Reception
    from rtms_cli.fleet.worker import Worker
    from rtms_cli.live.notifications import Endpoint
    from rtms_cli.live.notifier import Notifier
    from rtms_cli.station.credentials import Credentials
    from rtms_cli.station.subscribing import Subscriber
    from rtms_cli.store.shipping import Shipping
    from rtms_cli.view.ended import Ended
    from rtms_cli.view.logs import LogLines
    from rtms_cli.wire.descriptors import Shares

DRAWN_S, WRITTEN_S = 0.5, 2.0
"""How often workers report their streams, for a screen and for `/metrics`."""
LAST_S = 30.0
"""For how long a process that recorded many streams goes on storing them at its end."""
STDOUT = "standard output"
"""How a tap's target is shown that is our own."""


class _Panel:
    """What a view asks of a station, and what its keys do; there may be none yet."""

    def __init__(self) -> None:
        self.station: Station | Reception | None = None
        self.stop: Callable[[str], None] = lambda who: None
        """What the q key does, with its name."""

    def end(self, stream_id: str | None) -> None:
        """End a stream, or all of it."""
        if self.station is not None and stream_id is None:
            self.stop("the q key")
        elif self.station is not None and stream_id is not None:
            self.station.end(stream_id, "the s key")

    def mark(self, stream_id: str) -> None:
        """Mark this moment in a stream's events."""
        if self.station is not None:
            self.station.mark(stream_id, "marked on the dashboard")
            self.station.notice("marked: a line in events.jsonl")

    def look(self) -> Sequence[StreamSnapshot]:
        """The streams that run."""
        return () if self.station is None else self.station.snapshots()

    def hints(self) -> Sequence[str]:
        """What to do as long as nothing has come."""
        return () if self.station is None else self.station.hints

    def connections(self) -> Sequence[ConnectionStatus]:
        """How connections stand that belong to no stream."""
        return () if self.station is None else [look() for look in self.station.statuses]


@asynccontextmanager
async def shown_station(
    title: str,
    options: RecordingOptions,
    live: LiveOptions,
    hook_options: HookOptions,
    request: MediaRequest,
    sign: Callable[[Stream], Signature],
    policy: HostPolicy,
    *,
    trusted: bool,
    tls: ssl.SSLContext | None = None,
    max_streams: int | None = None,
    progress: Callable[[], float | None] = lambda: None,
    choose: Choose = lambda stream, others: None,
    on_stop: Callable[[Station, str], None] = Station.request_stop,
    in_fleet: bool = False,
    web: WebOptions | None = None,
    fleet: Mapping[str, Callable[..., Any]] | None = None,
) -> AsyncIterator[Station]:
    """A station that records until it is left, and that shows itself.

    On a terminal it is a dashboard, elsewhere (or where the options ask for it) lines. For signals see `on_signals`.

    :param title: what runs, for the dashboard's first line.
    :param live: to whom what comes is passed on.
    :param hook_options: what runs when recordings begin and end.
    :param max_streams: how many at once; `None` is one stream, and what it may turn into.
    :param progress: how far it is, from 0 to 1, where the end is known.
    :param choose: see `Station`.
    :param on_stop: what signals and the q key do, with their names.
    :param in_fleet: see `recording_station`.
    :param web: whether a browser may look.
    :param fleet: `workers` and `watch` of `StationSource`, where there are workers on a queue.
    """
    check_options(options, live, hook_options)
    door = web_door(web)
    room = None if live.no_record else check_out(options.out, request, file_mode(options.mode))
    panel = _Panel()
    async with AsyncExitStack() as stack:
        shown = await _shown(stack, title, panel, options, live, progress)
        feed = Feed(title, options.out, [shown.view])
        station, hooks = await stack.enter_async_context(
            recording_station(
                feed.view,
                options,
                live,
                hook_options,
                request,
                sign,
                policy,
                trusted=trusted,
                tls=tls,
                max_streams=max_streams,
                choose=choose,
                show=shown.view.on_notice if shown.restore is not None else None,
                in_fleet=in_fleet,
            )
        )
        panel.station, panel.stop = station, functools.partial(on_stop, station)
        on_signals(panel.stop, lambda: _before_exit(hooks.kill, shown.restore))
        if room is not None:
            watch_disk(station, options.out, room)
        from rtms_cli.feed.ear import Ears

        listen = Ears(station.run_of, request).listen
        await stack.enter_async_context(feed.served(station, door, options, listen=listen, **(fleet or {})))
        yield station


def check_options(options: RecordingOptions, live: LiveOptions, hook_options: HookOptions) -> None:
    """Read what options say before a screen is drawn.

    :raises Problem: if one cannot be done.
    """
    file_mode(options.mode)
    if isinstance(options, LoggedOptions):
        check_log(options)
    live.taps(is_heard=bool(options.notify))
    hook_options.hooks()
    read_notify(options)
    if options.store is not None:
        size("--spool-max", options.spool_max)


class _Shown(NamedTuple):
    """A view, and what restores the terminal if it draws."""

    view: Observer
    restore: Callable[[], None] | None


async def _shown(
    stack: AsyncExitStack,
    title: str,
    panel: _Panel,
    options: RecordingOptions,
    live: LiveOptions,
    progress: Callable[[], float | None] = lambda: None,
) -> _Shown:
    """The view that the options ask for, where standard output allows it, and the log."""
    gives_stdout = any(tap.target.shown == STDOUT for tap in live.taps(is_heard=bool(options.notify)))
    log = open_log(options, sys.stderr if gives_stdout else sys.stdout)
    reload = (lambda: "there is no log file to open again") if log is None else log.reopen
    await stack.enter_async_context(heeding_systemd(reload))
    if log is not None:
        stack.callback(log.close)
    if log is not None and not log.has_file:
        never_be_stopped()
        return _Shown(log, None)
    shown = await _viewed(stack, title, panel, options, progress, gives_stdout=gives_stdout)
    return shown if log is None else shown._replace(view=Observers([shown.view, log]))


async def _viewed(
    stack: AsyncExitStack,
    title: str,
    panel: _Panel,
    options: RecordingOptions,
    progress: Callable[[], float | None],
    *,
    gives_stdout: bool,
) -> _Shown:
    """The view that the options ask for, where standard output allows it."""
    out = sys.stderr if gives_stdout else sys.stdout
    if options.as_json:
        return _Shown(_lines(stack, JsonLines(out)), None)
    if not (options.plain or options.quiet or gives_stdout) and is_terminal():
        return _Shown(*await _drawn(stack, title, panel, options, progress))
    lines = PlainLines(
        out,
        now=lambda: datetime.now(UTC).astimezone(),
        is_quiet=options.quiet,
        is_verbose=options.verbose,
        shows_text=options.show_text,
        suggest=functools.partial(_next_steps, options),
    )
    return _Shown(_lines(stack, lines), None)


def _next_steps(options: RecordingOptions, ended: "Sequence[Ended]") -> Sequence[tuple[str, str]]:
    """The commands that make sense when recordings have ended, and what they do."""
    from rtms_cli.commands.settings import read_defaults
    from rtms_cli.view.next_steps import command_line

    if options.quiet:
        return ()
    kept = [one.folder for one in ended if one.folder is not None and one.finish.status != Status.FAILED]
    if not kept:
        failed = any(one.finish.status == Status.FAILED for one in ended)
        return [("rtms doctor", "check the credentials and the way to Zoom")] if failed else ()
    try:
        settings = read_defaults(Path(), os.environ, on_old=lambda *_: None).values
    except Problem:  # someone has changed the settings since
        settings = {}
    is_usual = options.place == settings.get("listen", {}).get("place", "recordings")
    if len(kept) > 1:
        return [(command_line("rtms", "ls", *(() if is_usual else (options.place,))), "list the recordings")]
    name = "latest" if is_usual else str(kept[0])
    if options.store is not None:
        name = f"{options.place.rstrip('/')}/{kept[0].name}"
    return [
        (command_line("rtms", "show", name), "what was recorded"),
        (command_line("rtms", "play", name), "hear it, or open its page"),
    ]


def open_log(options: RecordingOptions, out: TextIO) -> "LogLines | None":
    """The log that the options ask for, if they do.

    :param out: where it goes without a file.
    :raises Problem: if there cannot be one.
    """
    if not isinstance(options, LoggedOptions) or (options.log_format is None and options.log_file is None):
        return None
    from rtms_cli.station.credentials import SECRETS, find_secret, variable_of
    from rtms_cli.view.logs import Log, LogLines, RotatingFile, StandardOutput, secrets_in

    most_nbytes, keep = check_log(options)
    file = StandardOutput(out) if options.log_file is None else RotatingFile(options.log_file, most_nbytes, keep)
    secrets = {*secrets_in(os.environ), *(find_secret(variable_of(name)) for name in SECRETS)}
    log = Log(file, lambda: datetime.now(UTC), as_json=options.log_format == "json", secrets=secrets)
    return LogLines(log, has_file=options.log_file is not None)


def check_log(options: LoggedOptions) -> tuple[int, int]:
    """Read what options say about the log.

    :returns: the most bytes of a file, and how many old ones are kept.
    :raises Problem: if it cannot be done.
    """
    if options.log_format not in (None, "json", "text"):
        raise Problem(f"--log-format {options.log_format} is not a log format.", "Use json or text.")
    if options.log_format is not None and options.log_file is None and options.as_json:
        raise Problem("--log-format and --json both write to standard output.", "Give --log-file FILE too.")
    size, _, keep = options.log_rotate.partition(":")
    if not (size.isdecimal() and keep.isdecimal() and 0 < int(size) < 1 << 20 and int(keep) <= 1000):
        raise Problem(
            f"--log-rotate {options.log_rotate} is not a size and a number.",
            "Use MiB and a number of files, such as 100:5.",
        )
    return int(size) << 20, int(keep)


@asynccontextmanager
async def recording_station(
    view: Observer,
    options: RecordingOptions,
    live: LiveOptions,
    hook_options: HookOptions,
    request: MediaRequest,
    sign: Callable[[Stream], Signature],
    policy: HostPolicy,
    *,
    trusted: bool,
    tls: ssl.SSLContext | None = None,
    max_streams: int | None = None,
    choose: Choose = lambda stream, others: None,
    show: Callable[[str], None] | None = None,
    in_fleet: bool = False,
) -> AsyncIterator[tuple[Station, Hooks]]:
    """A station that records until it is left, and the hooks that run beside it; see `shown_station`.

    :param view: hears of it all.
    :param show: shows a line that a tap's command wrote, where the screen is ours.
    :param in_fleet: whether streams may have several owners, one after the other.
    """
    shipping: Shipping | None = None
    mode, commands, notified = file_mode(options.mode), hook_options.hooks(), read_notify(options)
    async with AsyncExitStack() as stack:
        jobs, timeout_s = hook_options.hook_jobs, hook_options.hook_timeout
        hooks = Hooks(commands, jobs, timeout_s, notice=view.on_notice, tell=view.on_event, mode=mode)
        stack.push_async_callback(hooks.close)
        taps_opened = composed_taps(
            live,
            request,
            lambda fields, text: view.on_event("tap", fields, text),
            show,
            is_stdout_ours=not options.as_json,
            many_streams=max_streams is not None,
            tls=tls,
        )
        listeners: list[OpenListener] = [*await stack.enter_async_context(taps_opened)]
        observers: list[Observer] = [view, hooks]
        figures: list[MoreFigures] = []
        if options.notify:
            notifier = await stack.enter_async_context(make_notifier(*notified, options, live, view, tls))
            figures.append(notifier.figures)
            observers.append(notifier)
            listeners.append(notifier.open_listener)
        if options.store is not None and not live.no_record:
            from rtms_cli.store.revoking import Revoking

            shipping = await stack.enter_async_context(make_shipping(options, view, in_fleet=in_fleet))
            figures.append(shipping.figures)
            observers.append(shipping)
            if not options.keep_revoked:
                revoking = Revoking(shipping.objects, view.on_event)
                observers.append(revoking)
                stack.push_async_callback(revoking.close)
            stack.push_async_callback(_store_the_rest, shipping, view, None if max_streams is None else LAST_S)
        running = running_station(
            out=options.out,
            request=request,
            sign=sign,
            policy=policy,
            trusted=trusted,
            observers=observers,
            listeners=listeners,
            is_recorded=not live.no_record,
            max_streams=max_streams or 1000,
            max_buffer_mib=options.max_buffer,
            mode=mode,
            keep_revoked=options.keep_revoked,
            keep_encoded=options.keep_encoded,
            tls=tls,
            choose=choose,
        )
        station = await stack.enter_async_context(running)
        station.more_figures += figures
        if shipping is not None:
            station.more_health["store"] = shipping.snapshot
            station.more_readiness.append(shipping.not_ready)
        yield station, hooks


def make_shipping(options: RecordingOptions, view: Observer, *, in_fleet: bool) -> "Shipping":
    """What ships recordings to the store that the options name.

    :raises Problem: if that cannot be opened.
    """
    from rtms_cli.store.objects import open_store
    from rtms_cli.store.shipping import Shipping

    assert options.store is not None
    objects = open_store(options.store, options.store_endpoint)
    most = size("--spool-max", options.spool_max)
    return Shipping(objects, options.spool, most, view.on_event, in_fleet=in_fleet, keep_revoked=options.keep_revoked)


async def _store_the_rest(shipping: "Shipping", view: Observer, timeout_s: float | None) -> None:
    """Wait until the store has what was recorded; what it does not get in time stays in the spool."""
    if await shipping.idle(0.5):
        return
    view.on_notice("storing the rest; a second Ctrl-C leaves it in the spool for the next run")
    if not await shipping.idle(timeout_s):
        view.on_notice("WARNING: not everything is stored: the next run with the same --spool continues")


class Feed:
    """What this process tells others of itself: `rtms attach`, the pages in a browser (docs/feed.md).

    :param title: what runs, for people.
    :param out: the folder for recordings.
    :param observers: who hears what is told, too.
    """

    def __init__(self, title: str, out: Path, observers: Sequence[Observer]) -> None:
        from rtms_cli.feed.journal import Journal
        from rtms_cli.feed.telling import Telling

        self._title, self._out = title, out
        self._journal = Journal()
        self.view = Observers([*observers, Telling(self._journal)])
        """Hears everything."""

    @asynccontextmanager
    async def served(
        self, hearer: Hearer, door: "WebDoor | None", options: RecordingOptions, **more: Any
    ) -> AsyncIterator[None]:
        """Serve it for as long as it is entered; where that cannot be, a line says so, and recording goes on.

        :param door: where a browser may look, if it may.
        :param more: see `StationSource`.
        """
        from rtms_cli.feed.local import served_feed
        from rtms_cli.feed.station_source import StationSource

        control = door is not None and door.control
        source = StationSource(self._title, hearer, self._journal, self._out, control=control, **more)
        async with AsyncExitStack() as stack:
            try:
                place = await stack.enter_async_context(served_feed(source))
            except Problem as problem:
                hearer.notice(f"WARNING: rtms attach and rtms web cannot see this process: {problem.what}")
            else:
                if door is not None:
                    await stack.enter_async_context(door.opened(hearer, options, place))
            yield


class WebDoor(NamedTuple):
    """Where the pages of this process are, and who may see them."""

    host: str
    listening: socket.socket
    names: Sequence[str]
    control: bool

    @asynccontextmanager
    async def opened(self, hearer: Hearer, options: RecordingOptions, feed: Path) -> AsyncIterator[None]:
        """Serve the pages in a process of their own for as long as it is entered.

        :raises Problem: if the token that is set cannot be one.
        """
        from rtms_cli.feed.following import TOKEN_VARIABLE
        from rtms_cli.feed.station_source import PAGES
        from rtms_cli.station.credentials import find_secret
        from rtms_cli.web.process import PageProcess
        from rtms_cli.web.site import Site, door_of, own_names

        door = door_of(self.host, self.listening, find_secret(TOKEN_VARIABLE), self.names)
        names = [*own_names(self.host), *self.names]
        site = Site(
            options.place if options.store is not None else str(options.out.absolute()),
            feed=str(feed),
            endpoint=options.store_endpoint,
            control=self.control,
            token=door.token,
            names=names,
        )
        async with PageProcess(site, self.listening, hearer.notice):
            hearer.notice(f"the pages are on {door.shown}")
            hearer.hints.append(f"{PAGES}{door.shown}")
            yield


def web_door(web: WebOptions | None) -> WebDoor | None:
    """The door that the options ask for, if they do.

    :raises Problem: if the port cannot be used.
    """
    if web is None or web.web is None:
        if web is not None and web != WebOptions():
            raise Problem("--web-host, --web-name and --web-control need --web.", "Add --web.")
        return None
    from rtms_cli.web.site import listen_for_pages

    if not -1 <= web.web <= 65_535:
        raise Problem(f"--web {web.web} is not a port.", "Ports go from 0 to 65535.")
    port = None if web.web < 0 else web.web  # without a number, it is the usual one or the next
    return WebDoor(web.web_host, listen_for_pages(web.web_host, port, "--web"), web.web_name or (), web.web_control)


@asynccontextmanager
async def shown_reception(
    title: str,
    options: RecordingOptions,
    live: LiveOptions,
    lead: "Callable[[Observer, bool], tuple[Reception, Crew]]",
    room: Room | None,
    web: WebOptions | None = None,
) -> AsyncIterator["Reception"]:
    """The reception for workers on this machine, until it is left; it shows itself as `shown_station` does.

    :param lead: makes it, and the workers, which are not started; it is told whether the screen is ours.
    :param room: on the disk for recordings; `None` if nothing is recorded.
    """
    from rtms_cli.feed import pictures
    from rtms_cli.feed.ear import Relay

    door = web_door(web)
    panel = _Panel()
    async with AsyncExitStack() as stack:
        shown = await _shown(stack, title, panel, options, live)
        feed = Feed(title, options.out, [shown.view])
        reception, crew = lead(feed.view, shown.restore is not None)
        usual_s = DRAWN_S if shown.restore is not None else WRITTEN_S
        crew.watch(usual_s)
        panel.station, panel.stop = reception, reception.request_stop
        on_signals(panel.stop, lambda: _before_exit(crew.end_at_once, shown.restore))
        await stack.enter_async_context(crew)
        if room is not None:
            watch_disk(reception, options.out, room)
        served = feed.served(
            reception,
            door,
            options,
            worker_of=crew.worker_of,
            workers=lambda: pictures.crew_workers(crew.health()),
            watch=lambda is_watched: crew.watch(DRAWN_S if is_watched else usual_s),
            listen=Relay(functools.partial(_heard_in, crew)).listen,
        )
        await stack.enter_async_context(served)
        yield reception


def _heard_in(crew: "Crew", stream_id: str) -> "AsyncGenerator[bytes | str, None]":
    """The sound of a stream that a worker records; see `Source.listen`."""
    from rtms_cli.feed.following import Address, heard_at
    from rtms_cli.feed.places import worker_place

    if (pid := crew.pid_of(stream_id)) is None:
        raise KeyError("this stream does not run here")
    return heard_at(Address(worker_place(pid)), stream_id)


class EventSource(NamedTuple):
    """Where a subscription's events come from."""

    url: str
    """Without a token."""
    tokens: "Tokens"
    tls: ssl.SSLContext | None

    def subscribed(self, station: Hearer) -> "AbstractAsyncContextManager[Subscriber]":
        """Connect, for as long as it is entered, and hand the events to a station."""
        from rtms_cli.station.subscribing import subscribed
        from rtms_cli.wire.dialer import Dialer

        host = urlsplit(self.url).hostname or ""
        policy = HostPolicy() if is_zooms(host) else HostPolicy(given=(host,))
        return subscribed(self.url, self.tokens.fresh, Dialer(policy, self.tls), station)


def read_events(
    events: str | None, cloud: CloudOptions, credentials: "Credentials", tls: ssl.SSLContext | None
) -> EventSource | None:
    """What `--events` asks for.

    :raises Problem: if it is not a subscription, or no credentials for a token are set.
    """
    if events is None:
        return None
    return EventSource(cloud.addresses().events_url(events), cloud.tokens(credentials, tls), tls)


def shares_of(
    request: MediaRequest, max_streams: int, live: LiveOptions, hooks: HookOptions, recording: RecordingOptions
) -> "Shares":
    """How many streams and connections there may be at once, with the files that this process may open."""
    from rtms_cli.live import opening
    from rtms_cli.live.dispatch import descriptors_for
    from rtms_cli.live.programs import DESCRIPTORS
    from rtms_cli.wire.descriptors import for_a_stream, in_use, raise_limit, share_out
    from rtms_cli.wire.listener import MAX_CONNECTIONS

    used = in_use() + (DESCRIPTORS * hooks.hook_jobs if hooks.on else 0)
    used += descriptors_for(len(recording.notify or ()))
    for_taps, for_taps_of_a_stream = opening.descriptors_for(live.taps())
    a_stream = for_a_stream(request) + for_taps_of_a_stream
    return share_out(raise_limit(), used + for_taps, a_stream, max_streams, MAX_CONNECTIONS)


def working(
    station: Station, dispatch: "Dispatch", slots: int, live: LiveOptions, options: RecordingOptions
) -> "Worker":
    """A worker that has a station record the streams of a dispatch, with a command's options."""
    from rtms_cli.fleet.ending import Ending
    from rtms_cli.fleet.worker import Worker, new_worker

    if live.no_record:
        return Worker(dispatch, station, new_worker(slots), lambda make_folder: recorder_nowhere)
    make = functools.partial(
        recorder_in,
        options.out,
        mode=file_mode(options.mode),
        keep_revoked=options.keep_revoked,
        keep_encoded=options.keep_encoded,
    )
    ending = Ending(options.out, station.notice, keep_revoked=options.keep_revoked)
    return Worker(
        dispatch,
        station,
        new_worker(slots),
        lambda make_folder: make(make_folder=make_folder),
        on_over=ending.on_over if options.store is None else None,
        revoke=ending.revoke,
    )


async def until_stopped(station: Hearer, subscriber: "Subscriber | None") -> None:
    """Wait until someone has asked for the end.

    :raises Problem: if the event WebSocket is not available at all.
    """
    if subscriber is None:
        await station.stopped()
        return
    stopped, failed = asyncio.ensure_future(station.stopped()), asyncio.ensure_future(subscriber.failed())
    try:
        await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            await failed
            await stopped
    finally:
        stopped.cancel()
        failed.cancel()


def _lines(stack: AsyncExitStack, lines: PlainLines | JsonLines) -> Observer:
    """A view that writes lines, closed at the end."""
    never_be_stopped()
    stack.callback(lines.close)
    return lines


async def _drawn(
    stack: AsyncExitStack,
    title: str,
    panel: _Panel,
    options: RecordingOptions,
    progress: Callable[[], float | None],
) -> tuple[Observer, Callable[[], None]]:
    """A view that draws, and what restores the terminal."""
    from rtms_cli.view.screen import Screen

    screen = Screen(
        title,
        panel.look,
        panel.end,
        panel.mark,
        options.out,
        progress,
        panel.connections,
        waiting=panel.hints,
        is_verbose=options.verbose,
        suggest=functools.partial(_next_steps, options),
    )
    await stack.enter_async_context(screen)
    return screen, screen.restore


def _before_exit(kill: Callable[[], None], restore: Callable[[], None] | None) -> None:
    """What cannot be left behind by a process that ends at once."""
    kill()
    kill_groups()
    if restore is not None:
        restore()


@asynccontextmanager
async def composed_taps(
    live: LiveOptions,
    request: MediaRequest,
    tell: Callable[[Mapping[str, object], str], None],
    show: Callable[[str], None] | None = None,
    *,
    is_stdout_ours: bool = True,
    many_streams: bool = False,
    is_live: bool = True,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Sequence[OpenListener]]:
    """What opens the taps, once they are checked.

    :param tell: reports their state.
    :param show: shows a line that a command wrote, where the screen is ours.
    :param is_stdout_ours: whether commands may write to where our lines go.
    :param tls: for `wss://` targets.
    :raises Problem: if they conflict.
    """
    taps = live.taps(is_heard=True)  # or else a command has said so by now
    if not taps:
        yield ()
        return
    from rtms_cli.live.opening import Network, Output, opened_taps
    from rtms_cli.live.sockets import TOKEN_VARIABLE
    from rtms_cli.live.spec import check_taps
    from rtms_cli.station.credentials import find_secret

    check_taps(taps, request, many_streams=many_streams)
    for tap in taps:
        if tap.target.shown == STDOUT and tap.what in ("audio", "video", "share") and sys.stdout.isatty():
            raise Problem(
                f"--tap {tap.what}:- would write {tap.what} to the terminal.", "Put a pipe behind it: | PROGRAM."
            )
    is_ours = is_stdout_ours and not any(tap.target.shown == STDOUT for tap in taps)
    output = Output(show=show) if show is not None else Output(None if is_ours else 2)
    network = Network(live.tap_host, find_secret(TOKEN_VARIABLE), tls)
    async with opened_taps(taps, request, tell, output, network) as opened:
        yield opened.openers(is_live=is_live)


def read_notify(options: RecordingOptions) -> "tuple[Sequence[Endpoint], Sequence[bytes]]":
    """Whom `--notify` sends events to, and the secrets that sign them.

    :raises Problem: if a receiver or a secret is not valid.
    """
    if not options.notify:
        return (), ()
    from rtms_cli.live.notifications import SECRET_VARIABLE, endpoints_of, read_secrets
    from rtms_cli.station.credentials import find_secret

    secrets = read_secrets(find_secret(SECRET_VARIABLE) or "")
    return endpoints_of(options.notify, secrets), secrets


def make_notifier(
    endpoints: "Sequence[Endpoint]",
    secrets: Sequence[bytes],
    options: RecordingOptions,
    live: LiveOptions,
    view: Observer,
    tls: ssl.SSLContext | None,
) -> "Notifier":
    """What sends the events that `--notify` asks for; see `read_notify`."""
    from rtms_cli.live.notifier import Notifier

    for endpoint in endpoints:
        if endpoint.is_open:
            view.on_notice(f"WARNING: {endpoint.label} is not encrypted: anyone in between can read what is said")
    folder = None if live.no_record else options.out
    return Notifier(endpoints, secrets, folder, view.on_event, tls=tls, keep_revoked=options.keep_revoked)


def watch_disk(hearer: Hearer, out: Path, room: Room) -> None:
    """Let `/healthz` and `/readyz` report the disk for recordings, and warn where it is short already."""
    disk = DiskWatch(out, room.free_nbytes, room.hour_nbytes)
    hearer.more_health["disk"] = disk.health
    hearer.more_readiness.append(disk.not_ready)
    if room.is_short:
        hearer.notice(f"WARNING: {space_warning(out, room)}")


def space_warning(out: Path, room: Room) -> str:
    """A line where there is room for less than an hour of what is asked for."""
    return f"{size_of(room.free_nbytes)} are free in {out}; an hour of one stream may take {size_of(room.hour_nbytes)}"
