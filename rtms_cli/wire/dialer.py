"""Opens client sockets: resolves the name, checks the address, connects, and describes failures in one line.

It does not follow redirects, which would bypass the address check. It does not offer compression, which costs CPU for
little gain and permits decompression bombs. It sends no pings: they would be a second keep-alive that could close a
socket for a reason that no capture shows.

A proxy from the environment is used, except for connections to this machine. The proxy resolves names, so only names
can be checked in that case.
"""

import asyncio
import logging
import re
import socket
import ssl
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import picows
from python_socks import ProxyError
from websockets.exceptions import InvalidProxy, InvalidURI
from websockets.proxy import get_proxy, parse_proxy
from websockets.uri import WebSocketURI, parse_uri

from rtms_cli import __version__
from rtms_cli.errors import reason_of
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.wire.driver import FinalConnectionError
from rtms_cli.wire.hosts import HostPolicy, is_loopback
from rtms_cli.wire.sockets import CLOSE_TIMEOUT_S, MAX_MESSAGE, ClientSocket

logging.getLogger("picows.client").setLevel(logging.CRITICAL)  # we report how each connection ended
OPEN_TIMEOUT_S = 10.0
READ_BUFFER = 1 << 12
"""Initial buffer of a connection in bytes: four audio packets. It grows as needed. There are two connections for each
of hundreds of streams."""
_REFUSED_BY_PROXY = (401, 403, 407)
"""Permanent errors of a proxy."""
_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})\b")
_SWITCHING_PROTOCOLS = 101


_MOST_ASKED = 1_000
_NO_CERTIFICATE = (
    "the server requires a client certificate, and rtms has none: there may be a proxy or firewall in between"
)
_HANDSHAKE, _CERTIFICATE_REQUEST = 22, 13
"""TLS constants: a record type and a message type."""
_ALERTS = {
    "CERTIFICATE_REQUIRED": _NO_CERTIFICATE,
    "BAD_CERTIFICATE": _NO_CERTIFICATE,
    "HANDSHAKE_FAILURE": "the server refuses the TLS handshake: it may require a client certificate, and rtms has none",
    "PROTOCOL_VERSION": "the server supports neither TLS 1.2 nor TLS 1.3",
    "UNRECOGNIZED_NAME": "the server does not know the host's name",
    "ACCESS_DENIED": "the server denies access in TLS",
}
"""Alerts that every further attempt would repeat."""


class UpgradeRefusedError(ConnectionError):
    """The server answered, but did not open a WebSocket.

    :param status: HTTP status of its answer; 0 if it was not HTTP.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _EndedError(ConnectionError):
    """The server closed the connection without an explanation."""


class Dialer:
    """Opens sockets for a `Driver`.

    :param policy: the hosts that we may connect to.
    :param tls: the context for `wss://`; `None` uses the system's store.
    """

    def __init__(self, policy: HostPolicy, tls: ssl.SSLContext | None = None) -> None:
        self._policy = policy
        self._tls = tls
        self._asked: dict[tuple[str, int], str | None] = {}
        """Reasons for the end of TLS, as reported by servers."""

    async def __call__(self, url: str) -> ClientSocket:
        """Connect; see `Dial`."""
        via = ""
        try:
            if (problem := self._policy.check_name(url)) is not None:
                raise FinalConnectionError(problem)
            target = parse_uri(url)
            proxy = _proxy_of(target)
            if proxy is not None:
                via = f" through the proxy {_place_of(proxy)}"
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await self._open(url, target, proxy)
        except FinalConnectionError:
            raise
        except picows.WSHandshakeError as error:
            raise UpgradeRefusedError(f"{_place(url)} {_answer(error)}", _status_of(error)) from None
        except (InvalidURI, picows.WSInvalidURL, UnicodeError):  # the last one is for invalid host names
            raise FinalConnectionError(f"{redact_url(url)[:200]!r} is not a WebSocket URL") from None
        except ssl.SSLCertVerificationError as error:
            raise FinalConnectionError(f"cannot connect to {_place(url)}{via}: {_why(error)}") from error
        except ProxyError as error:
            is_final = any(f"status {code}" in str(error) for code in _REFUSED_BY_PROXY)
            kind = FinalConnectionError if is_final else ConnectionError
            raise kind(f"cannot connect to {_place(url)}{via}: {error}") from None
        except (TimeoutError, picows.WSError, OSError, EOFError) as error:
            alert = None if via else await self._alert(url, error)
            if alert is not None:
                raise FinalConnectionError(f"cannot connect to {_place(url)}: {alert}") from error
            raise ConnectionError(f"cannot connect to {_place(url)}{via}: {_why(error)}") from error

    async def _open(self, url: str, target: WebSocketURI, proxy: str | None) -> ClientSocket:
        reached: socket.socket | None = None

        async def reach(_: picows.WSParsedURL) -> socket.socket | None:
            nonlocal reached
            reached = None if proxy is not None else await self._reach(target)
            return reached

        opened = ClientSocket()
        _ignore_reports(asyncio.get_running_loop())
        try:
            await picows.ws_connect(
                lambda *_: opened,
                url,
                ssl_context=self._context() if target.secure else None,
                websocket_handshake_timeout=OPEN_TIMEOUT_S,
                enable_auto_pong=False,
                max_frame_size=MAX_MESSAGE,
                max_redirects=0,
                read_buffer_init_size=READ_BUFFER,
                extra_headers=[("User-Agent", f"rtms-cli/{__version__}")],
                proxy=proxy,
                socket_factory=reach,
                ssl_shutdown_timeout=CLOSE_TIMEOUT_S if target.secure else None,
            )
            if not opened.has_opened:  # picows also returns if the connection ends during the upgrade
                raise _EndedError("the connection ended before the server answered the WebSocket upgrade")
            if opened.refusal:
                raise ConnectionError(f"the server {opened.refusal}")
        except BaseException:
            # When cancelled, picows leaves the connection open: until its own time-out, or for good if it is answered.
            # The transport owns the socket by now. Shutting it down has the same effect as a close by the server.
            opened.abort()
            if reached is not None:
                with suppress(OSError):  # it is closed
                    reached.shutdown(socket.SHUT_RDWR)
            raise
        return opened

    async def _alert(self, url: str, error: Exception) -> str | None:
        """Return the TLS alert that ended a connection, in words, or `None`.

        The library of the fast path does not expose the alert. We therefore connect again with the standard library,
        once per server.
        """
        target = parse_uri(url)
        place = target.host, target.port
        if not target.secure or not isinstance(error, ConnectionResetError | ssl.SSLError | _EndedError):
            return None
        if place not in self._asked and len(self._asked) < _MOST_ASKED:
            self._asked[place] = await self._ask(target)
        return self._asked.get(place)

    async def _ask(self, target: WebSocketURI) -> str | None:
        wanted: set[int] = set()
        context = tls_context(verify=False)  # no data is sent to it
        context._msg_callback = lambda *said: wanted.add(said[4]) if said[3] == _HANDSHAKE else None  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                reached = await self._reach(target)
                reader, writer = await asyncio.open_connection(sock=reached, ssl=context, server_hostname=target.host)
                try:
                    writer.write(f"GET / HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n\r\n".encode())
                    if await reader.read(1):
                        return None
                finally:
                    writer.transport.abort()
        except ssl.SSLError as refused:
            if said := next((said for name, said in _ALERTS.items() if name in str(refused.reason)), None):
                return said
        except (OSError, TimeoutError, UnicodeError):
            pass
        return _NO_CERTIFICATE if _CERTIFICATE_REQUEST in wanted else None

    async def _reach(self, target: WebSocketURI) -> socket.socket:
        """Connect to the host's first address that answers, if all of them are allowed."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        for *_, address in found:
            if (problem := self._policy.check_address(target.host, str(address[0]))) is not None:
                raise FinalConnectionError(problem)
        failure: OSError = socket.gaierror("the host has no address")
        for family, kind, protocol, _, address in found:
            connecting = socket.socket(family, kind, protocol)
            try:
                connecting.setblocking(False)
                await loop.sock_connect(connecting, address)
            except OSError as error:
                connecting.close()
                failure = error
            except BaseException:
                connecting.close()
                raise
            else:
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connecting
        raise failure

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context()
        return self._tls


