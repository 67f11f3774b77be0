"""`rtms repair`: finish recordings whose process died."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import KeepRevoked, StoreEndpoint, recordings_of, short_name
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from rtms_cli.recording.repair import Repaired

_MOST_LISTED = 6
"""Files that are listed by name; more are counted."""


def repair(
    context: typer.Context,
    recordings: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING...",
            help="Recordings: folders, URLs, latest, names, or a folder of recordings.",
            autocompletion=completing.recordings,
        ),
    ],
    keep_revoked: KeepRevoked = False,
    force: Annotated[bool, typer.Option("--force", help="Continue even if it may still be recording.")] = False,
    store_endpoint: StoreEndpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per recording.")] = False,
) -> None:
    """Finish recordings whose process died.

    Makes from the capture what the other files lack, and writes the final manifest. Where several workers recorded a
    stream one after the other, their parts become one recording. One in a store is finished from what is there, if
    nobody has added to it for a minute. Doing it again changes nothing.

    \b
    Examples:
      rtms repair latest
      rtms repair recordings/
    """
    from rtms_cli.recording.merging import finish
    from rtms_cli.recording.ownership import is_being_recorded
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.view.progress import reading
    from rtms_cli.view.text import json_line, say

    code = Exit.OK
    failed: list[Problem] = []
    found = recordings_of(context, recordings, "repairing", store_endpoint, failed)
    for path, is_listed in found:
        try:
            if is_store_url(path):
                _repair_stored(path, store_endpoint, keep_revoked=keep_revoked, force=force, as_json=as_json)
                continue
            folder = _folder(path)
            if is_listed and not force and is_being_recorded(folder):
                say(f"{path}: being recorded, left alone", err=as_json)
                continue
            done = finish(folder, keep_revoked=keep_revoked, force=force, read=reading("repairing"))
        except Problem as error:
            failed.append(error)  # the others are repaired anyway
            continue
        if done.problems or done.losses:
            code = Exit.LOSSES
        if as_json:
            typer.echo(json_line(done))
        else:
            _tell(done, short_name(context, path), at_length=len(found) == 1)
    for each in failed[:-1]:
        say(f"error: {each}", err=True)
    if failed:
        raise failed[-1]
    if found and not as_json:
        _suggest(context, [path for path, _ in found])
    if code is not Exit.OK:
        raise typer.Exit(code)


def _folder(path: str) -> Path:
    """The folder of a recording; a capture in it stands for it.

    :raises Problem: if a file is not a capture in a recording's folder.
    """
    from rtms_cli.capture import part_of
    from rtms_cli.untrusted import is_file

    if path == "-":
        raise Problem("A recording on standard input cannot be repaired.", "`rtms replay -` makes one of a capture.")
    found = Path(path)
    if not is_file(found):
        return found
    if part_of(found.name) is None:
        raise Problem(f"{path} is not a recording's folder.", "`rtms replay` makes a recording of a capture.")
    return found.parent


def _suggest(context: typer.Context, found: list[str]) -> None:
    """Print what to do next."""
    from rtms_cli.view.console import make_console
    from rtms_cli.view.next_steps import command_line, next_steps

    steps = [("rtms ls", "all recordings")]
    if len(found) == 1:
        name = short_name(context, found[0])
        steps = [
            (command_line("rtms", "show", name), "the summary and the verdict"),
            (command_line("rtms", "export", name), "files to play and read"),
        ]
    next_steps(make_console(), steps)


def _tell(done: "Repaired", name: str, *, at_length: bool) -> None:
    """Print what became of a recording.

    :param name: what to call it on a terminal; elsewhere it is its path.
    :param at_length: list the files too.
    """
    from rtms_cli.view.console import is_for_people
    from rtms_cli.view.text import say

    count = len(done.changed)
    repaired = f"{count} file{'' if count == 1 else 's'} repaired" if count else "nothing to repair"
    say(f"{name if is_for_people() else done.folder}: {done.status}, {repaired}")
    if at_length:
        for name in done.changed[:_MOST_LISTED]:
            say(f"  {name}")
        if count > _MOST_LISTED:
            say(f"  and {count - _MOST_LISTED} more")
    for name in done.kept:
        say(f"  {name}: left alone, it has more than the capture")
    for problem in done.problems:
        say(f"  warning: {problem}", err=True)


def _repair_stored(url: str, endpoint: str | None, *, keep_revoked: bool, force: bool, as_json: bool) -> None:
    from rtms_cli.store.reading import repair_stored
    from rtms_cli.view.text import json_line, say

    status, is_repaired = repair_stored(url, endpoint, keep_revoked=keep_revoked, force=force)
    if as_json:
        typer.echo(json_line({"url": url, "status": status}))
    else:
        say(f"{url}: {status}, {'repaired' if is_repaired else 'nothing to repair'}")
