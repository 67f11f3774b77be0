"""`rtms listen --workers`: what the process that listens composes, and what each of its workers does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from rtms_cli.children import program
from rtms_cli.commands.composing import (
    check_options,
    recording_station,
    shares_of,
    shown_reception,
    working,
)
from rtms_cli.commands.groups import HookOptions, LiveOptions, MediaOptions, RecordingOptions, WebOptions
from rtms_cli.commands.options import file_mode, tls_options
from rtms_cli.errors import Exit, Problem
from rtms_cli.fleet.child import Parent
from rtms_cli.fleet.crew import Crew
from rtms_cli.fleet.local import LocalDispatch
from rtms_cli.fleet.messages import Ended
from rtms_cli.fleet.reception import Reception
from rtms_cli.live.programs import kill_groups
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.station.credentials import load_credentials
from rtms_cli.station.intake import Choose
from rtms_cli.station.observing import Observer
from rtms_cli.station.running import check_out, run_loop
from rtms_cli.station.station import Station, revoke_in
from rtms_cli.wire.hosts import HostPolicy


class Duty(Struct, frozen=True):
    """What a worker is there for: the options of the process that listens. They come over its line: some are secret."""

    media: MediaOptions
    live: LiveOptions
    hooks: HookOptions
    recording: RecordingOptions
    allow_host: list[str]
    slots: int
    """Of all workers together."""
    credentials: dict[str, str | None]
    """Those that were options; what else there is, a worker finds where its parent did."""
    is_drawn: bool = False
    """Whether the terminal is a dashboard's."""


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"a {kind.__name__} is not a message")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=str)
_DUTY = msgspec.msgpack.Decoder(Duty, dec_hook=_decode_path)


@asynccontextmanager
async def crewed_reception(
    title: str,
    size: int,
    duty: Duty,
    request: MediaRequest,
    policy: HostPolicy,
    choose: Choose,
    web: WebOptions | None = None,
) -> AsyncIterator[Reception]:
    """The reception, and workers that record its streams, until it is left.

    :param size: how many workers.
    :param duty: what they are there for; what it limits is for all of them together.
    :raises Problem: if an option cannot be done by several processes, or a worker does not come up.
    """
    options, live, hooks = duty.recording, duty.live, duty.hooks
    check_options(options, live, hooks)
    for tap in live.taps(is_heard=bool(options.notify)):
        if tap.target.kind == "listen":
            raise Problem(
                f"--tap {tap.what}:listen: cannot be used with --workers: each would listen there.", "Use exec: or ws:."
            )
    room = None if live.no_record else check_out(options.out, request, file_mode(options.mode))
    is_revoked_deleted = not (options.keep_revoked or live.no_record)

    def lead(observer: Observer, is_drawn: bool) -> tuple[Reception, Crew]:
        dispatch = LocalDispatch()
        reception = Reception(
            dispatch,
            observer,
            max_streams=duty.slots,
            check_url=policy.check_name,
            choose=choose,
            revoke=revoke_in(options.out) if is_revoked_deleted else None,
        )
        its = structs.replace(duty, is_drawn=is_drawn)
        crew = crew_of(size, its, dispatch, observer, on_ended=reception.on_ended)
        reception.lead(crew)
        return reception, crew

    async with shown_reception(title, options, live, lead, room, web) as reception:
        yield reception
    if unfinished := reception.crew.unfinished:
        what = f"{len(unfinished)} recordings are not finished: their workers died."
        raise Problem(what, f"rtms repair {options.out}", Exit.INTERRUPTED)


def crew_of(
    size: int,
    duty: Duty,
    dispatch: LocalDispatch,
    observer: Observer,
    on_ended: Callable[[Ended], None] = lambda ended: None,
) -> Crew:
    """Workers, which are not started yet.

    :param duty: what it limits is for all of them together.
    :param on_ended: see `Crew`.
    """
    hooks, options = duty.hooks, duty.recording
    its = structs.replace(
        duty,
        hooks=structs.replace(hooks, hook_jobs=max(1, hooks.hook_jobs // size)),
        recording=structs.replace(options, max_buffer=max(1, options.max_buffer // size)),
    )
    return Crew(size, _command, _ENCODER.encode(its), dispatch, observer, on_ended=on_ended)


def _command(descriptor: int) -> list[str]:
    return [*program("rtms_cli"), "work", "--queue", f"fd:{descriptor}"]


def follow(descriptor: str) -> None:
    """Be a worker of the process that has the other end of a descriptor.

    :raises Problem: if that cannot be.
    """
    if not descriptor.isdecimal():
        raise Problem(f"--queue fd:{descriptor} is not a descriptor.", "`rtms listen --workers` sets it.")
    # It ends when its parent says so, or is gone: a service manager that signals them all would have it end too early.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run_loop(_follow(int(descriptor)))


async def _follow(descriptor: int) -> None:
    parent = await Parent.connect(descriptor)
    try:
        duty = _DUTY.decode(await parent.task())
        await _work(parent, duty)
    finally:
        await parent.close()


async def _work(parent: Parent, duty: Duty) -> None:
    options, live = duty.recording, duty.live
    request = duty.media.request(separate=live.wants_each())
    slots = shares_of(request, duty.slots, live, duty.hooks, options).streams
    serving: asyncio.Task[None] | None = None
    try:
        async with AsyncExitStack() as stack:
            recording = recording_station(
                parent.teller,
                options,
                live,
                duty.hooks,
                request,
                load_credentials(duty.credentials).sign,
                HostPolicy(tuple(duty.allow_host)),
                trusted=True,
                tls=tls_options(options.ca_file, insecure=options.insecure),
                max_streams=slots,
                show=parent.teller.on_notice if duty.is_drawn else None,
                in_fleet=True,
            )
            station, hooks = await stack.enter_async_context(recording)
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGQUIT, _end_at_once, hooks.kill)
            worker = working(station, parent.dispatch, slots, live, options)
            await stack.enter_async_context(_heard(station, request, options.out))
            # It says that it lives as long as it does: hooks and stores may take their time at the end.
            serving = asyncio.create_task(parent.serve(station, worker), name="line")
            await worker.run()
        parent.teller.look(station)
    finally:
        if serving is not None:
            serving.cancel()


@asynccontextmanager
async def _heard(station: Station, request: MediaRequest, out: Path) -> AsyncIterator[None]:
    """Let the process that listens hear this worker's streams, for as long as it is entered."""
    from rtms_cli.feed.ear import Ears
    from rtms_cli.feed.journal import Journal
    from rtms_cli.feed.local import served_feed
    from rtms_cli.feed.places import make_place, worker_place
    from rtms_cli.feed.station_source import StationSource

    source = StationSource("worker", station, Journal(), out, listen=Ears(station.run_of, request).listen)
    async with AsyncExitStack() as stack:
        try:
            make_place(os.getpid())
            await stack.enter_async_context(served_feed(source, worker_place(os.getpid())))
        except Problem as problem:
            station.notice(f"WARNING: the streams of this worker cannot be heard in a browser: {problem.what}")
        yield


def _end_at_once(kill: Callable[[], None]) -> None:
    try:
        kill()
        kill_groups()
    finally:
        os._exit(130)
