"""`rtms replay`: the same files again, from a capture."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.groups import LiveOptions, ServerOptions, option_groups
from rtms_cli.commands.options import (
    KeepEncoded,
    KeepRevoked,
    Plain,
    StoreEndpoint,
    check_http_url,
    is_terminal,
    open_capture,
    recording_of,
    server_tls,
)
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from rtms_cli.capture import Capture
    from rtms_cli.recording.recorder import Recorder
    from rtms_cli.station.replaying import Replay


@option_groups
def replay(
    context: typer.Context,
    capture: Annotated[
        str,
        typer.Argument(
            help="A recording (name, folder, URL or latest), a capture file, or - for standard input.",
            metavar="RECORDING",
            autocompletion=completing.recordings,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the new recording.")] = Path(
        "replays"
    ),
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="FACTOR",
            help="How many times faster than real time, or max.",
            show_default="max; 1 with --serve",
            autocompletion=completing.speeds,
        ),
    ] = None,
    keep_revoked: KeepRevoked = False,
    keep_encoded: KeepEncoded = False,
    plain: Plain = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the capture to any client, as Zoom did.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Exit after one client.")] = False,
    store_endpoint: StoreEndpoint = None,
    *,
    live: LiveOptions,
    serving: ServerOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Rebuild a recording from its capture, or serve it to clients.

    The new files are those of the live session, byte for byte. They go to replays/, apart from what was recorded. With
    --speed 1 it can be watched. With --serve, any client that joins with the configured credentials gets what was
    recorded, with the same timing; what it did wrong is reported at the end (exit code 1 then).

    \b
    Examples:
      rtms replay recordings/20261122T221500Z_meeting_abc --out again
      rtms replay capture.jsonl --serve --port 9000 --payload-out payload.json
      rtms replay s3://bucket/recordings/20261122T221500Z_meeting_abc
    """
    pace = read_speed(speed or ("1" if serve or live.tap else "max"))
    taps = live.taps()
    if taps and (serve or pace is None):
        raise Problem("--tap needs a replay speed.", "Add --speed 1, and leave --serve out.")
    found = recording_of(context, capture, "replaying", store_endpoint, or_newest_in=True)
    if serve:
        for name in ("out", "keep_revoked", "keep_encoded", "plain"):
            if _is_given(context, name):
                what = f"--{name.replace('_', '-')} does nothing with --serve."
                raise Problem(what, "Leave it out: --serve records nothing.")
        _serve(open_capture(found, store_endpoint), pace, serving, once=once, as_json=as_json)
        return
    for name in (*ServerOptions.__struct_fields__, "once"):
        if _is_given(context, name):
            raise Problem(f"--{name.replace('_', '-')} needs --serve.", "Add --serve, or leave it out.")
    from rtms_cli.commands.composing import STDOUT
    from rtms_cli.view.lines import print_summary
    from rtms_cli.view.text import say

    gives_stdout = any(tap.target.shown == STDOUT for tap in taps)
    drawn = pace is not None and is_terminal() and not (plain or as_json or gives_stdout)
    source = open_capture(found, store_endpoint)
    recorder, replayed = _prepared(
        source, None if live.no_record else out, keep_revoked=keep_revoked, keep_encoded=keep_encoded
    )
    if pace is None:
        signal_number = play_at_once(replayed, with_bar=not plain)
    else:
        title = f"replay of {source.shown} at {pace:g}×"
        signal_number = _play(replayed, pace, title, out, live, drawn=drawn, as_json=as_json)
    if not replayed.is_complete:
        say("The replay was stopped before its end, so no recording was made.", err=True)
        raise typer.Exit(128 + signal_number if signal_number else Exit.OK)
    if not drawn:
        print_summary(replayed.folder, replayed.manifest(), as_json=as_json, out=sys.stderr if gives_stdout else None)
    for line in [*source.problems, *replayed.differences()]:
        say(f"warning: {line}", err=True)
    if not (as_json or gives_stdout):
        _suggest(replayed.folder, found)
    if source.problems or recorder.snapshot().losses:
        raise typer.Exit(Exit.LOSSES)


def _prepared(
    source: "Capture", out: Path | None, *, keep_revoked: bool, keep_encoded: bool
) -> "tuple[Recorder, Replay]":
    """What replays a capture.

    :param out: the folder that the recording is to be in; `None` makes none.
    """
    from rtms_cli.recording.ownership import FolderLock, this_process
    from rtms_cli.recording.recorder import Recorder
    from rtms_cli.session.rehearsal import Rehearsal
    from rtms_cli.station.replaying import Aside, Replay
    from rtms_cli.station.station import recorder_nowhere

    aside = None if out is None else Aside(out, source.header)
    if aside is None:
        recorder = recorder_nowhere(source.header)
    else:
        recorder = Recorder(
            aside.folder,
            source.header,
            keep_revoked=keep_revoked,
            keep_encoded=keep_encoded,
            process=this_process(),
            lock=FolderLock(aside.folder),
        )
    for gap in source.gaps:
        recorder.note_loss("a part of the capture is missing", gap)
    rehearsal = Rehearsal(source, source.header.product, source.header.rtms_stream_id)
    return recorder, Replay(source, recorder, rehearsal, aside)


