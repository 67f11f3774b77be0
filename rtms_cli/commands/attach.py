"""`rtms attach`: the dashboard of a recorder that runs elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtms_cli.commands.options import Plain, ShowText, is_terminal
from rtms_cli.errors import Exit, Problem, reason_of

if TYPE_CHECKING:
    from asyncio import Task

    from rtms_cli.feed.attaching import Attached
    from rtms_cli.feed.following import Address
    from rtms_cli.feed.messages import FromServer

GREET_S = 15.0
"""How long a recorder may take to send its first picture."""


def attach(
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="The page of a recorder elsewhere.", show_default="a recorder here"),
    ] = None,
    pid: Annotated[
        int | None, typer.Option(metavar="N", help="Attach to this process, if several record here.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the page's token, which only you may read.")
    ] = None,
    plain: Plain = False,
    show_text: ShowText = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the feed's messages, one per line.")] = False,
) -> None:
    """Show the dashboard of a recorder that runs in another terminal.

    The q key detaches, and the recorder continues. With the URL of `rtms web` or `rtms listen --web`, it shows a
    recorder on another machine. Where the page asks for a token, set RTMS_WEB_TOKEN or use --token-file.

    \b
    Examples:
      rtms attach
      rtms attach http://recorder.example:8081
    """
    from rtms_cli.station.running import run_loop

    if as_json and (plain or show_text):
        raise Problem("--json excludes --plain and --show-text.", "Use one of them.")
    if url is not None and pid is not None:
        raise Problem("A URL and --pid exclude each other.", "Use one of them.")
    if url is None and token_file is not None:
        raise Problem("--token-file is for a URL: a recorder here needs no token.", "Leave it out.")
    find = _local(pid) if url is None else _remote(url, token_file)
    is_drawn = not (as_json or plain or show_text) and is_terminal()
    run_loop(_show(find, as_json=as_json, show_text=show_text, is_drawn=is_drawn))


def _local(pid: int | None) -> "Callable[[], Address | None]":
    """What finds a recorder of this user on this machine.

    :raises Problem: if there is none, or several.
    """
    from rtms_cli.feed.following import Address
    from rtms_cli.feed.places import feeds

    found = dict(feeds())
    if pid is None and len(found) > 1:
        named = ", ".join(str(one) for one in found)
        raise Problem(f"{len(found)} recorders run here: the processes {named}.", "Choose one: rtms attach --pid N")
    if not found:
        raise Problem("No recorder of yours runs here.", "Start one: rtms listen. Or try it: rtms demo", Exit.REFUSED)
    chosen = next(iter(found)) if pid is None else pid
    if chosen not in found:
        named = ", ".join(str(one) for one in found)
        raise Problem(f"No recorder of yours has the process number {pid}.", f"There are: {named}.", Exit.REFUSED)
    return lambda: next((Address(place) for number, place in feeds() if number == chosen), None)


def _remote(url: str, token_file: Path | None) -> "Callable[[], Address | None]":
    """What finds the page of a recorder.

    :raises Problem: if it is not a URL, or the token cannot be read.
    """
    from msgspec import structs

    from rtms_cli.feed.following import TOKEN_VARIABLE, read_address
    from rtms_cli.view.text import say

    address = read_address(url)
    if token_file is not None:
        address = structs.replace(address, token=_read_token(token_file))
    elif "token=" in url:
        say(
            f"warning: other users of this machine can see the token in the URL. Set {TOKEN_VARIABLE} instead.",
            err=True,
        )
    return lambda: address


def _read_token(file: Path) -> str:
    """Read a token.

    :raises Problem: if others may read the file too, or it holds no token.
    """
    try:
        if file.stat().st_mode & 0o077:
            raise Problem(f"Other users may read {file}.", f"Keep the token to yourself: chmod 600 {file}")
        with file.open() as opened:
            token = opened.read(4_096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"Cannot read {file}: {reason_of(error)}.") from None
    if not token or not (token.isascii() and token.isprintable()) or " " in token:
        raise Problem(f"{file} does not hold a token.", "Write the token into it, and nothing else.")
    return token


async def _show(find: "Callable[[], Address | None]", *, as_json: bool, show_text: bool, is_drawn: bool) -> None:
    """Follow a recorder until it ends or someone detaches.

    :raises Problem: if it cannot be reached, or refuses.
    """
    import asyncio

    from rtms_cli.feed.attaching import Attached

    attached = Attached(find, "*" if as_json or show_text else "")
    stop = asyncio.Event()
    run = _drawn if is_drawn else _json if as_json else _plain
    following = asyncio.create_task(attached.follow(), name="attach")
    stopping = asyncio.create_task(stop.wait(), name="detach")
    try:
        await run(attached, following, stopping, stop.set)
        if following.done():
            await following
    except Problem as problem:
        if problem.exit_code is not Exit.INTERRUPTED:
            raise
        raise Problem(problem.what, problem.remedy, Exit.REFUSED) from None
    finally:
        following.cancel()
        stopping.cancel()
        await asyncio.gather(following, stopping, return_exceptions=True)
    if not as_json:
        _say_how_it_ended(attached, with_streams=is_drawn)


async def _until(attached: "Attached", *tasks: "Task[Any]", is_greeting: bool = False) -> None:
    """Wait until one of the tasks is done, or the recorder has ended.

    :param is_greeting: whether the first picture is waited for.
    :raises Problem: if that does not come.
    """
    import asyncio

    ended = asyncio.create_task(attached.has_ended.wait(), name="attach: end")
    greeted = asyncio.create_task(attached.greeted.wait(), name="attach: first picture")
    awaited = {*tasks, ended, greeted} if is_greeting else {*tasks, ended}
    try:
        done, _ = await asyncio.wait(
            awaited, timeout=GREET_S if is_greeting else None, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        ended.cancel()
        greeted.cancel()
    if not done:
        raise Problem("What answers is not a recorder.", "Give the URL that `rtms web` printed.", Exit.REFUSED)


async def _drawn(
    attached: "Attached", following: "Task[Any]", stopping: "Task[Any]", stop: "Callable[[], None]"
) -> None:
    """Draw the dashboard."""
    from rtms_cli.feed.attaching import ForScreen
    from rtms_cli.station.running import on_signals
    from rtms_cli.view.screen import Elsewhere, Screen

    def end(stream_id: str | None) -> None:
        if stream_id is None:
            stop()
        else:
            attached.stop(stream_id)

    screen = Screen(
        lambda: attached.title,
        attached.views,
        end,
        attached.mark,
        Path(),
        connections=attached.connections,
        waiting=attached.hints,
        elsewhere=Elsewhere(attached.choose, attached.messages, attached.free, attached.why_not_end),
    )
    attached.on_message, attached.on_notice = ForScreen(screen).take, screen.on_notice
    on_signals(lambda name: stop(), screen.restore)
    await _until(attached, following, stopping, is_greeting=True)
    if following.done() or stopping.done() or attached.has_ended.is_set():
        return
    async with screen:
        await _until(attached, following, stopping)


async def _plain(
    attached: "Attached", following: "Task[Any]", stopping: "Task[Any]", stop: "Callable[[], None]"
) -> None:
    """Write a line for each event that comes from now on."""
    import sys

    from rtms_cli.feed.attaching import event_line
    from rtms_cli.feed.messages import Event, Hello
    from rtms_cli.station.running import on_signals
    from rtms_cli.view.console import has_color
    from rtms_cli.view.lines import colored
    from rtms_cli.view.output import LineOutput
    from rtms_cli.view.text import escape

    output, shown = LineOutput(sys.stdout), colored if has_color() else str

    def take(message: "FromServer") -> None:
        if isinstance(message, Hello) and not message.resumed:
            output.say(f"attached to {escape(message.title, 200)}")
        elif isinstance(message, Event) and message.event != "frame" and not attached.is_past(message):
            output.say(shown(event_line(message)))

    attached.on_message, attached.on_notice = take, output.say
    on_signals(lambda name: stop())
    try:
        await _until(attached, following, stopping, is_greeting=True)
        await _until(attached, following, stopping)
    finally:
        output.close()


async def _json(
    attached: "Attached", following: "Task[Any]", stopping: "Task[Any]", stop: "Callable[[], None]"
) -> None:
    """Write the feed's messages as they come."""
    import sys

    from rtms_cli.station.running import on_signals
    from rtms_cli.view.output import LineOutput
    from rtms_cli.view.text import json_line, say

    output = LineOutput(sys.stdout)
    attached.on_message = lambda message: output.say(json_line(message))
    attached.on_notice = lambda text: say(text, err=True)
    on_signals(lambda name: stop())
    try:
        await _until(attached, following, stopping, is_greeting=True)
        await _until(attached, following, stopping)
    finally:
        output.close()


def _say_how_it_ended(attached: "Attached", *, with_streams: bool) -> None:
    from rtms_cli.feed.attaching import event_line
    from rtms_cli.view.text import say

    if not attached.has_ended.is_set():
        say("Detached. The recorder continues.")
        return
    for event in attached.finished if with_streams else ():
        say(event_line(event))
    say("The recorder has ended.")
