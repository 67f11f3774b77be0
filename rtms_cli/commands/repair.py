"""`rtms repair`: finish recordings whose process died."""

from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.commands.options import KeepRevoked, StoreEndpoint
from rtms_cli.errors import Exit, Problem


def repair(
    recordings: Annotated[list[str], typer.Argument(help="Recordings' folders or URLs.")],
    keep_revoked: KeepRevoked = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on where nobody can tell whether it is being recorded.")
    ] = False,
    store_endpoint: StoreEndpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a recording.")] = False,
) -> None:
    """Finish recordings whose process died.

    Makes from the capture what the other files lack, and writes the final manifest. Where several workers recorded a
    stream one after the other, their parts become one recording. One in a store is finished from what is there, if
    nobody has added to it for a minute. Doing it again changes nothing.

    \b
    Example:
      rtms repair recordings/20261122T221500Z_meeting_abc
    """
    from rtms_cli.recording.merging import finish
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.view.progress import reading
    from rtms_cli.view.text import json_line, say

    code = Exit.OK
    failed: list[Problem] = []
    for given in recordings:
        folder = Path(given)
        try:
            if is_store_url(given):
                _repair_stored(given, store_endpoint, keep_revoked=keep_revoked, force=force, as_json=as_json)
                continue
            done = finish(folder, keep_revoked=keep_revoked, force=force, read=reading("repairing"))
        except Problem as error:
            failed.append(error)  # the others are repaired all the same
            continue
        if done.problems or done.losses:
            code = Exit.LOSSES
        if as_json:
            typer.echo(json_line(done))
            continue
        say(f"{folder}: {done.status}, {len(done.changed)} files made or mended")
        for name in done.changed:
            say(f"  {name}")
        for name in done.kept:
            say(f"  {name} has more than the capture: kept")
        for problem in done.problems:
            say(f"  warning: {problem}", err=True)
    for each in failed[:-1]:
        say(f"error: {each}", err=True)
    if failed:
        raise failed[-1]
    if code is not Exit.OK:
        raise typer.Exit(code)


def _repair_stored(url: str, endpoint: str | None, *, keep_revoked: bool, force: bool, as_json: bool) -> None:
    from rtms_cli.store.reading import repair_stored
    from rtms_cli.view.text import json_line, say

    status = repair_stored(url, endpoint, keep_revoked=keep_revoked, force=force)
    if as_json:
        typer.echo(json_line({"url": url, "status": status}))
    else:
        say(f"{url}: {status}")
