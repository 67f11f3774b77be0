"""`rtms play`: hear a recording, or open its page."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import duration, recording_of
from rtms_cli.errors import Problem, reason_of

if TYPE_CHECKING:
    from rtms_cli.export.source import Recorded


class Player(StrEnum):
    """What plays it."""

    MPV = "mpv"
    FFPLAY = "ffplay"
    BROWSER = "browser"


def play(
    context: typer.Context,
    recording: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECORDING]",
            autocompletion=completing.recordings,
            help="A name, id, title or path.",
            show_default="latest",
        ),
    ] = None,
    at: Annotated[str, typer.Option(metavar="TIME", help="Start here: 12:30, 750 or 1:02:03.")] = "0",
    player: Annotated[
        Player | None,
        typer.Option(
            "--with",
            metavar="mpv|ffplay|browser",
            help="What plays it: the sound, or its page.",
            show_default="what is installed",
        ),
    ] = None,
) -> None:
    """Play a recording, or open its page in a browser.

    Plays the sound with mpv or ffplay. Without either, or without sound, opens the page: transcript, chat, timeline and
    sound together. The page is written to page.html in the recording's folder.

    \b
    Examples:
      rtms play
      rtms play "Weekly sync" --at 12:30
      rtms play 20261122T221500Z --with browser
    """
    from rtms_cli.export.source import recorded_in
    from rtms_cli.store.urls import is_store_url

    seconds = duration("--at", at)
    given = recording_of(context, recording, "playing", or_newest_in=True)
    if is_store_url(given):
        raise Problem(f"{given} is in a store.", f"rtms export {given} --to mp3 makes a file that you can play.")
    recorded = recorded_in(Path(given))
    if seconds > recorded.seconds:
        raise Problem(f"--at {at} is past the end: the recording is {recorded.seconds:.0f} s long.")
    chosen = player or _installed(recorded)
    if chosen is Player.BROWSER:
        _open_page(Path(given), seconds)
        return
    program = shutil.which(chosen)
    if program is None:
        raise Problem(f"{chosen} is not installed.", "Install it, or use --with browser.")
    with _sound(recorded) as (path, offset):
        _run([program, *_arguments(chosen, path, max(0.0, seconds - offset))])


def _installed(recorded: "Recorded") -> Player:
    has_sound = bool(recorded.tracks("audio"))
    players = (Player.MPV, Player.FFPLAY) if has_sound else ()
    return next((one for one in players if shutil.which(one) is not None), Player.BROWSER)


@contextmanager
def _sound(recorded: "Recorded") -> "Iterator[tuple[Path, float]]":
    """One file with everyone's sound, and where its zero lies in the recording, in seconds.

    Several tracks are mixed into a temporary file.
    """
    from rtms_cli.export.audio import everybody, export_audio

    voice = everybody(recorded)
    if len(voice.tracks) == 1:
        track = voice.tracks[0]
        _check_sound(recorded.folder, track.path)
        yield (recorded.folder / track.path).absolute(), recorded.clock.track(track)
        return
    with tempfile.TemporaryDirectory(prefix="rtms-play-") as folder:
        target = Path(folder) / "mixed.wav"
        export_audio(recorded, [voice], target)
        yield target, 0.0


def _check_sound(folder: Path, name: str) -> None:
    """Let a player have nothing but a sound file in the recording, whatever a stranger's manifest names.

    :raises Problem: if it is something else.
    """
    from rtms_cli.untrusted import open_sound

    try:
        open_sound(folder, name).close()
    except OSError as error:
        what = f"The sound {name} of {folder} cannot be played: {reason_of(error)}."
        raise Problem(what, "`rtms play --with browser` opens the page.") from None


def _arguments(player: Player, path: Path, start: float) -> list[str]:
    if player is Player.MPV:
        return [f"--start={start:.3f}", "--no-video", str(path)]
    has_screen = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return [
        *("-hide_banner", "-loglevel", "warning", "-stats", "-autoexit"),
        *(() if has_screen else ("-nodisp",)),
        *("-ss", f"{start:.3f}", "-i", str(path)),
    ]


def _run(command: list[str]) -> None:
    try:
        code = subprocess.run(command, check=False).returncode  # noqa: S603  # found on the PATH, and no shell
    except KeyboardInterrupt:
        return  # the player has ended with it
    except OSError as error:
        raise Problem(f"{command[0]} cannot be started: {reason_of(error)}.", "Use --with browser.") from None
    if code > 0:
        raise Problem(f"{Path(command[0]).name} ended with exit code {code}.", "Its output says why; --with browser.")


def _open_page(folder: Path, seconds: float) -> None:
    import webbrowser

    from rtms_cli.view.text import say

    page = _page(folder)
    url = page.absolute().as_uri() + (f"#t={seconds:g}" if seconds else "")
    if webbrowser.open(url):
        say(f"opened {url}")
    else:
        say("No browser could be started. Open this page yourself:")
        say(url)


def _page(folder: Path) -> Path:
    """The recording's page, written again where it is older than the recording."""
    from rtms_cli.catalog.entries import PAGE
    from rtms_cli.inspection.page import write_page

    target = folder / PAGE
    sources = [path for name in ("manifest.json", "capture*.jsonl*") for path in folder.glob(name)]
    is_made = target.is_file() and not target.is_symlink()
    if is_made and target.stat().st_mtime_ns >= max((path.stat().st_mtime_ns for path in sources), default=math.inf):
        return target
    if not os.access(folder, os.W_OK):
        target = Path(tempfile.mkdtemp(prefix="rtms-page-")) / PAGE
    write_page(folder, target)
    return target
