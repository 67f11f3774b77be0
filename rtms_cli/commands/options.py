"""Options that several commands have, written once."""

import codecs
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.errors import Problem

Media = Annotated[str, typer.Option(metavar="KINDS", help="audio,video,share,transcript,chat or all.")]
Split = Annotated[bool, typer.Option("--split", help="A socket for each kind of media.")]
AudioForm = Annotated[str, typer.Option("--audio", metavar="FORM", help="l16, opus, g711 or g722.")]
Separate = Annotated[
    bool, typer.Option("--separate/--mixed", help="Audio of each person, or of all.", show_default=False)
]
Rtp = Annotated[bool, typer.Option("--rtp", help="Audio with RTP headers: they tell losses.")]
VideoForm = Annotated[str, typer.Option("--video", metavar="FORM", help="h264, jpg or png.")]
VideoUser = Annotated[str, typer.Option(metavar="USER", help="One camera: a user id, a name, or first.")]
ShareForm = Annotated[str, typer.Option("--share", metavar="FORM", help="The same, for the screen share.")]
SpokenLanguage = Annotated[str, typer.Option("--language", metavar="NAME", help="Of the transcript.")]
DetectLanguage = Annotated[
    bool, typer.Option("--detect-language/--no-detect-language", help="Follow it into another one.", show_default=False)
]
Live = Annotated[bool, typer.Option("--live", help="Drop audio from before we were connected.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where recordings go.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")]
Plain = Annotated[bool, typer.Option("--plain", help="Print log lines, no dashboard.")]
AllowHost = Annotated[list[str] | None, typer.Option(metavar="HOST", help="May be connected to, as *.zoom.us may.")]
MaxBuffer = Annotated[int, typer.Option(metavar="MIB", help="May wait for the disk, in all.", min=1)]
ClientId = Annotated[str | None, typer.Option(metavar="ID", help="Client id (ZOOM_CLIENT_ID).")]
ClientSecret = Annotated[str | None, typer.Option(metavar="SECRET", help="Better: ZOOM_CLIENT_SECRET.")]
SecretToken = Annotated[str | None, typer.Option(metavar="TOKEN", help="For webhooks (better: ZOOM_SECRET_TOKEN).")]
KeepRevoked = Annotated[bool, typer.Option("--keep-revoked", help="Keep what Zoom wants deleted, if you may.")]
KeepEncoded = Annotated[bool, typer.Option("--keep-encoded", help="Store Opus, G.711, G.722 packets too.")]
Cert = Annotated[Path | None, typer.Option(metavar="PEM", help="A certificate and its key: URLs are wss:// then.")]
PublicHost = Annotated[
    str | None, typer.Option(metavar="NAME", help="What URLs name, if not --host: a container, a tunnel.")
]
CaFile = Annotated[Path | None, typer.Option(metavar="PEM", help="Authorities to trust, not the system's.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify the servers' certificates.")]
Mode = Annotated[str, typer.Option(metavar="OCTAL", help="Permissions of the files.")]


def newest_recording(context: typer.Context, doing: str) -> Path:
    """The newest recording where `listen` is configured to put them, and a line that says which.

    :raises Problem: where there is none.
    """
    from rtms_cli.inspection.newest import newest
    from rtms_cli.view.text import escape

    settings = context.parent.default_map if context.parent is not None else None
    found = newest(Path((settings or {}).get("listen", {}).get("out", "recordings")))
    typer.echo(f"{doing} {escape(str(found))}", err=True)
    return found


def read_input(name: str, instead: str) -> bytes:
    """What is in a file, or with - what comes on standard input.

    :raises Problem: where it cannot be read; `instead` says what to give.
    """
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Problem(f"Cannot read {name}: {error.strerror}.", instead) from None


def saved_json(raw: bytes) -> bytes:
    """JSON that somebody saved, in UTF-8: PowerShell writes UTF-16, and some editors put a byte order mark first."""
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    encoding = next((marks[mark] for mark in marks if raw.startswith(mark)), None)
    try:
        return raw if encoding is None else raw.decode(encoding).encode()
    except UnicodeError:
        return raw  # whoever reads it says that it is no JSON


def is_terminal() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
