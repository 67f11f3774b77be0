"""A client of a feed: connects, comes back with what it has, and tells how that goes."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI

from rtms_cli.errors import Exit, Problem, reason_of
from rtms_cli.feed.messages import VERSION, FromClient, FromServer, Hello, read_server, write
from rtms_cli.feed.source import SoundLostError
from rtms_cli.live.sockets import quiet
from rtms_cli.wire.hosts import is_loopback

TOKEN_VARIABLE = "RTMS_WEB_TOKEN"  # noqa: S105  # its name
"""The variable with the token of a page on another machine."""
OPEN_S = 10.0
FIRST_S, LONGEST_S = 0.2, 5.0
"""Between two attempts to come back."""
PING_S = 20.0
MOST_NBYTES = 64 << 20
"""Of a message: a picture of a thousand streams, with the details of a hundred, has room."""


class _Connect(connect):
    """Does not follow redirects, which would send the token to another host."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Address(Struct, frozen=True):
    """Where a feed is."""

    place: Path | None = None
    """A Unix socket; otherwise `url` counts."""
    url: str = "ws://localhost"
    """`ws://` or `wss://`, without a path."""
    token: str | None = None

    @property
    def shown(self) -> str:
        """For people."""
        return str(self.place) if self.place is not None else self.url.replace("ws", "http", 1)

    @asynccontextmanager
    async def connected(self, path: str) -> AsyncIterator[ClientConnection]:
        """A connection to a path there, for as long as it is entered.

        :raises Problem: if there is none; it is final unless its exit code is `INTERRUPTED`.
        """
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        more: dict[str, Any] = {
            "max_size": MOST_NBYTES,
            "open_timeout": OPEN_S,
            "ping_interval": PING_S,
            "logger": quiet,
            "compression": None,
        }
        try:
            if self.place is not None:
                connection = await unix_connect(str(self.place), f"ws://localhost{path}", **more)
            else:
                tls = ssl.create_default_context() if self.url.startswith("wss:") else None
                if is_loopback(urlsplit(self.url).hostname or ""):
                    more["proxy"] = None
                connection = await _Connect(self.url + path, ssl=tls, additional_headers=headers, **more)
        except InvalidStatus as error:
            raise _refused(self, error.response.status_code) from None
        except InvalidMessage:  # it may be about to end, or not be a server of pages at all
            what = f"{self.shown} does not answer as a page of rtms does."
            raise Problem(what, "Give the URL of a page.", Exit.INTERRUPTED) from None
        except (InvalidHandshake, InvalidURI) as error:
            raise Problem(f"{self.shown} is not a page of rtms: {error}.", "Give its URL.", Exit.REFUSED) from None
        except (OSError, TimeoutError) as error:
            raise Problem(
                f"Nothing answers at {self.shown}: {reason_of(error) if isinstance(error, OSError) else 'no answer'}.",
                "Start it there: rtms listen --web",
                Exit.INTERRUPTED,
            ) from None
        try:
            yield connection
        finally:
            await connection.close()


def _refused(address: Address, status: int) -> Problem:
    what = f"{address.shown} refused the connection with {status}."
    match status:
        case 401:
            return Problem(what, f"Set {TOKEN_VARIABLE} to the token that it printed when it began.", Exit.REFUSED)
        case 403:
            return Problem(what, "Use the name or address that it printed when it began.", Exit.REFUSED)
        case 404:
            return Problem(f"{address.shown} is not a page of rtms.", "Give its URL.", Exit.REFUSED)
        case 502 | 503 | 504:
            return Problem(what, "Try again later.", Exit.INTERRUPTED)
        case _:
            return Problem(what, "Give the URL that it printed when it began.", Exit.REFUSED)


def read_address(text: str) -> Address:
    """The address of a page, as a person writes it; a `?token=` in it is taken for the token.

    :raises Problem: if it is not one.
    """
    given = text if "://" in text else f"http://{text}"
    try:
        url = urlsplit(given)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if host is None or url.scheme not in schemes:
        raise Problem(f"{text!r} is not the URL of a page.", "Give one such as http://127.0.0.1:8081.")
    from rtms_cli.station.credentials import find_secret

    tokens = [value for name, value in parse_qsl(url.query) if name == "token"]
    token = tokens[-1] if tokens else find_secret(TOKEN_VARIABLE)
    if token is not None and not (token.isascii() and token.isprintable()):
        raise Problem("The token has characters that no token has.", f"Check {TOKEN_VARIABLE}.")
    return Address(None, urlunsplit((schemes[url.scheme], url.netloc.rpartition("@")[2], "", "", "")), token)


