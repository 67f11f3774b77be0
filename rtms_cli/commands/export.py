"""`rtms export`: files that people play, read and plot."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from rtms_cli.commands import completing
from rtms_cli.commands.options import StoreEndpoint, duration, recordings_of, short_name, time_option
from rtms_cli.errors import Exit, Problem
from rtms_cli.export.formats import (
    DOCUMENTS,
    FILM,
    FORMATS,
    LAYOUTS,
    PLOT,
    SOUND,
    SUBTITLES,
    TABLES,
    TEXT,
    USES,
    Export,
    Made,
    Options,
    check_uses,
)
from rtms_cli.export.places import Place, format_of, place_of, plot_place
from rtms_cli.store.urls import is_store_url
from rtms_cli.untrusted import is_folder

if TYPE_CHECKING:
    from rtms_cli.capture import Capture
    from rtms_cli.export.audio import Progress, Span
    from rtms_cli.recording.names import Names

_FOR_TERMINALS = (*SUBTITLES, *DOCUMENTS, "csv")
"""What a person can read on a terminal."""


Recordings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECORDING]...",
        help="Folders, URLs, captures (- is standard input), latest, names, or a folder of recordings.",
        show_default="the newest one in recordings",
        autocompletion=completing.recordings,
    ),
]
To = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="FORMATS",
        help=f"{', '.join(FORMATS)}; separated by commas, or repeated.",
        autocompletion=completing.export_formats,
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="Folder for the new files; for one format a file, or - for standard output.",
        show_default="export/ in the recording, or here",
    ),
]
VideoUser = Annotated[str, typer.Option(metavar="USER", help="Only this camera: a user id or a name.")]
Layout = Annotated[
    str,
    typer.Option(
        metavar="video|share|side",
        help="What a film shows; side shows both, and encodes them again.",
        autocompletion=completing.layouts,
    ),
]
Blank = Annotated[bool, typer.Option("--blank", help="Show black while a camera is off; encodes the video again.")]
MergeGap = Annotated[
    float,
    typer.Option(
        metavar="TIME", parser=time_option("--merge-gap"), help="Join sentences of a speaker that are this close."
    ),
]
PerSpeaker = Annotated[bool, typer.Option("--per-speaker", help="Write an audio file for each participant.")]
Multichannel = Annotated[
    bool, typer.Option("--multichannel", help="Write an audio file with a channel for each participant.")
]
Trim = Annotated[tuple[str, str] | None, typer.Option(metavar="START END", help="Audio from START to END: 90 or 1:30.")]
OnlySpeech = Annotated[
    bool, typer.Option("--only-speech", help="Cut silence from the audio, and write a map of the cuts.")
]
Every = Annotated[
    float | None,
    typer.Option(
        metavar="TIME", parser=time_option("--every", 0.01), help="Write a frame at this interval, not only key frames."
    ),
]
Plot = Annotated[
    str | None, typer.Option(metavar="FILE", help="Draw each recording into this PNG file, or into a folder.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Json = Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")]


def export(
    context: typer.Context,
    recordings: Recordings = None,
    to: To = None,
    out: Out = None,
    video_user: VideoUser = "",
    layout: Layout = "video",
    blank: Blank = False,
    merge_gap: MergeGap = 1.5,
    per_speaker: PerSpeaker = False,
    multichannel: Multichannel = False,
    trim: Trim = None,
    only_speech: OnlySpeech = False,
    every: Every = None,
    plot: Plot = None,
    force: Force = False,
    store_endpoint: StoreEndpoint = None,
    as_json: Json = False,
) -> None:
    """Turn recordings into files to play, read and plot.

    Without --to: mp4 (or opus, if there are no pictures), vtt and txt, as far as the recording has them.

    \b
    Examples:
      rtms export latest --to mp4,srt,flac
      rtms export latest --to md --out minutes.md
      rtms export recordings/ --to mp3 --out sound/
    """
    _heed_signals()
    options = Options(
        video_user, layout, blank, merge_gap, per_speaker, multichannel,
        None if trim is None else _span(*trim), only_speech, every,
    )  # fmt: skip
    formats = _formats(to, out)
    given = [name for name in USES if _is_given(context, name)]
    _check(options, formats, given, out, is_plotted=plot is not None)
    failed: list[Problem] = []
    found = [path for path, _ in recordings_of(context, recordings or [], "exporting", store_endpoint, failed)]
    place = place_of(out, formats, len(found), per_speaker=per_speaker)
    job = _Job(formats, given, options, place, plot_place(plot, len(found)), force, store_endpoint)
    _check_stdout(job, as_json=as_json)
    is_drawn_over = job.takes_stdout and sys.stdout.isatty()
    exports = _exported(found, job, failed, is_quiet=as_json or is_drawn_over)
    steps = [] if as_json or job.takes_stdout else _next(context, found, exports)
    _tell(exports, failed, steps, is_listed=not job.takes_stdout, as_json=as_json)


class _Job(Struct, frozen=True):
    """What is wanted of each recording."""

    formats: list[str]
    """None are the usual ones."""
    given: list[str]
    """The options of `USES` that are on the command line."""
    options: Options
    place: Place
    plot: Place | None
    force: bool
    endpoint: str | None

    @property
    def takes_stdout(self) -> bool:
        """Whether standard output is for what is exported."""
        return self.place.is_stdout or (self.plot is not None and self.plot.is_stdout)


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether an option is on the command line; a setting may stand there for when it is of use."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _formats(to: list[str] | None, out: str | None) -> list[str]:
    """The formats that are named, by `--to` or else by the file of `--out`; none are the usual ones."""
    formats = [name.strip().lower() for name in ",".join(to or []).split(",") if name.strip()]
    for name in formats:
        if name not in FORMATS:
            raise Problem(f"--to {name}: there is no such format.", f"Use {', '.join(FORMATS)}.")
    if to is not None and not formats:
        raise Problem("--to names no format.", f"Use {', '.join(FORMATS)}.")
    if to is None and out is not None and (form := format_of(out)):
        return [form]
    return list(dict.fromkeys(formats))


def _check(options: Options, formats: list[str], given: list[str], out: str | None, *, is_plotted: bool) -> None:
    """Refuse options that are wrong, contradict each other, or would do nothing.

    :raises Problem: for the first one.
    """
    if options.layout not in LAYOUTS:
        raise Problem(f"--layout {options.layout} is not a layout.", f"Use {', '.join(LAYOUTS)}.")
    if options.per_speaker and options.multichannel:
        raise Problem("--per-speaker and --multichannel cannot be combined.", "Export twice for both.")
    if options.layout == "side" and formats and not {*FILM} & {*formats}:
        raise Problem(f"--layout side does nothing with --to {','.join(formats)}.", "It is for mp4 and mkv.")
    if formats or is_plotted:
        check_uses(given, formats)
    if is_plotted and not formats and out is not None:
        raise Problem("--out does nothing with --plot alone.", "--plot names the file itself.")


def _check_stdout(job: _Job, *, as_json: bool) -> None:
    """Refuse to mix two things on standard output, or to spoil a terminal.

    :raises Problem: if that would be.
    """
    if not job.takes_stdout:
        return
    if as_json or (job.plot is not None and (job.formats or not job.plot.is_stdout)):
        raise Problem("Standard output is for one thing only.", "Write to a file or a folder with --out.")
    form = "png" if job.plot is not None else job.formats[0]
    if form not in _FOR_TERMINALS and sys.stdout.isatty():
        raise Problem(f"{form} on a terminal is of no use.", f"Redirect it: --out - > FILE.{form}")


def _span(start: str, end: str) -> "Span":
    from rtms_cli.export.audio import Span

    span = Span(duration("--trim", start), duration("--trim", end))
    if span.start >= span.end:
        raise Problem(f"--trim {start} {end} ends before it begins.", "Give START, and an END behind it.")
    return span


def _exported(found: Sequence[str], job: _Job, failed: list[Problem], *, is_quiet: bool) -> list[Export]:
    """Export each recording. One that cannot be opened does not keep the others from it: `failed` takes the reason."""
    from rtms_cli.export.source import open_recording
    from rtms_cli.recording.names import Names
    from rtms_cli.view.progress import bars, reading

    names, exports = Names(), list[Export]()
    for path in found:
        notes: list[str] = []
        try:
            with (
                _source(path, job, notes) as (source, capture),
                open_recording(source, reading("replaying")) as recorded,
                bars(is_quiet=is_quiet) as bar,
            ):
                export = Export(recorded, capture, job.options, force=job.force)
                _make(export, path, job, names, bar)
                export.notes = [*notes, *export.notes, *recorded.problems]
        except Problem as problem:
            failed.append(problem)
            continue
        exports.append(export)
        failed += export.failed
    return exports


def _make(export: Export, path: str, job: _Job, names: "Names", bar: "Callable[[str], Progress]") -> None:
    """Make all formats of one recording."""
    try:
        formats = job.formats or ([] if job.plot is not None else export.usual())
        if formats:
            check_uses(job.given, formats)
            target = job.place.target(path, names)
        plot = None if job.plot is None else job.plot.target(path, names)
    except Problem as problem:
        export.failed.append(problem)
        return
    for form in formats:
        progress = _heeding(bar(form))
        export.make(form, target, progress)
        progress(1.0)
    if plot is not None:
        export.make(PLOT, plot, _heeding(bar(PLOT)))


@contextmanager
def _source(path: str, job: _Job, notes: list[str]) -> "Iterator[tuple[Path | Capture, Path | Capture]]":
    """What to export, and its capture; what is needed of a recording in a store is downloaded."""
    if path == "-":
        from rtms_cli.capture import PipedCapture

        capture = PipedCapture(sys.stdin.buffer)
        yield capture, capture
        return
    if not is_store_url(path):
        yield Path(path), Path(path)
        return
    from rtms_cli.store.reading import fetched

    with fetched(path, job.endpoint, _kinds(job.formats, is_plotted=job.plot is not None)) as found:
        notes += found.problems
        yield found.source, found.capture


def _kinds(formats: list[str], *, is_plotted: bool) -> frozenset[str]:
    """The kinds of tracks that some formats are made of; empty are all."""
    kinds = {"transcript", "chat", "events"}
    if is_plotted or not formats or not {*TEXT, *SOUND, *TABLES}.issuperset(formats):
        return frozenset()
    return frozenset(kinds | ({"audio"} if {*SOUND} & {*formats} else set()))


def _next(context: typer.Context, found: Sequence[str], exports: Sequence[Export]) -> list[tuple[str, str]]:
    """The commands that make sense now, and what they do."""
    from rtms_cli.view.next_steps import command_line

    if found == ["-"]:
        return []
    if len(found) != 1:
        return [("rtms ls", "all recordings")]
    name, is_capture = short_name(context, found[0]), not is_store_url(found[0]) and not is_folder(Path(found[0]))
    if is_capture or any("rtms inspect" in each.remedy for export in exports for each in export.failed):
        return [(command_line("rtms", "inspect", name), "what it has")]
    return [
        (command_line("rtms", "play", name), "hear it, or open its page"),
        (command_line("rtms", "show", name), "the summary and the verdict"),
    ]


def _tell(
    exports: list[Export],
    failed: list[Problem],
    steps: list[tuple[str, str]],
    *,
    is_listed: bool,
    as_json: bool,
) -> None:
    """Print what was made, what could not be, and what to do next.

    :raises Problem: if nothing could be made.
    """
    from rtms_cli.view.console import make_console
    from rtms_cli.view.next_steps import next_steps
    from rtms_cli.view.text import json_line, say

    files = [path for export in exports for path in export.files]
    notes = list(dict.fromkeys(note for export in exports for note in export.notes))
    if as_json and (files or not failed):
        typer.echo(json_line({"files": files, "notes": notes}))
    else:
        for line in _lines([made for export in exports for made in export.made if is_listed]):
            say(line)
        for note in notes:
            say(f"note: {note}", err=True)
    failed = list({str(each): each for each in failed}.values())
    told = failed if files else failed[:-1]
    for each, following in zip(told, [*failed[1:], None], strict=False):
        say(f"error: {each.what}", err=True)
        if following is None or following.remedy != each.remedy:  # what helps against several is said once
            say(f"  {each.remedy}", err=True)
    if failed and not files:
        raise failed[-1]
    next_steps(make_console(), steps)
    if failed:
        raise typer.Exit(Exit.MISMATCH)


def _lines(listed: Sequence[Made]) -> Iterator[str]:
    """What was made, below the folder that it is in; bare paths where no person reads them."""
    from rtms_cli.view.console import is_for_people
    from rtms_cli.view.text import size_of

    if not is_for_people():
        yield from (str(made.path) for made in listed)
        return
    folder = Path()
    for made in listed:
        if made.path.parent != folder:
            folder = made.path.parent
            yield f"{folder}/"
        pictures = f"  {made.pictures} picture{'' if made.pictures == 1 else 's'}" if made.pictures else ""
        yield f"  {size_of(made.nbytes):>8}  {made.path.name}{pictures}"


_wanted: list[int] = []
"""The signals that asked for the end."""


def _heed_signals() -> None:
    """Leave as signals want, but take half-written files away."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


def _end(number: int, _: object) -> None:
    _wanted.append(number)
    _leave()


def _heeding(progress: "Progress") -> "Progress":
    """The same, which also leaves where a signal asked for that.

    What a handler of signals raises may be swallowed by compiled code that calls Python at that moment, as PyAV's is.
    """

    def heed(part: float) -> None:
        if _wanted:
            _leave()
        progress(part)

    return heed


def _leave() -> None:
    number = _wanted[0]
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
