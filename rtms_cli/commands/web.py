"""`rtms web`: what runs and what was recorded, in a browser."""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.options import RecordingsPlace, StoreEndpoint, WebControl, WebName, recordings_place
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtms_cli.web.site import Door, Site


def web(
    context: typer.Context,
    place: RecordingsPlace = None,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="URL|PID",
            help="Show this running recorder: another machine's page, or a process here.",
            show_default="the newest one here",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            "-p",
            metavar="PORT",
            help="Port to listen on.",
            min=0,
            max=65535,
            show_default="8081, or the next",
        ),
    ] = None,
    web_name: WebName = None,
    web_control: WebControl = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the pages in a browser.")] = False,
    store_endpoint: StoreEndpoint = None,
) -> None:
    """Show what runs and what was recorded, in a browser.

    Serves the recordings of a folder or a store: a list, search over transcripts and chat, and a page each. Where a
    recorder runs, the live pages show it. Only this machine can connect; on another address, a token is needed.

    \b
    Examples:
      rtms web
      rtms web s3://bucket/recordings
      rtms web --of http://recorder.example:8081
    """
    import webbrowser

    from rtms_cli.feed.following import TOKEN_VARIABLE
    from rtms_cli.station.credentials import find_secret
    from rtms_cli.station.running import run_loop
    from rtms_cli.web.site import Site, door_of, listen_for_pages, own_names

    given = place or recordings_place(context)
    listening = listen_for_pages(host, port, "--port")
    own = find_secret(TOKEN_VARIABLE) if of is None or "://" not in of else None
    door = door_of(host, listening, own, web_name or ())
    site = Site(
        given,
        feed=of,
        endpoint=store_endpoint,
        control=web_control,
        token=door.token,
        names=[*own_names(host), *(web_name or ())],
    )
    _check(site, is_asked_for=place is not None)
    with ExitStack() as stack:
        if open_:
            webbrowser.open(door.url if door.token is None else stack.enter_context(_way_in(door)))
        run_loop(_serve(site, listening, door))


@contextmanager
def _way_in(door: "Door") -> "Iterator[str]":
    """The URL of a private file that leads a browser in: other users can read the arguments of its process."""
    import html
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="rtms-") as folder:
        page = Path(folder) / "open.html"
        url = html.escape(f"{door.url}?token={door.token}")
        page.write_text(f'<!doctype html><title>rtms</title><meta http-equiv="refresh" content="0; url={url}">\n')
        yield page.as_uri()


def _check(site: "Site", *, is_asked_for: bool) -> None:
    """Say at once what cannot be shown.

    :param is_asked_for: whether someone named the folder, and it is not only the usual one.
    :raises Problem: if the folder is not there, unless a recorder is, which may make the usual one.
    """
    from pathlib import Path

    from rtms_cli.store.urls import is_store_url

    find = site.find()
    assert site.place is not None
    is_missing = not is_store_url(site.place) and not Path(site.place).is_dir()
    if is_missing and is_asked_for:
        raise Problem(f"There is no folder {site.place}.", "Leave it out to see recordings/ and what runs.")
    if is_missing and site.feed is None and find() is None:
        what = f"There is no folder {site.place}, and no recorder of yours runs here."
        raise Problem(what, "`rtms demo` records a simulated meeting into recordings/.")
    if site.feed is not None and site.feed.isdecimal() and find() is None:
        raise Problem(f"No recorder of yours has the process number {site.feed}.", "`rtms web` finds the newest one.")


async def _serve(site: "Site", listening: "socket", door: "Door") -> None:
    import asyncio
    import signal

    from rtms_cli.view.text import say
    from rtms_cli.web.site import serve_site

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    say(f"The pages are on {door.shown}")
    if door.is_new:
        say("The token in it is shown only once. The first visit keeps it in a cookie.")
    say("Ctrl-C ends them.")
    await serve_site(site, listening, stop)


if TYPE_CHECKING:
    from socket import socket
