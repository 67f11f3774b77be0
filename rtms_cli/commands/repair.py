"""`rtms repair`: finish recordings whose process died."""

from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.commands.options import KeepRevoked
from rtms_cli.errors import Exit, Problem


def repair(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings' folders.")],
    keep_revoked: KeepRevoked = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on where the file system has no locks and nobody can tell.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a recording.")] = False,
) -> None:
    """Finish recordings whose process died.

    Makes from the capture what the other files lack, and writes the final manifest. Where several workers recorded a
    stream one after the other, their parts become one recording. Doing it again changes nothing.

    \b
    Example:
      rtms repair recordings/20261122T221500Z_meeting_abc
    """
    from rtms_cli.recording.merging import finish
    from rtms_cli.view.progress import reading
    from rtms_cli.view.text import json_line, say

    code = Exit.OK
    failed: list[Problem] = []
    for folder in recordings:
        try:
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
