"""`rtms export`: files that people play, read and plot."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import StoreEndpoint, duration, newest_recording, time_option
from rtms_cli.errors import Problem
from rtms_cli.store.urls import is_store_url
from rtms_cli.untrusted import is_folder

if TYPE_CHECKING:
    from rtms_cli.capture import Capture
    from rtms_cli.export.audio import Progress, Span
    from rtms_cli.export.source import Recorded
    from rtms_cli.protocol.messages import UserId
    from rtms_cli.protocol.sentences import Sentence

_TEXT = ("srt", "vtt", "txt", "md", "json")
_SOUND = ("wav", "flac", "opus", "mp3")
_FILM = ("mp4", "mkv")
_TABLES = ("csv", "parquet")
_PICTURES = ("frames", "slides")
FORMATS = (*_FILM, *_SOUND, *_TEXT, *_PICTURES, *_TABLES)
_LAYOUTS = ("video", "share", "side")
_MOST_LISTED = 20
"""Participants that a refusal names."""


def export(
    context: typer.Context,
    recording: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECORDING]",
            help="A recording's folder or URL, or a capture.",
            show_default="the newest one in recordings",
            autocompletion=completing.recordings,
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="FORMATS",
            help=f"{', '.join(FORMATS)}; separated by commas, or repeated.",
            autocompletion=completing.export_formats,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for the new files.",
            show_default="export/ in the recording, or here",
        ),
    ] = None,
    user: Annotated[
        str, typer.Option("--video-user", metavar="USER", help="Only this camera: a user id or a name.")
    ] = "",
    layout: Annotated[
        str,
        typer.Option(
            metavar="video|share|side",
            help="What a film shows; side shows both, and encodes them again.",
            autocompletion=completing.layouts,
        ),
    ] = "video",
    blank: Annotated[
        bool, typer.Option("--blank", help="Show black while a camera is off; encodes the video again.")
    ] = False,
    merge_gap: Annotated[
        float,
        typer.Option(
            metavar="TIME", parser=time_option("--merge-gap"), help="Join sentences of a speaker that are this close."
        ),
    ] = 1.5,
    per_speaker: Annotated[
        bool, typer.Option("--per-speaker", help="Write an audio file for each participant.")
    ] = False,
    multichannel: Annotated[
        bool, typer.Option("--multichannel", help="Write an audio file with a channel for each participant.")
    ] = False,
    trim: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="START END", help="Audio from START to END: 90 or 1:30."),
    ] = None,
    only_speech: Annotated[
        bool, typer.Option("--only-speech", help="Cut silence from the audio, and write a map of the cuts.")
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            parser=time_option("--every", 0.01),
            help="Write a frame at this interval, not only key frames.",
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the recording into this PNG file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    store_endpoint: StoreEndpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Turn a recording into files to play, read and plot.

    Without --to: mp4 (or opus, where there are no pictures), vtt and txt, as far as the recording has them.

    \b
    Examples:
      rtms export
      rtms export recordings/20261122T221500Z_meeting_abc --to mp4,srt,flac
    """
    from rtms_cli.export.source import opened

    _heed_signals()
    if layout not in _LAYOUTS:
        raise Problem(f"--layout {layout} is none.", f"Use {', '.join(_LAYOUTS)}.")
    formats = _formats(to or [])
    span = None if trim is None else _span(*trim)
    recording = recording or str(newest_recording(context, "exporting"))
    written, notes, failed = list[Path](), list[str](), list[Problem]()
    with (
        _found(recording, store_endpoint, _kinds(formats, is_plotted=plot is not None), notes) as (source, capture),
        opened(source) as recorded,
        _noting(recorded, notes),
        _bar(quiet=as_json) as bar,
    ):
        formats = formats or (_usual(recorded) if plot is None else [])
        base = _name(Path(recording))
        folder = out if out is not None else _beside(Path(recording))
        whom = _user(recorded, user)
        for form in (*formats, *(("plot",) if plot is not None else ())):
            progress = bar(form)
            try:
                if form in _FILM:
                    target = folder / f"{base}.{form}"
                    written.append(_film(recorded, target, layout, whom, notes, progress, blank=blank, force=force))
                elif form in _SOUND:
                    written.extend(_sound(
                        recorded, folder, base, form, span, progress,
                        per_speaker=per_speaker, multichannel=multichannel, only_speech=only_speech, force=force,
                    ))  # fmt: skip
                elif form in _TEXT:
                    written.extend(_text(recorded, folder, base, form, merge_gap, force=force))
                elif form in _TABLES:
                    packets = folder / f"{base}.packets.{form}"
                    written.append(_table(recorded, capture, packets, progress, force=force))
                    written.extend(_chat(recorded, folder / f"{base}.chat.{form}", force=force))
                elif plot is not None and form == "plot":
                    written.append(_plot(recorded, plot, force=force))
                else:
                    written.extend(_pictures(recorded, folder, form, every, whom, layout, progress, force=force))
            except Problem as problem:
                failed.append(problem)  # the others are made all the same
            progress(1.0)
    _tell(written, notes, failed, as_json=as_json)


