"""`rtms join`: one stream, from a saved or pasted payload."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.groups import HookOptions, LiveOptions, LoggedOptions, MediaOptions, WebOptions, option_groups
from rtms_cli.commands.options import (
    AllowHost,
    ClientId,
    ClientSecret,
    given_credentials,
    note_form,
    read_input,
    tls_options,
)
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtms_cli.station.station import Outcome


@option_groups
def join(
    payload: Annotated[
        str | None,
        typer.Argument(
            metavar="[PAYLOAD]",
            help="A file with the webhook's JSON, or - for standard input; without it, paste the JSON.",
        ),
    ] = None,
    *,
    media: MediaOptions,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    allow_host: AllowHost = None,
    live: LiveOptions,
    hooks: HookOptions,
    pages: WebOptions,
    recording: LoggedOptions,
) -> None:
    """Record one stream from its webhook's payload.

    The payload is the whole body, its payload, or the object in it.

    A FORM may say more: --audio CODEC:RATE:CHANNELS:SEND_RATE, as l16:48:2:100;
    --video and --share CODEC:sd|hd|fhd|qhd:FPS, as h264:fhd:25.

    \b
    Example:
      rtms join payload.json --media audio,transcript
    """
    from rtms_cli.commands.composing import shown_station
    from rtms_cli.library.asking import announced, join_policy
    from rtms_cli.station.running import run_loop

    credentials = given_credentials(client_id=client_id, client_secret=client_secret)
    request = media.request(separate=live.wants_each())
    tls = tls_options(recording.ca_file, insecure=recording.insecure)
    stream, body = announced(_read_text(payload), note_form)
    if stream.event_ts is None and payload is not None and payload != "-":
        _warn_of_old_file(payload)
    policy = join_policy(stream, allow_host or ())

    async def run() -> "Outcome":
        async with shown_station(
            "join", recording, live, hooks, request, credentials.sign, policy, trusted=True, tls=tls, web=pages
        ) as station:
            return await station.record(stream, body, at_once=False)

    outcome = run_loop(run())
    if outcome.exit_code is not Exit.OK:
        raise typer.Exit(outcome.exit_code)


def _read_text(payload: str | None) -> bytes:
    if payload is not None:
        return read_input(payload, "Give a file with the webhook's JSON.")
    if not sys.stdin.isatty():
        raise Problem("No payload.", "Give a file, or - to read standard input.")
    from rtms_cli.view.terminal import PastedLines

    with PastedLines(sys.stdin.fileno()) as lines:
        typer.echo("Paste the webhook's JSON and press Enter:", err=True)
        return take_pasted(lines)


def _warn_of_old_file(payload: str) -> None:
    """A payload without the webhook around it does not say when it came; its file may."""
    from rtms_cli.station.admission import too_late
    from rtms_cli.view.text import say

    warning = too_late(f"{payload} was written", Path(payload).stat().st_mtime * 1000)
    if warning is not None:
        say(f"warning: {warning}", err=True)


def take_pasted(lines: "Iterable[bytes]") -> bytes:
    """Take lines until they hold a whole JSON object, or end."""
    from rtms_cli.protocol.pasted import read_pasted

    text = b""
    for line in lines:
        text += line
        if not line.rstrip().endswith((b"}", b'"', b"'", b"`")):
            continue
        try:
            read_pasted(text)
        except ValueError:
            continue
        break
    return text
