"""Options that several commands have, written once."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

Media = Annotated[str, typer.Option(help="audio, video, share, transcript, chat, separated by commas; or all.")]
Split = Annotated[bool, typer.Option("--split", help="Ask for a socket of its own for each kind of media.")]
AudioForm = Annotated[
    str, typer.Option("--audio", help="l16|opus|g711|g722[:RATE[:CHANNELS[:SEND_RATE]]], for example l16:48:2:100.")
]
Separate = Annotated[bool, typer.Option("--separate/--mixed", help="Audio of each participant, or of all in one.")]
Rtp = Annotated[bool, typer.Option("--rtp", help="Ask for audio packets with RTP headers, whose numbers tell losses.")]
VideoForm = Annotated[str, typer.Option("--video", help="h264|jpg|png[:sd|hd|fhd|qhd[:FPS]], for example h264:fhd:25.")]
VideoUser = Annotated[str, typer.Option(help="One participant's camera: a user id, a name, or first.")]
ShareForm = Annotated[str, typer.Option("--share", help="The same for the screen share.")]
SpokenLanguage = Annotated[str, typer.Option("--language", help="Language of the transcript: German, 14, …")]
DetectLanguage = Annotated[
    bool, typer.Option("--detect-language/--no-detect-language", help="Let the transcript follow a change of language.")
]
Live = Annotated[bool, typer.Option("--live", help="Drop the audio that Zoom kept before we were connected.")]
Out = Annotated[Path, typer.Option(help="Folder for recordings.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")]
Plain = Annotated[bool, typer.Option("--plain", help="Print log lines, no dashboard.")]
AllowHost = Annotated[
    list[str] | None, typer.Option(help="A host that we may connect to beside *.zoom.us; can be repeated.")
]
MaxBuffer = Annotated[int, typer.Option(help="MiB that may wait for the disk, in all.", min=1)]
ClientId = Annotated[str | None, typer.Option(help="Client id (ZOOM_CLIENT_ID).")]
ClientSecret = Annotated[str | None, typer.Option(help="Client secret (better: ZOOM_CLIENT_SECRET).")]
SecretToken = Annotated[str | None, typer.Option(help="Secret token of webhooks (better: ZOOM_SECRET_TOKEN).")]
KeepRevoked = Annotated[
    bool, typer.Option("--keep-revoked", help="Keep what Zoom wants deleted (stop reason 8); are you allowed to?")
]
KeepEncoded = Annotated[
    bool, typer.Option("--keep-encoded", help="Store Opus, G.711 and G.722 as they come too, beside the WAV.")
]
CaFile = Annotated[Path | None, typer.Option(help="A PEM file with the authorities to trust, instead of the system's.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify the servers' certificates.")]
Mode = Annotated[str, typer.Option(help="Permissions of the files, in octal; folders can be entered by who may read.")]


def is_terminal() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