def tls_context(ca_file: str | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """TLS 1.2 or newer, verified against the system's store or against one file.

    :raises OSError: if the file cannot be read or contains no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def proxy_named(url: str) -> str | None:
    """Return the proxy from the environment for a `ws://` or `wss://` URL, without its password: `proxy:3128`.

    :raises FinalConnectionError: if the proxy's URL is invalid.
    """
    proxy = _proxy_of(parse_uri(url))
    return None if proxy is None else _place_of(proxy)


def _proxy_of(target: WebSocketURI) -> str | None:
    proxy = None if is_loopback(target.host) else get_proxy(target)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"  # as curl reads it


def _place_of(proxy: str) -> str:
    """Return a proxy's host and port, without the password in its URL.

    :raises FinalConnectionError: if the proxy's URL is invalid.
    """
    try:
        parsed = parse_proxy(proxy)
    except (InvalidProxy, ValueError) as error:
        why = error.msg if isinstance(error, InvalidProxy) else "it cannot be read"
        raise FinalConnectionError(
            f"the proxy in the environment (http_proxy, https_proxy, all_proxy) is not valid: {why}"
        ) from None
    return f"{parsed.host}:{parsed.port}"


def _ignore_reports(loop: asyncio.AbstractEventLoop) -> None:
    """Suppress error reports about ended connections, which would only clutter the terminal.

    If a connection ends during the TLS handshake, aiofastnet raises the error and also reports it to the loop, as a
    class instead of an instance, which makes the standard library's logging fail. A protocol error in picows is also
    the result of a future that nobody can access.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        found = context.get("exception")
        if not isinstance(found, type | picows.WSProtocolError):
            loop.default_exception_handler(context)

    if loop.get_exception_handler() is None:
        loop.set_exception_handler(handle)


def _answer(error: picows.WSHandshakeError) -> str:
    """Describe an invalid answer to the upgrade, without quoting the server's text."""
    status_line, status = _STATUS_LINE.match(error.raw_header or b""), _status_of(error)
    if status_line is None:
        return "did not answer the WebSocket upgrade in HTTP"
    if status != _SWITCHING_PROTOCOLS:
        return f"answered HTTP {status} instead of opening a WebSocket"
    if isinstance(error, picows.WSInvalidHeaderError):
        return f"answered HTTP {status} with a wrong {error.name} header"
    if not status_line[0].startswith(b"HTTP/1.1"):
        return f"answered in {status_line[0][:8].decode()}, which does not support WebSockets"
    return f"answered HTTP {status} with invalid headers"


def _status_of(error: picows.WSHandshakeError) -> int:
    status_line = _STATUS_LINE.match(error.raw_header or b"")
    return 0 if status_line is None else int(status_line[1])


def _place(url: str) -> str:
    """Return the URL without possible secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _why(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {OPEN_TIMEOUT_S:.0f} s"
        case ssl.SSLCertVerificationError():
            return f"{reason_of(error)}; --ca-file sets another CA"
        case _:
            return reason_of(error)