class Follower:
    """Follows a feed, and comes back when the connection is lost, for as long as `run` runs.

    :param find: where it is, now; `None` if nobody knows.
    :param take: gets each message.
    :param known: the run and the last number of an event that it has, to go on there.
    :param on_state: told when it is connected, with an empty text, and when it is not, with why.
    :param all_events: whether it gets all events of all streams.
    """

    def __init__(
        self,
        find: Callable[[], Address | None],
        take: Callable[[FromServer], None],
        known: Callable[[], tuple[str, int]],
        on_state: Callable[[str], None],
        *,
        all_events: bool = False,
    ) -> None:
        self._find, self._take, self._known, self._on_state = find, take, known, on_state
        self._all_events = all_events
        self._connection: ClientConnection | None = None
        self.address: Address | None = None
        """Where it is connected, or was last."""

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection."""
        return self._connection is not None

    async def say(self, message: FromClient) -> bool:
        """Send a message; returns whether there is a connection for it."""
        if self._connection is None:
            return False
        try:
            await self._connection.send(write(message).decode())
        except ConnectionClosed:
            return False
        return True

    async def run(self, *, is_patient: bool = True) -> None:
        """Follow until it is cancelled.

        :param is_patient: whether it tries again where it cannot connect at first.
        :raises Problem: if it is refused for good.
        """
        delay_s, has_been = FIRST_S, False
        while True:
            address = await asyncio.to_thread(self._find)
            try:
                if address is None:
                    raise Problem("No recorder runs here.", "Start one: rtms listen", Exit.INTERRUPTED)
                async with self._connected(address) as connection:
                    has_been, delay_s = True, FIRST_S
                    why = await self._follow(connection)
            except Problem as problem:
                if problem.exit_code is not Exit.INTERRUPTED or not (is_patient or has_been):
                    raise
                why = problem.what
            self._on_state(why)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_S)

    @asynccontextmanager
    async def _connected(self, address: Address) -> AsyncIterator[ClientConnection]:
        run, after = self._known()
        asked = {"run": run, "after": str(after)} if run else {}
        if self._all_events:
            asked["events"] = "all"
        self.address = address
        async with address.connected("/feed?" + urlencode(asked)) as connection:
            self._connection = connection
            try:
                yield connection
            finally:
                self._connection = None

    async def _follow(self, connection: ClientConnection) -> str:
        """Take messages until the connection is lost, and return why it was.

        :raises Problem: if the other side speaks another language.
        """
        while True:
            try:
                raw = await connection.recv()
            except ConnectionClosed as error:
                return str(
                    error.rcvd.reason if error.rcvd is not None and error.rcvd.reason else "the connection was closed"
                )
            try:
                message = read_server(raw)
            except (msgspec.ValidationError, UnicodeDecodeError):
                continue  # a type of message that a later version may have
            except msgspec.MsgspecError:
                what = f"{self.address.shown if self.address else 'It'} is not a page of rtms."
                raise Problem(what, "Give its URL.", Exit.REFUSED) from None
            if isinstance(message, Hello):
                if message.version > VERSION:
                    what = f"{self.address.shown if self.address else 'It'} runs rtms {message.rtms}, which is newer."
                    raise Problem(what, "Update this one.", Exit.REFUSED)
                self._on_state("")
            self._take(message)


async def heard_at(address: Address, stream_id: str) -> AsyncGenerator[bytes | str, None]:
    """The sound of a stream there, as messages of docs/live-websocket.md.

    :raises SoundLostError: when the connection is closed.
    :raises Problem: if there is none.
    """
    path = f"/streams/{quote(stream_id, safe='', errors='replace')}"
    async with address.connected(path) as connection:
        while True:
            yield await _heard(connection)


async def _heard(connection: ClientConnection) -> bytes | str:
    try:
        return await connection.recv()
    except ConnectionClosed as error:
        reason = "" if error.rcvd is None else error.rcvd.reason
        raise SoundLostError(reason or "the connection to the recorder was lost") from None