def _suggest(folder: Path | None, name: str) -> None:
    """The commands that make sense next."""
    from rtms_cli.view.console import make_console
    from rtms_cli.view.next_steps import command_line, next_steps

    if folder is not None:
        steps = [
            (command_line("rtms", "inspect", folder), "what is in it"),
            (command_line("rtms", "replay", name, "--serve"), "serve it to a client"),
        ]
        next_steps(make_console(), steps)


def read_speed(text: str) -> float | None:
    """Read `--speed`: `None` is as fast as it goes.

    :raises Problem: if it is neither a positive number nor `max`.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0 < speed < float("inf"):
        raise Problem(f"--speed {text} is not a valid speed.", "Use a number such as 1, 2 or 0.5, or max.")
    return speed


def play_at_once(replayed: "Replay", *, with_bar: bool = True) -> int:
    """Replay as fast as it goes. A signal ends it; a second one of its kind ends the process at once.

    :param with_bar: draw how far it has come, where that takes long and standard error is a terminal.
    :returns: the number of the signal that ended it, or 0.
    """
    import signal
    from types import FrameType

    from rtms_cli.view.progress import reading

    asked: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        asked.append(number)
        replayed.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    if with_bar:
        replayed.run_at_once(reading("replaying"))
    else:
        replayed.run_at_once()
    return asked[0] if asked else 0


def _play(
    replayed: "Replay", speed: float, title: str, folder: Path, live: LiveOptions, *, drawn: bool, as_json: bool
) -> int:
    """Replay at a pace, on the dashboard where it is to be drawn.

    :returns: the number of the signal that ended it, or 0.
    """
    import signal

    from rtms_cli.commands.composing import composed_taps
    from rtms_cli.protocol.media import MediaRequest
    from rtms_cli.protocol.numbers import EVERY_MEDIA
    from rtms_cli.station.running import on_signals, run_loop
    from rtms_cli.view.text import say

    request = MediaRequest(EVERY_MEDIA)

    asked: list[int] = []

    def note(fields: object, text: str) -> None:
        say(text, err=True)

    def stop(name: str) -> None:
        asked.append(signal.SIGINT if name == "Ctrl-C" else signal.Signals[name])
        replayed.stop()

    async def draw() -> None:
        from rtms_cli.view.screen import Screen

        screen = Screen(
            title,
            replayed.snapshots,
            lambda _: replayed.stop(),
            lambda _: screen.on_notice("a replay writes what was recorded: nothing is marked"),
            folder,
            replayed.progress,
        )
        on_signals(stop, screen.restore)
        taps = composed_taps(live, request, lambda _, text: screen.on_notice(text), screen.on_notice, is_live=False)
        async with screen, taps as openers:
            await replayed.run(speed, [screen], openers)

    async def run() -> None:
        on_signals(stop)
        async with composed_taps(live, request, note, is_stdout_ours=not as_json, is_live=False) as openers:
            await replayed.run(speed, [], openers)

    run_loop(draw() if drawn else run())
    return asked[0] if asked else 0


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether an option is on the command line; a setting may stand there for the other way to replay."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _serve(capture: "Capture", speed: float | None, options: ServerOptions, *, once: bool, as_json: bool) -> None:
    """Serve a capture to one client after the other, until a signal ends it; report what each did wrong.

    :param speed: `None` is as fast as the client reads.
    """
    import asyncio

    from rtms_cli.protocol.numbers import EVERY_MEDIA
    from rtms_cli.simulator.recorded import Recording
    from rtms_cli.simulator.server import Simulator
    from rtms_cli.station.running import on_signals, run_loop
    from rtms_cli.station.serving import ServedCapture, simulated_app, write_payloads
    from rtms_cli.view.report import print_finding, print_reports, suggest_join
    from rtms_cli.view.text import say

    if options.webhook is not None:
        check_http_url("--webhook", options.webhook)
    recording = Recording(capture)
    for line in recording.problems:
        say(f"warning: {line}", err=True)
    app, made_up = simulated_app(options.credentials(), EVERY_MEDIA)
    tls = server_tls(options.cert)

    async def run() -> int:
        """How many mistakes there were."""
        wrong = 0
        async with Simulator(
            app,
            options.host,
            options.port,
            speed or 1,
            public_host=options.public_host,
            tls=tls,
            on_finding=None if as_json else print_finding,
        ) as simulator:
            served = ServedCapture(
                simulator, recording, at_once=speed is None, with_signature=app.has_made_up_pair, once=once
            )
            on_signals(lambda _: served.end())
            for line in (f"The capture is served at {simulator.url()}", *made_up):
                typer.echo(line, err=True)
            if options.payload_out is not None:
                await asyncio.to_thread(write_payloads, options.payload_out, [served.stream])
                suggest_join(options.payload_out)
            elif options.webhook is None:
                typer.echo(served.stream.webhook("started").decode())
            async for report in served.reports(options.webhook):
                wrong += len(report.mistakes)
                print_reports([report], as_json=as_json, payload=options.payload_out)
        return wrong

    if run_loop(run()):
        raise typer.Exit(Exit.MISMATCH)
