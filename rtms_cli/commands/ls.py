"""`rtms ls`: list the recordings."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import RecordingsPlace, StoreEndpoint, duration, recordings_place, short_name
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from rtms_cli.catalog.entries import Entry


def ls(
    context: typer.Context,
    place: RecordingsPlace = None,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Only those that began since then: 7d, 12h, 2026-11-01.")
    ] = "",
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            help="Only complete, interrupted, failed, revoked, recording or unfinished.",
            autocompletion=completing.statuses,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most N recordings.", min=1)] = None,
    store_endpoint: StoreEndpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per recording.")] = False,
) -> None:
    """List the recordings, newest first.

    In a pipe, each line has the name, status, start, length, bytes, losses, product and title or id, with tabs between
    them.

    \b
    Examples:
      rtms ls
      rtms ls --since 7d --status interrupted
      rtms ls s3://bucket/recordings --json
    """
    given = place or recordings_place(context)
    found = _entries(given, store_endpoint)
    if since:
        earliest = read_since(since, datetime.now(UTC))
        found = [entry for entry in found if entry.began is not None and entry.began >= earliest]
    if status:
        _check_statuses(status)
        found = [entry for entry in found if entry.status in status]
    _show(context, given, found[:limit], len(found), as_json=as_json, is_filtered=bool(since or status))


def _entries(given: str, endpoint: str | None) -> "list[Entry]":
    from rtms_cli.catalog.entries import entry_of, newest_first, recordings_in
    from rtms_cli.store.urls import is_store_url

    if is_store_url(given):
        from rtms_cli.catalog.stored import stored_entries

        return newest_first(stored_entries(given, endpoint))
    return newest_first(entry_of(folder) for folder in recordings_in(Path(given)))


def read_since(text: str, now: datetime) -> datetime:
    """Read `--since`: a date, a time, or how long ago.

    :raises Problem: if it is not one of them.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - timedelta(seconds=duration("--since", text))
        except Problem:
            raise Problem(f"--since {text} is not a time.", "Give 7d, 12h, 2026-11-01 or 2026-11-01T09:00.") from None
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        return read if read.tzinfo is not None else read.astimezone()
    except (OverflowError, ValueError):  # at the edges of what a date can be, where zones make no difference
        return read.replace(tzinfo=UTC)


def _check_statuses(statuses: list[str]) -> None:
    from rtms_cli.catalog.entries import STATUSES

    for one in statuses:
        if one not in STATUSES:
            raise Problem(f"--status {one} is not a status of a recording.", f"Use {', '.join(STATUSES)}.")


def _show(
    context: typer.Context, given: str, entries: "list[Entry]", count: int, *, as_json: bool, is_filtered: bool
) -> None:
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.view.catalog import recording_line, recordings_table
    from rtms_cli.view.console import is_for_people, make_console
    from rtms_cli.view.next_steps import command_line, next_steps
    from rtms_cli.view.text import json_line, say, size_of

    if as_json:
        for entry in entries:
            typer.echo(json_line(entry))
        return
    if not is_for_people():
        for entry in entries:
            typer.echo(recording_line(entry))
        return
    console = make_console()
    if not entries:
        say(f"No {'such ' if is_filtered else ''}recordings in {given}.")
        step = ("rtms ls", "all of them") if is_filtered else ("rtms demo", "record a simulated meeting")
        next_steps(console, [step])
        return
    console.print(recordings_table(entries, console.width))
    more = f" (of {count:,})" if count > len(entries) else ""
    nbytes = sum(entry.nbytes for entry in entries)
    console.print(f"{len(entries):,} recording{'' if len(entries) == 1 else 's'}{more}, {size_of(nbytes)}", style="dim")
    first = short_name(context, entries[0].path)
    is_elsewhere = Path(given).absolute() != Path(recordings_place(context)).absolute()
    steps = [(command_line("rtms", "show", first), "what is in it")]
    if not is_store_url(given):
        where = ("--in", given) if is_elsewhere else ()
        steps.append((command_line("rtms", "search", "WORDS", *where), "who said it, and when"))
    if _is_old(entries[-1]) and not is_filtered:
        there = [given] if is_elsewhere else []
        steps[1:] = [(command_line("rtms", "prune", "--older-than", "30d", "--dry-run", *there), "which ones are old")]
    next_steps(console, steps)


_OLD = timedelta(days=30)


def _is_old(entry: "Entry") -> bool:
    return entry.began is not None and datetime.now(UTC) - entry.began > _OLD
