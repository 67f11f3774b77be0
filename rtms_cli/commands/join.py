"""`rtms join`: one stream, from a saved or pasted payload."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.options import (
    AudioForm,
    CaFile,
    ClientId,
    ClientSecret,
    DetectLanguage,
    Insecure,
    Json,
    KeepEncoded,
    KeepRevoked,
    Live,
    MaxBuffer,
    Media,
    Mode,
    Out,
    Plain,
    Rtp,
    Separate,
    ShareForm,
    Split,
    SpokenLanguage,
    VideoForm,
    VideoUser,
    read_input,
    saved_json,
)
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtms_cli.protocol.webhooks import Stream
    from rtms_cli.station.station import Outcome


def join(
    payload: Annotated[
        str | None,
        typer.Argument(help="A file with the webhook's JSON, or - for standard input; without it, paste the JSON."),
    ] = None,
    media: Media = "all",
    audio: AudioForm = "l16",
    separate: Separate = False,
    rtp: Rtp = False,
    video: VideoForm = "jpg",
    video_user: VideoUser = "",
    share: ShareForm = "jpg",
    language: SpokenLanguage = "English",
    detect_language: DetectLanguage = True,
    live: Live = False,
    split: Split = False,
    out: Out = Path("recordings"),
    max_buffer: MaxBuffer = 256,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    mode: Mode = "600",
    keep_revoked: KeepRevoked = False,
    keep_encoded: KeepEncoded = False,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Record one stream from its webhook's payload.

    The payload is the whole body, its payload, or the object in it.

    A FORM may say more: --audio CODEC:RATE:CHANNELS:SEND_RATE, as l16:48:2:100;
    --video and --share CODEC:sd|hd|fhd|qhd:FPS, as h264:fhd:25.

    \b
    Example:
      rtms join payload.json --media audio,transcript
    """
    from rtms_cli.station.credentials import load_credentials
    from rtms_cli.station.running import file_mode, media_request, run_loop, running_station, tls_options
    from rtms_cli.wire.hosts import HostPolicy

    credentials = load_credentials({"client_id": client_id, "client_secret": client_secret})
    request = media_request(
        media,
        split=split,
        audio=audio,
        separate=separate,
        rtp=rtp,
        video=video,
        video_user=video_user,
        share=share,
        language=language,
        detect_language=detect_language,
        live=live,
    )
    permissions, tls = file_mode(mode), tls_options(ca_file, insecure=insecure)
    stream, body = read_stream(payload)

    async def run() -> "Outcome":
        async with running_station(
            "join",
            out=out,
            request=request,
            sign=credentials.sign,
            policy=HostPolicy(anything=True),
            trusted=True,
            max_buffer_mib=max_buffer,
            mode=permissions,
            keep_revoked=keep_revoked,
            keep_encoded=keep_encoded,
            tls=tls,
            as_json=as_json,
            plain=plain,
        ) as station:
            return await station.record(stream, body)

    outcome = run_loop(run())
    if outcome.exit_code is not Exit.OK:
        raise typer.Exit(outcome.exit_code)


def read_stream(payload: str | None) -> "tuple[Stream, bytes | None]":
    """Read the payload, and give the webhook's body too where it is a whole one.

    :raises Problem: where there is none, or it announces no stream.
    """
    from rtms_cli.protocol.webhooks import StreamStart, read_payload, read_webhook

    text = saved_json(_read_text(payload))
    try:
        stream = read_payload(text)
    except ValueError as error:
        raise Problem(
            f"The payload announces no stream: {error}.",
            "Give the JSON that Zoom posted, for example what `rtms simulate --payload-out FILE` writes.",
        ) from None
    return stream, text if isinstance(read_webhook(text), StreamStart) else None


def _read_text(payload: str | None) -> bytes:
    if payload is not None:
        return read_input(payload, "Give a file with the webhook's JSON.")
    if not sys.stdin.isatty():
        raise Problem("No payload.", "Give a file, or - to read standard input.")
    typer.echo("Paste the webhook's JSON and press Enter:", err=True)
    return read_pasted(iter(sys.stdin.readline, ""))


def read_pasted(lines: "Iterable[str]") -> bytes:
    """Take lines until they make a whole JSON value, or end."""
    import json

    text = ""
    for line in lines:
        text += line
        try:
            json.loads(text)
        except ValueError:
            continue
        break
    return text.encode()