@contextmanager
def _found(
    recording: str, endpoint: str | None, kinds: frozenset[str], notes: list[str]
) -> "Iterator[tuple[Path | Capture, Path | Capture]]":
    """What to export, and its capture; what is needed of a recording in a store is downloaded.

    :param kinds: of the tracks that are needed; empty are all.
    """
    if not is_store_url(recording):
        yield Path(recording), Path(recording)
        return
    from rtms_cli.store.reading import fetched

    with fetched(recording, endpoint, kinds) as found:
        notes += found.problems
        yield found.source, found.capture


def _kinds(formats: list[str], *, is_plotted: bool) -> frozenset[str]:
    """The kinds of tracks that some formats are made of; empty are all."""
    kinds = {"transcript", "chat", "events"}
    if is_plotted or not formats or not {*_TEXT, *_SOUND, *_TABLES}.issuperset(formats):
        return frozenset()
    return frozenset(kinds | ({"audio"} if {*_SOUND} & {*formats} else set()))


@contextmanager
def _noting(recorded: "Recorded", notes: list[str]) -> "Iterator[None]":
    """Add what could not be read to the notes; where nothing comes of the export, it tells why."""
    from rtms_cli.view.text import say

    try:
        yield
    except Problem:
        for problem in recorded.problems:
            say(f"note: {problem}", err=True)
        raise
    notes += recorded.problems


def _tell(written: list[Path], notes: list[str], failed: list[Problem], *, as_json: bool) -> None:
    """Print what was written.

    :raises Problem: where something could not be.
    """
    from rtms_cli.view.text import json_line, say

    if as_json and (written or not failed):
        typer.echo(json_line({"files": written, "notes": notes}))
    else:
        for path in written:
            say(str(path))
        for note in notes:
            say(f"note: {note}", err=True)
    failed = list({str(each): each for each in failed}.values())
    for each in failed[:-1]:
        say(f"error: {each}", err=True)
    if failed:
        raise failed[-1]


