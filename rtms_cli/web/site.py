"""Everything that the pages are made of, put together: what runs, what was recorded, and who may see it."""

import asyncio
import secrets
import socket
from collections.abc import Callable, Collection
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.feed.following import TOKEN_VARIABLE, Address, read_address
from rtms_cli.feed.places import feeds
from rtms_cli.wire.hosts import in_url, is_loopback

PORT, LAST_PORT = 8081, 8090
"""Where the pages are, and where they may be if that is taken."""


class Site(Struct, frozen=True):
    """What the pages show, and to whom. It travels to the process that serves them as JSON."""

    place: str | None
    """The folder or URL of the recordings."""
    feed: str | None = None
    """Where the recorder is: a socket's path, a process's number, or a URL; `None` is the newest one here."""
    endpoint: str | None = None
    """Of a store that is compatible with S3."""
    control: bool = False
    token: str | None = None
    names: list[str] = []
    """Host names that the pages have, beside this machine's own."""

    def find(self) -> Callable[[], Address | None]:
        """What finds the recorder; it may wait for a disk.

        :raises Problem: if `feed` is not an address.
        """
        feed = self.feed
        if feed is None:
            return lambda: next((Address(path) for _, path in feeds()), None)
        if feed.isascii() and feed.isdecimal():
            return lambda: next((Address(path) for pid, path in feeds() if pid == int(feed)), None)
        address = Address(Path(feed)) if feed.startswith("/") else read_address(feed)
        return lambda: address


async def serve_site(site: Site, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve the pages on a listening socket until someone asks for the end.

    :raises Problem: if a part cannot be opened.
    """
    from rtms_cli.feed.mirror import Mirror
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.web.app import About, make_app
    from rtms_cli.web.serving import serve_pages
    from rtms_cli.web.shelf import Shelf

    is_store = site.place is not None and is_store_url(site.place)
    shelf = Shelf(site.place, site.endpoint, control=site.control) if site.place is not None else None
    about = About(site.place, is_store, site.place is not None, site.control)
    app = make_app(about, Mirror(site.find()), shelf.routes() if shelf is not None else (), site.token, site.names)
    try:
        await serve_pages(app, listening, stop)
    finally:
        if shelf is not None:
            await shelf.close()


def listen_for_pages(host: str, port: int | None, option: str) -> socket.socket:
    """A listening socket for the pages.

    :param port: 0 takes a free one; `None` the usual one, or one of those behind it.
    :param option: the option that sets the port, for an error.
    :raises Problem: if there is none.
    """
    from rtms_cli.wire.probes import listen_on

    if port is not None:
        return listen_on(host, port, option)
    for number in range(PORT, LAST_PORT):
        try:
            return listen_on(host, number, option)
        except Problem:
            continue
    return listen_on(host, LAST_PORT, option)


class Door(Struct, frozen=True):
    """The way to the pages for people."""

    url: str
    """Without the token."""
    token: str | None
    is_new: bool
    """Whether the token was made just now, so that nobody knows it yet."""

    @property
    def shown(self) -> str:
        """The URL that lets a person in, once."""
        return f"{self.url}?token={self.token}" if self.is_new else self.url


def door_of(host: str, listening: socket.socket, given: str | None, names: Collection[str] = ()) -> Door:
    """How people get in.

    :param given: the token that was set, if one was.
    :param names: the names of a proxy, which leads strangers to a loopback address, too.
    :raises Problem: if it cannot be one.
    """
    from rtms_cli.protocol.secrets import Secret

    port = listening.getsockname()[1]
    is_open = host in ("0.0.0.0", "::", "")  # noqa: S104
    url = f"http://{in_url(socket.gethostname() if is_open else host)}:{port}/"
    if given is not None:
        check_token(given)
        return Door(url, Secret(given), is_new=False)
    if is_loopback(host) and not names:
        return Door(url, None, is_new=False)
    return Door(url, Secret(secrets.token_urlsafe(24)), is_new=True)


LEAST_TOKEN = 16
"""Characters of a token."""


def check_token(token: str) -> None:
    """Check that a token fits into a cookie and a header.

    :raises Problem: if it does not.
    """
    is_plain = all(char.isascii() and (char.isalnum() or char in "-._~") for char in token)
    if len(token) < LEAST_TOKEN or not is_plain:
        what = f"{TOKEN_VARIABLE} is not a token: it has {LEAST_TOKEN} or more letters, digits and -._~."
        raise Problem(what, "`openssl rand -hex 24` makes one.")


def own_names(host: str) -> list[str]:
    """The names of this machine that the pages may be asked for by, where others can reach them."""
    return [] if is_loopback(host) else [host, socket.gethostname(), socket.getfqdn()]
