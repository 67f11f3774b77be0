"""`rtms rm`: delete recordings."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import StoreEndpoint, recording_of
from rtms_cli.errors import Exit, Problem


def rm(
    context: typer.Context,
    recordings: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING...", autocompletion=completing.recordings, help="Names, ids, titles, paths or URLs."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store_endpoint: StoreEndpoint = None,
) -> None:
    """Delete recordings, finished or not.

    One that is being recorded stays. On a terminal you are asked first; in a script, --yes is needed.

    \b
    Examples:
      rtms rm latest
      rtms rm --yes 20261122T221500Z 20261123T090000Z
    """
    from rtms_cli.view.text import say

    found = [recording_of(context, text, "", store_endpoint) for text in recordings]
    found = list({_same(one): one for one in (each.rstrip("/") for each in found)}.values())
    for one in found:
        say(f"{one}: {_described(one, store_endpoint)}", err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise Problem("Nobody can be asked whether to delete them.", "Add --yes.")
        typer.confirm(f"Delete {len(found)} recordings?" if len(found) > 1 else "Delete this recording?", abort=True)
    failed = 0
    for one in found:
        if why := _delete(one, store_endpoint):
            failed += 1
            say(f"error: {one} was not deleted: {why}", err=True)
        else:
            say(f"deleted {one}")
    if failed:
        raise typer.Exit(Exit.LOSSES)


def _same(one: str) -> str:
    """What is equal for two ways to write the same recording."""
    from rtms_cli.store.urls import is_store_url

    return one if is_store_url(one) else os.path.realpath(one)


def _described(one: str, endpoint: str | None) -> str:
    """How large it is and what, before anyone says yes.

    :raises Problem: if it is not a recording.
    """
    from rtms_cli.catalog.entries import entry_of, folders
    from rtms_cli.protocol.times import clock_time
    from rtms_cli.recording.ownership import is_being_recorded
    from rtms_cli.recording.pruning import SPOOL_STATES
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.view.catalog import what_of
    from rtms_cli.view.text import size_of

    if is_store_url(one):
        from rtms_cli.catalog.stored import read_stored

        entry, _ = read_stored(one, endpoint)
    else:
        folder = Path(one)
        if folder.absolute() not in folders(folder.absolute().parent):  # no links, and nothing else
            raise Problem(f"{one} is not a recording's folder.", "`rtms ls` lists the recordings.")
        if os.path.lexists(folder.absolute().parent / SPOOL_STATES):
            raise Problem(
                f"{one} is in a spool: the store may not have all of it.", "What the store has is removed from there."
            )
        entry = entry_of(folder)
        if is_being_recorded(folder):
            raise Problem(f"{one} is being recorded or repaired.", "Wait for its end, or stop it: rtms stop.")
    return f"{what_of(entry)}, {clock_time(round(entry.seconds))}, {size_of(entry.nbytes)}, {entry.status}"


def _delete(one: str, endpoint: str | None) -> str:
    from rtms_cli.recording.pruning import Candidate, delete_recording
    from rtms_cli.store.urls import is_store_url

    if not is_store_url(one):
        return delete_recording(Path(one).absolute())
    from rtms_cli.store.objects import open_store
    from rtms_cli.store.pruning import StorePlace
    from rtms_cli.store.urls import read_store_url

    parent, _, name = one.rpartition("/")
    where = StorePlace(open_store(read_store_url(parent), endpoint))
    mine = next((each for each in where.find() if each.name == name), None)
    return where.delete(mine) if isinstance(mine, Candidate) else "it is not finished, or its manifest cannot be read"
