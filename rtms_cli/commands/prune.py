"""`rtms prune`: delete old recordings."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import RecordingsPlace, StoreEndpoint, duration, recordings_place
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from rtms_cli.recording.pruning import Place, Plan

_STATUSES = ("complete", "interrupted", "failed", "revoked")


def prune(
    context: typer.Context,
    place: RecordingsPlace = None,
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="Only those that ended this long ago: 30d, 12h.")
    ] = ...,  # type: ignore[assignment]
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            help=f"Only {', '.join(_STATUSES)}; may be repeated.",
            autocompletion=completing.statuses,
        ),
    ] = None,
    keep: Annotated[int, typer.Option(metavar="N", help="Always keep the newest N.", min=0)] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store_endpoint: StoreEndpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Delete old recordings, in a folder or in a store.

    Only finished recordings are deleted. Those that are being recorded, that nobody has repaired yet, or whose manifest
    cannot be read, stay. What --dry-run lists is what a run deletes.

    \b
    Examples:
      rtms prune --older-than 30d --dry-run
      rtms prune --older-than 7d --status complete --keep 100 --yes s3://bucket/recordings
    """
    from rtms_cli.recording.pruning import plan

    age_s = duration("--older-than", older_than)
    for one in status or ():
        if one not in _STATUSES:
            raise Problem(f"--status {one} is not how a recording ends.", f"Use {', '.join(_STATUSES)}.")
    given = place or recordings_place(context)
    where = _place(given, store_endpoint)
    chosen = plan(where.find(), datetime.now(UTC), age_s, status or (), keep)
    if not as_json:
        _show(chosen)
    if not dry_run and chosen.chosen and not yes and not as_json and sys.stdin.isatty():
        typer.confirm(f"Delete {_counted(len(chosen.chosen))}?", abort=True)
    failed = {} if dry_run else _delete(where, chosen, quiet=as_json)
    if dry_run and chosen.chosen and not as_json:
        from rtms_cli.view.console import make_console
        from rtms_cli.view.next_steps import command_line, next_steps

        again = [word for word in sys.argv[1:] if word != "--dry-run"]
        next_steps(make_console(), [(command_line("rtms", *again), "delete them")])
    if as_json:
        _print_json(given, chosen, failed, is_dry=dry_run)
    if failed:
        raise typer.Exit(Exit.LOSSES)


def _place(given: str, endpoint: str | None) -> "Place":
    from rtms_cli.recording.pruning import Folder
    from rtms_cli.store.urls import is_store_url, read_store_url

    if not is_store_url(given):
        return Folder(Path(given))
    from rtms_cli.store.objects import open_store
    from rtms_cli.store.pruning import StorePlace

    return StorePlace(open_store(read_store_url(given), endpoint))


def _show(chosen: "Plan") -> None:
    from rtms_cli.catalog.entries import read_time
    from rtms_cli.view.catalog import local_time, short_names
    from rtms_cli.view.console import is_for_people
    from rtms_cli.view.text import say, size_of

    short = short_names([one.name for one in chosen.chosen]) if is_for_people() else {}
    for one in chosen.chosen:
        ended = one.ended_at or one.started_at
        when = local_time(read_time(ended)) if short else ended
        say(f"{short.get(one.name, one.name)}  {one.status}  {when}  {size_of(one.nbytes)}")
    for left in chosen.left:
        say(f"note: {left.name} stays: {left.why}", err=True)
    what = f"{_counted(len(chosen.chosen))}, {size_of(chosen.nbytes)}" if chosen.chosen else "nothing to delete"
    say(what)


def _counted(count: int) -> str:
    return f"{count:,} recording{'' if count == 1 else 's'}"


def _delete(where: "Place", chosen: "Plan", *, quiet: bool) -> dict[str, str]:
    """Delete them; returns why some were not, by name."""
    from rtms_cli.view.text import say

    failed = {}
    for one in chosen.chosen:
        if why := where.delete(one):
            failed[one.name] = why
            say(f"warning: {one.name} was not deleted: {why}", err=True)
    if not quiet and chosen.chosen:
        say(f"deleted {_counted(len(chosen.chosen) - len(failed))}")
    return failed


def _print_json(given: str, chosen: "Plan", failed: dict[str, str], *, is_dry: bool) -> None:
    from rtms_cli.view.text import json_line

    recordings = [
        {
            "name": one.name,
            "status": one.status,
            "started_at": one.started_at,
            "ended_at": one.ended_at,
            "bytes": one.nbytes,
            "deleted": not is_dry and one.name not in failed,
            "why_not": failed.get(one.name, ""),
        }
        for one in chosen.chosen
    ]
    typer.echo(
        json_line(
            {
                "place": given,
                "dry_run": is_dry,
                "recordings": recordings,
                "left": chosen.left,
                "bytes": chosen.nbytes,
            }
        )
    )
