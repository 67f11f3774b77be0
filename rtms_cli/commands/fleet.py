"""`rtms fleet`: which worker records what, according to the queue."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.options import WorkQueue
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from rtms_cli.fleet.dispatch import Dispatch, FleetReport, Happening
    from rtms_cli.inspection.sheets import Sheet

WATCH_S = 2.0
"""How often `--watch` looks."""


def fleet(
    queue: WorkQueue = None,
    stream: Annotated[
        str | None, typer.Option("--stream-id", metavar="ID", help="Show the history of this stream instead.")
    ] = None,
    retire: Annotated[
        str | None, typer.Option(metavar="WORKER", help="Make this worker hand over its streams and exit.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every 2 s until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; with --watch one a line.")] = False,
) -> None:
    """Show the workers of a queue and their streams.

    \b
    Example:
      rtms fleet --queue redis://queue.example.com --watch
    """
    import asyncio

    from rtms_cli.fleet.queues import open_dispatch

    if queue is None:
        raise Problem("No queue.", "Give --queue redis://HOST, or set RTMS_QUEUE.")
    if (stream is not None) + (retire is not None) + watch > 1:
        raise Problem("--stream-id, --retire and --watch exclude each other.", "Give one of them.")

    async def run() -> None:
        async with open_dispatch(queue) as dispatch:
            if retire is not None:
                await _drain(dispatch, retire, as_json=as_json)
            elif stream is not None:
                await _history(dispatch, stream, as_json=as_json)
            elif watch:
                await _watch(dispatch, as_json=as_json)
            else:
                _show(await dispatch.report(), as_json=as_json)

    asyncio.run(run())


async def _drain(dispatch: "Dispatch", worker: str, *, as_json: bool) -> None:
    from rtms_cli.view.text import json_line, say

    if not await dispatch.drain(worker):
        raise Problem(f"The queue has no worker {worker[:100]}.", "`rtms fleet` lists them.")
    if as_json:
        typer.echo(json_line({"worker": worker, "drain": True}))
    else:
        say(f"{worker} will hand over its streams and exit.")


async def _history(dispatch: "Dispatch", stream_id: str, *, as_json: bool) -> None:
    from rtms_cli.view.text import json_line

    happened = await dispatch.history(stream_id)
    if not happened:
        raise Problem(f"The queue has no stream {stream_id[:100]}.", "It forgets a stream a day after its end.")
    if as_json:
        typer.echo(json_line({"stream_id": stream_id, "history": happened}))
    else:
        _print([_history_sheet(happened)])


def _show(report: "FleetReport", *, as_json: bool) -> None:
    from rtms_cli.view.text import json_line

    if as_json:
        typer.echo(json_line(report))
    else:
        _print(_sheets(report))


async def _watch(dispatch: "Dispatch", *, as_json: bool) -> None:
    """Show the fleet again and again; a queue that is away is waited for."""
    from rtms_cli.commands.options import is_terminal
    from rtms_cli.view.text import json_line

    if as_json or not is_terminal():

        def show(report: "FleetReport") -> None:
            _show(report, as_json=as_json)

        def miss(error: Problem) -> None:
            typer.echo(json_line({"error": str(error)}) if as_json else str(error), err=not as_json)

        await _look(dispatch.report, show, miss)
        return
    from rich.live import Live
    from rich.text import Text

    from rtms_cli.view.console import make_console
    from rtms_cli.view.inspect import rich_sheets
    from rtms_cli.view.text import escape

    with Live(console=make_console(), auto_refresh=False, vertical_overflow="ellipsis") as live:
        await _look(
            dispatch.report,
            lambda report: live.update(rich_sheets(_sheets(report)), refresh=True),
            lambda error: live.update(Text(escape(str(error)), style="yellow"), refresh=True),
        )


async def _look(
    ask: "Callable[[], Awaitable[FleetReport]]",
    show: "Callable[[FleetReport], None]",
    miss: Callable[[Problem], None],
) -> None:
    import asyncio

    from rtms_cli.fleet.dispatch import DispatchError

    while True:
        try:
            report = await ask()
        except DispatchError as error:
            miss(error)
        else:
            show(report)
        await asyncio.sleep(WATCH_S)


def _print(sheets: "Sequence[Sheet]") -> None:
    from rtms_cli.view.console import is_for_people, make_console
    from rtms_cli.view.inspect import plain_sheets, rich_sheets

    if is_for_people():
        console = make_console()
        console.print(rich_sheets(sheets, console.width))
    else:
        for line in plain_sheets(sheets):
            typer.echo(line)


def _sheets(report: "FleetReport") -> "list[Sheet]":
    """The fleet as tables."""
    from rtms_cli.inspection.sheets import Column, Sheet

    facts = Sheet(
        "fleet",
        (Column("waiting", "count"), Column("free slots", "count")),
        [(report.waiting, report.slots_free)],
    )
    workers = Sheet(
        "workers",
        (
            Column("worker"),
            Column("state"),
            Column("streams", "count"),
            Column("slots", "count"),
            Column("free", "count"),
            Column("late ms", "ms"),
            Column("heard of", "span"),
            Column("version"),
            Column("since"),
        ),
        [
            (
                one.status.worker,
                "draining" if one.drain else one.status.state,
                one.streams,
                one.status.slots,
                one.status.free,
                one.status.load * 1000,
                one.silent_ms / 1000,
                one.status.version,
                one.status.since,
            )
            for one in report.workers
        ],
    )
    streams = Sheet(
        "streams",
        (
            Column("stream"),
            Column("state"),
            Column("owner"),
            Column("epoch", "count"),
            Column("age", "seconds"),
            Column("heard of", "span"),
            Column("recording"),
        ),
        [
            (
                one.stream_id,
                one.state,
                one.owner,
                one.epoch,
                one.age_ms / 1000,
                one.silent_ms / 1000,
                one.recording,
            )
            for one in report.streams
        ],
    )
    return [sheet for sheet in (facts, workers, streams) if sheet.rows]


def _history_sheet(happened: "Sequence[Happening]") -> "Sheet":
    from rtms_cli.inspection.sheets import Column, Sheet

    columns = (Column("at"), Column("what"), Column("epoch", "count"), Column("who"), Column("text"))
    return Sheet("", columns, [(one.at, one.what, one.epoch, one.who, one.text) for one in happened])