def _heed_signals() -> None:
    """Leave as signals want, but take half-written files away."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _formats(given: list[str]) -> list[str]:
    formats = [name.strip() for name in ",".join(given).split(",") if name.strip()]
    for name in formats:
        if name not in FORMATS:
            raise Problem(f"--to {name}: there is no such format.", f"Use {', '.join(FORMATS)}.")
    return list(dict.fromkeys(formats))


def _usual(recorded: "Recorded") -> list[str]:
    found = []
    if recorded.tracks("video") or recorded.tracks("share"):
        found.append("mp4")
    elif recorded.tracks("audio"):
        found.append("opus")
    if recorded.tracks("transcript"):
        found += ["vtt", "txt"]
    elif recorded.tracks("chat"):
        found.append("txt")
    if not found:
        raise Problem(f"{recorded.folder} has nothing that is usually exported.", f"--to {', '.join(_TABLES)} may do.")
    return found


def _name(recording: Path) -> str:
    if is_store_url(str(recording)):
        return recording.name
    path = Path(os.path.realpath(recording))  # `resolve` raises where links lead in a circle
    return path.name if is_folder(path) else path.name.partition(".")[0]


def _beside(recording: Path) -> Path:
    if is_store_url(str(recording)):
        return Path("export")
    folder = (recording if is_folder(recording) else recording.parent) / "export"
    if folder.is_symlink():
        raise Problem(f"{folder} is a symbolic link, which may lead anywhere.", "Name its target with --out.")
    return folder


def _user(recorded: "Recorded", wanted: str) -> "UserId":
    if not wanted:
        return None
    names = recorded.names()
    users = ({recorded.party(track) for track in recorded.manifest.tracks} | set(names)) - {None}
    found = [one for one in users if str(one) == wanted]
    found = found or [one for one in users if wanted.casefold() in (names.get(one) or "").casefold()]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{one} {names.get(one, '')}".strip() for one in islice(users, _MOST_LISTED))
    listed += f" and {len(users) - _MOST_LISTED} others" if len(users) > _MOST_LISTED else ""
    what = f"There is no participant called {wanted}." if not found else f"{wanted} matches {len(found)} participants."
    raise Problem(f"--video-user: {what}", f"The participants are {listed}.")


def _span(start: str, end: str) -> "Span":
    from rtms_cli.export.audio import Span

    span = Span(duration("--trim", start), duration("--trim", end))
    if span.start >= span.end:
        raise Problem(f"--trim {start} {end} ends before it begins.", "Give START, and an END behind it.")
    return span


def _film(
    recorded: "Recorded",
    target: Path,
    layout: str,
    user: "UserId",
    notes: list[str],
    progress: "Progress",
    *,
    blank: bool,
    force: bool,
) -> Path:
    from rtms_cli.export.container import ContainerOptions, write_container
    from rtms_cli.export.files import made

    if layout == "video" and user is None and not recorded.tracks("video") and recorded.tracks("share"):
        layout = "share"
        notes.append("nobody had a camera on: the share is shown")
    with made(target, force=force) as passing:
        notes += write_container(recorded, passing, ContainerOptions(layout, user, blank), progress)
    return target


def _sound(
    recorded: "Recorded",
    folder: Path,
    base: str,
    form: str,
    span: "Span | None",
    progress: "Progress",
    *,
    per_speaker: bool,
    multichannel: bool,
    only_speech: bool,
    force: bool,
) -> Iterator[Path]:
    from rtms_cli.export.audio import cut_map, everybody, export_audio, voices
    from rtms_cli.export.files import made

    separate = voices(recorded) if per_speaker or multichannel else []
    if (per_speaker or multichannel) and not separate:
        raise Problem("This recording has no tracks of single participants.", "Record with --separate for that.")
    if per_speaker:
        jobs = [(f"{base}.{voice.stem}", [voice]) for voice in separate]
    elif multichannel:
        jobs = [(f"{base}.multichannel", separate)]
    else:
        jobs = [(base, [everybody(recorded)])]
    for number, (name, channels) in enumerate(jobs):
        target = folder / f"{name}.{form}"
        with made(target, force=force) as passing:
            kept = export_audio(
                recorded, channels, passing, trim=span, only_speech=only_speech,
                progress=lambda part, number=number: progress((number + part) / len(jobs)),  # type: ignore[misc]
            )  # fmt: skip
        yield target
        if kept is not None:
            with made(target.with_suffix(f".{form}.cuts.json"), force=force) as passing:
                passing.write_text(cut_map(kept))
            yield target.with_suffix(f".{form}.cuts.json")


def _text(recorded: "Recorded", folder: Path, base: str, form: str, gap_s: float, *, force: bool) -> Iterator[Path]:
    from rtms_cli.export.files import made
    from rtms_cli.export.text import WRITERS, merged
    from rtms_cli.recording.names import slug

    sentences = recorded.sentences()
    chat = list(_chat(recorded, folder / f"{base}.chat.{form}", force=force))
    if not sentences and not chat:
        what = "transcript" if form in ("srt", "vtt") else "transcript and no chat"
        raise Problem(f"{recorded.folder} has no {what}.", "`rtms inspect` shows what it has.")
    by_language: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        by_language.setdefault(sentence.language, []).append(sentence)
    for language, said in by_language.items():
        # Subtitles keep their sentences: each is to be read in the time that it takes to say it.
        shown = said if form in ("srt", "vtt") else merged(said, gap_s)
        infix = f".{slug(language, 40) or 'unknown'}" if len(by_language) > 1 else ""
        target = folder / f"{base}{infix}.{form}"
        with made(target, force=force) as passing:
            passing.write_text(WRITERS[form](shown), encoding="utf-8", errors="replace", newline="\n")
        yield target
    yield from chat


def _chat(recorded: "Recorded", target: Path, *, force: bool) -> Iterator[Path]:
    """The chat as a document or a table, where the form can hold it and there is one."""
    from rtms_cli.export.chat import COLUMNS, KINDS, WRITERS, conversation, rows
    from rtms_cli.export.checking import check_table
    from rtms_cli.export.files import made
    from rtms_cli.export.tables import open_table

    form = target.suffix[1:]
    if form not in (*WRITERS, *_TABLES) or not (chat := conversation(recorded)).posts:
        return
    with made(target, force=force) as passing:
        if form in WRITERS:
            passing.write_text(WRITERS[form](chat), encoding="utf-8", errors="replace", newline="\n")
        else:
            write, close = open_table(passing, COLUMNS, KINDS)
            found = rows(chat)
            write(found)
            close()
            check_table(passing, len(COLUMNS), len(found))
    yield target


def _plot(recorded: "Recorded", target: Path, *, force: bool) -> Path:
    from rtms_cli.export.checking import check_picture
    from rtms_cli.export.files import made
    from rtms_cli.export.plot import write_plot

    with made(target, force=force) as passing:
        write_plot(recorded, passing)
        check_picture(passing)
    return target


def _table(
    recorded: "Recorded", recording: "Path | Capture", target: Path, progress: "Progress", *, force: bool
) -> Path:
    from rtms_cli.export.files import made
    from rtms_cli.export.tables import write_table

    with made(target, force=force) as passing:
        problems = write_table(recording, passing, progress)
    for problem in problems:
        if problem.partition(": ")[2] not in recorded.problems:  # else it is known from its replay
            recorded.tell(problem)
    return target


def _pictures(
    recorded: "Recorded",
    folder: Path,
    form: str,
    every: float | None,
    user: "UserId",
    layout: str,
    progress: "Progress",
    *,
    force: bool,
) -> list[Path]:
    from rtms_cli.export.pictures import write_frames, write_slides

    out = folder / form
    if out.is_symlink() or (os.path.lexists(out) and not is_folder(out)):
        raise Problem(f"{out} is not a folder.", "Choose another with --out.")
    if is_folder(out) and any(out.iterdir()) and not force:
        raise Problem(f"{out} is there already.", "--force adds to it; --out writes elsewhere.")
    if form == "slides":
        return list(write_slides(recorded, out, progress))
    kind = "share" if layout == "share" else "video"
    found = list(write_frames(recorded, out, every, kind, user, progress))
    if not found:
        raise Problem(f"{recorded.folder} has no such pictures.", "`rtms inspect` shows what it has.")
    return found


@contextmanager
def _bar(*, quiet: bool) -> "Iterator[Callable[[str], Progress]]":
    """Progress with the time left, where there is a terminal to draw it on."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from rtms_cli.view.console import make_console

    columns = (
        TextColumn("{task.description:9}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=make_console(sys.stderr), transient=True) as drawn:

        def begin(name: str) -> "Callable[[float], None]":
            task = drawn.add_task(name, total=1.0)
            return lambda part: drawn.update(task, completed=part)

        yield begin
