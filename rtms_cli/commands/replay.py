"""`rtms replay`: the same files again, from a capture."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.options import (
    Cert,
    ClientId,
    ClientSecret,
    KeepEncoded,
    KeepRevoked,
    Plain,
    PublicHost,
    SecretToken,
)
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtms_cli.capture import Capture
    from rtms_cli.machine import Frame


def replay(
    context: typer.Context,
    capture: Annotated[Path, typer.Argument(help="A capture.jsonl (also .gz or .zst), or a recording's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the new recording.")] = Path("recordings"),
    speed: Annotated[
        str | None, typer.Option(help="1, 2, … times as fast as it was, or max.", show_default="max; 1 with --serve")
    ] = None,
    keep_revoked: KeepRevoked = False,
    keep_encoded: KeepEncoded = False,
    plain: Plain = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Be the server that it was recorded from, for any client.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to serve at.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to serve at; 0 takes a free one.", min=0, max=65535, show_default="0")
    ] = None,
    cert: Cert = None,
    public_host: PublicHost = None,
    webhook: Annotated[
        str | None, typer.Option(help="URL to post signed started and stopped webhooks to, for the first client.")
    ] = None,
    payload_out: Annotated[Path | None, typer.Option(help="File to write the started webhook's body to.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Serve one client only.")] = False,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    secret_token: SecretToken = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a recording again from its capture, or serve the capture to clients.

    The new files are those of the live session, byte for byte. With --speed 1 it can be watched. With --serve, any
    client that joins with the configured credentials gets what was recorded, with the same timing; what it did wrong
    is told at the end (exit code 1 then).

    \b
    Examples:
      rtms replay recordings/20261122T221500Z_meeting_abc --out again
      rtms replay capture.jsonl --serve --port 9000 --payload-out payload.json
    """
    pace = read_speed(speed or ("1" if serve else "max"))
    serving = {
        "host": host,
        "port": port,
        "cert": cert,
        "public_host": public_host,
        "webhook": webhook,
        "payload_out": payload_out,
        "once": once or None,
    }
    credentials = {"client_id": client_id, "client_secret": client_secret, "secret_token": secret_token}
    if serve:
        from rtms_cli.commands.serving import Serving, serve_capture

        given = {name: value for name, value in serving.items() if value is not None}
        serve_capture(capture, Serving(speed=pace, **given), credentials, as_json=as_json)  # type: ignore[arg-type]
        return
    for name in (*serving, *credentials):
        given_by = context.get_parameter_source(name)  # a setting may stand there for when it serves
        if given_by is not None and given_by.name == "COMMANDLINE":
            raise Problem(f"--{name.replace('_', '-')} goes with --serve.", "Add --serve, or leave it out.")
    from rtms_cli.capture import Capture
    from rtms_cli.commands.options import is_terminal
    from rtms_cli.recording.names import new_folder
    from rtms_cli.recording.recorder import Recorder
    from rtms_cli.session.rehearsal import Rehearsal
    from rtms_cli.view.lines import print_summary

    source = Capture(capture)
    try:
        folder = new_folder(out, source.header)
    except OSError as error:
        raise Problem(f"Cannot make a folder in {out}: {error.strerror}.", "Choose another with --out.") from error
    recorder = Recorder(folder, source.header, keep_revoked=keep_revoked, keep_encoded=keep_encoded)
    rehearsal = Rehearsal(source, source.header.product, source.header.rtms_stream_id)
    if pace is not None and is_terminal() and not (plain or as_json):
        import asyncio

        from rtms_cli.commands.watching import watch

        asyncio.run(watch(source, recorder, rehearsal, pace))
    else:
        for batch in batches(source, pace):
            for frame in batch:
                rehearsal.follow(frame)
            recorder.fold(batch)
        recorder.close()
        print_summary(folder, as_json=as_json)
    for line in [*source.problems, *rehearsal.differences()]:
        print(f"warning: {line}", file=sys.stderr)  # noqa: T201
    if source.problems or recorder.snapshot().losses:
        raise typer.Exit(Exit.LOSSES)


BATCH = 256
"""Frames that are folded at once where nobody waits for them."""


def read_speed(text: str) -> float | None:
    """Read `--speed`: `None` is as fast as it goes.

    :raises Problem: where it is neither a positive number nor `max`.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0 < speed < float("inf"):
        raise Problem(f"--speed {text} is no speed.", "Use a number such as 1, 2 or 0.5, or max.")
    return speed


def batches(capture: "Capture", speed: float | None) -> "Iterator[list[Frame]]":
    """The capture's frames in batches: by number, or each when it is due."""
    import time
    from itertools import islice

    frames = iter(capture)
    if speed is None:
        gc.set_threshold(200_000, 20, 50)  # frames are no cycles
        while batch := list(islice(frames, BATCH)):
            yield batch
        return
    start = time.monotonic()
    for frame in frames:
        time.sleep(max(0.0, start + frame.at_us / 1_000_000 / speed - time.monotonic()))
        yield [frame]
