"""Opens client sockets: resolves, checks where the address leads, connects, and says in one line why it did not work.

Four defaults of `websockets` lose data or mislead here and are switched off: its 1 MiB message limit, compression (it
spends CPU to win back a quarter of base64, and opens the door to bombs), its own pings (a second, invisible keep-alive
that can close a socket for a reason no capture would show), and following redirects (past the check of the address).
"""

import asyncio
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from rtms_cli import __version__
from rtms_cli.wire.hosts import HostPolicy

MAX_MESSAGE = 32 << 20
"""Bytes of one message; the largest real ones (a 4K picture in base64) stay under 10 MiB."""

OPEN_TIMEOUT_S = 10.0


class Dialer:
    """Opens sockets for a `Driver`.

    :param policy: where we may connect to.
    :param tls: the context for `wss://`; `None` verifies against the system's store.
    """

    def __init__(self, policy: HostPolicy, tls: ssl.SSLContext | None = None) -> None:
        self._policy = policy
        self._tls = tls

    async def __call__(self, url: str) -> ClientConnection:
        """Connect; see `Dial`."""
        try:
            if (problem := self._policy.check_name(url)) is not None:
                raise _NotAllowedError(problem)
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await self._open(url)
        except _NotAllowedError:
            raise
        except InvalidStatus as error:
            raise ConnectionError(
                f"{_place(url)} answered HTTP {error.response.status_code} instead of opening a WebSocket"
            ) from None
        except InvalidURI:
            raise ConnectionError(f"{url[:200]!r} is no WebSocket URL") from None
        except (TimeoutError, InvalidHandshake, OSError, EOFError, UnicodeError) as error:
            raise ConnectionError(f"cannot connect to {_place(url)}: {_why(error)}") from error

    async def _open(self, url: str) -> ClientConnection:
        target = parse_uri(url)
        proxy = get_proxy(target)
        if proxy is not None:
            return await self._open_at(url, None, proxy)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        for address in addresses:
            if (problem := self._policy.check_address(target.host, address)) is not None:
                raise _NotAllowedError(problem)
        for address in addresses[:-1]:
            try:
                return await self._open_at(url, address, None)
            except (ConnectionRefusedError, TimeoutError):
                continue  # the next address of the same host may answer
        return await self._open_at(url, addresses[-1], None)

    async def _open_at(self, url: str, address: str | None, proxy: str | None) -> ClientConnection:
        where: dict[str, Any] = {} if address is None else {"host": address}
        return await _Connect(
            url,
            proxy=proxy,
            ssl=self._context(url),
            max_size=MAX_MESSAGE,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            close_timeout=2.0,
            max_queue=(64, 16),
            user_agent_header=f"rtms-cli/{__version__}",
            **where,
        )

    def _context(self, url: str) -> ssl.SSLContext | None:
        if not parse_uri(url).secure:
            return None
        if self._tls is None:
            self._tls = tls_context()
        return self._tls


def tls_context(ca_file: str | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """TLS 1.2 or newer, verified against the system's store or against one file.

    :raises OSError: where the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _NotAllowedError(ConnectionError):
    """The policy forbids it; its text is the whole line for people."""


class _Connect(connect):
    """`connect` that follows no redirects: they would lead past the check of the address."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _place(url: str) -> str:
    """The URL without what may be a secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _why(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {OPEN_TIMEOUT_S:.0f} s"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message}); --ca-file names another authority"
        case ssl.SSLError():
            return f"TLS failed ({error.reason})"
        case socket.gaierror():
            return "the host name is not known"
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return str(error) or type(error).__name__
