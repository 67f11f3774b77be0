"""`rtms search`: find what was said and written, in all recordings."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.options import recordings_place, short_name
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from rtms_cli.catalog.search import Hit, SearchIndex

_WORTH_A_BAR = 20
"""So many recordings are looked at before anyone wonders."""
_MOST_NAMED = 10
"""Names that an error lists."""


def search(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help='All in one line; "a phrase"; begin*.')],
    user: Annotated[str, typer.Option(metavar="USER", help="Only what this participant said or wrote.")] = "",
    around: Annotated[int, typer.Option("--context", "-C", metavar="N", help="Lines of context.", min=0, max=20)] = 1,
    limit: Annotated[int, typer.Option(metavar="N", help="At most N lines.", min=1, max=1_000)] = 50,
    place: Annotated[
        Path | None,
        typer.Option(
            "--in", metavar="FOLDER", help="Folder with recordings.", show_default="the folder of `rtms listen`"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Find words in all transcripts, chats and titles.

    An index beside the recordings makes it quick. It is a cache: you can delete .search.sqlite at any time, and it goes
    whenever a recording is deleted. Exit code 1 means that nothing was found.

    \b
    Examples:
      rtms search invoice
      rtms search '"next quarter"' budget --user Kim
    """
    import sqlite3

    from rtms_cli.catalog.entries import recordings_in
    from rtms_cli.catalog.search import SearchIndex, is_in
    from rtms_cli.recording.files import SEARCH_INDEX

    folder = _folder(context, place)
    recordings_in(folder)
    index = SearchIndex(folder)
    try:
        _update(index)
        text = " ".join(f'"{word}"' if " " in word and '"' not in word else word for word in words)
        hits = index.search(text, user=user, limit=limit, context=around)
        problems = index.problems
        speakers = index.speakers() if user and not hits else []
    except sqlite3.Error as error:
        what = f"The search index {folder / SEARCH_INDEX} cannot be used: {error}."
        raise Problem(what, "Delete it: the next search makes a new one.") from None
    finally:
        index.close()
    if speakers and not any(is_in(user, who) for who in speakers):
        more = f" and {len(speakers) - _MOST_NAMED:,} others" if len(speakers) > _MOST_NAMED else ""
        what = f"--user {user}: nobody of that name said or wrote anything."
        raise Problem(what, f"There are {', '.join(speakers[:_MOST_NAMED])}{more}.", Exit.MISMATCH)
    _show(context, hits, folder, text, as_json=as_json, is_cut=len(hits) == limit)
    if problems and not as_json:
        from rtms_cli.view.text import say

        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        say(f"warning: not searched: {problems[0]}{more}", err=True)
    if not hits:
        raise typer.Exit(Exit.MISMATCH)


def _folder(context: typer.Context, place: Path | None) -> Path:
    from rtms_cli.store.urls import is_store_url

    if place is not None:
        return place
    configured = recordings_place(context)
    if is_store_url(configured):
        raise Problem(f"Recordings are in {configured}, which cannot be searched.", "Give a folder: --in FOLDER")
    return Path(configured)


def _update(index: "SearchIndex") -> None:
    from rtms_cli.view.console import is_for_people, make_console

    if not is_for_people(sys.stderr):
        index.update()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("indexing"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=make_console(sys.stderr), transient=True) as drawn:
        task = drawn.add_task("indexing", total=None, visible=False)

        def update(done: int, total: int) -> None:
            drawn.update(task, completed=done, total=total, visible=total > _WORTH_A_BAR)

        index.update(update)


def _show(context: typer.Context, hits: "list[Hit]", folder: Path, words: str, *, as_json: bool, is_cut: bool) -> None:
    from rtms_cli.catalog.entries import recordings_in
    from rtms_cli.protocol.times import clock_time
    from rtms_cli.view.catalog import found_line, found_lines, short_names
    from rtms_cli.view.console import is_for_people, make_console
    from rtms_cli.view.next_steps import command_line, next_steps
    from rtms_cli.view.text import json_line, say

    if as_json:
        from msgspec import to_builtins

        for hit in hits:
            typer.echo(json_line({**to_builtins(hit), "link": link(folder / hit.recording, hit.at)}))
        return
    if not is_for_people():
        for hit in hits:
            typer.echo(found_line(hit))
        return
    console = make_console()
    if not hits:
        say(f"Nothing found for {words} in {folder}.")
        return
    short = short_names([path.name for path in recordings_in(folder)])
    for line in found_lines(hits, words, short, lambda hit: link(folder / hit.recording, hit.at)):
        console.print(line)
    if is_cut:
        console.print(f"the first {len(hits)}; --limit shows more", style="dim")
    first = hits[0]
    name = short_name(context, str(folder / first.recording))
    next_steps(console, [(command_line("rtms", "play", name, "--at", clock_time(first.at)), "hear the first one")])


def link(folder: Path, at: float) -> str | None:
    """Where a moment is in a recording's page; `None` while `rtms play` has not written one."""
    from rtms_cli.catalog.entries import PAGE

    page = folder.absolute() / PAGE
    return f"{page.as_uri()}#t={at:.1f}" if page.is_file() and not page.is_symlink() else None
