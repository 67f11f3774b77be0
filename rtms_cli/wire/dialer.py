"""Opens client sockets: resolves, checks where the address leads, connects, and says in one line why it did not work.

No redirects are followed: they would lead past the check of the address. No compression is offered: it spends CPU to
win back a quarter of base64, and opens the door to bombs. No pings are sent: they would be a second, invisible
keep-alive that can close a socket for a reason no capture would show.

Where the environment names a proxy, it is used, but to this machine itself. It resolves names, so only those can be
checked then.
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
"""Bytes of memory that a connection begins with: four audio packets. It grows as messages need it, and there are two
connections for each of hundreds of streams."""
_REFUSED_BY_PROXY = (401, 403, 407)
"""What a proxy answers that will answer the same the next time."""
_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})\b")
_SWITCHING_PROTOCOLS = 101


_MOST_ASKED = 1_000
_NO_CERTIFICATE = "the server demands a client certificate, and rtms has none: a proxy or a firewall may stand between"
_HANDSHAKE, _CERTIFICATE_REQUEST = 22, 13
"""Of TLS: a kind of record, and a message in one."""
_ALERTS = {
    "CERTIFICATE_REQUIRED": _NO_CERTIFICATE,
    "BAD_CERTIFICATE": _NO_CERTIFICATE,
    "HANDSHAKE_FAILURE": "the server rejects the TLS handshake: it may demand a client certificate, and rtms has none",
    "PROTOCOL_VERSION": "the server does not support TLS 1.2 or 1.3",
    "UNRECOGNIZED_NAME": "the server does not know the host's name",
    "ACCESS_DENIED": "the server denies access in TLS",
}
"""Alerts that every further try would end with."""


class UpgradeRefusedError(ConnectionError):
    """The server answered, but opened no WebSocket.

    :param status: of its answer; 0 if that was not HTTP.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _EndedError(ConnectionError):
    """The server ended the connection without a word."""


class Dialer:
    """Opens sockets for a `Driver`.

    :param policy: where we may connect to.
    :param tls: the context for `wss://`; `None` verifies against the system's store.
    """

    def __init__(self, policy: HostPolicy, tls: ssl.SSLContext | None = None) -> None:
        self._policy = policy
        self._tls = tls
        self._asked: dict[tuple[str, int], str | None] = {}
        """Why TLS ended, as far as servers told."""

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
        except (InvalidURI, picows.WSInvalidURL, UnicodeError):  # the last: of what cannot be a host's name
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
            if not opened.has_opened:  # picows returns anyway when the connection ends in the upgrade
                raise _EndedError("the connection ended before the server answered the WebSocket upgrade")
            if opened.refusal:
                raise ConnectionError(f"the server {opened.refusal}")
        except BaseException:
            # Cancelled, picows leaves the connection open: a silent one until its own time-out, one that is answered
            # after all for good. The socket is the transport's by now: shut down, it ends as if the server had closed.
            opened.abort()
            if reached is not None:
                with suppress(OSError):  # it is closed
                    reached.shutdown(socket.SHUT_RDWR)
            raise
        return opened

    async def _alert(self, url: str, error: Exception) -> str | None:
        """What a server says in TLS that ended a connection without a word otherwise, in words; `None` if nothing.

        The library of the fast path keeps the alert to itself. So it is asked for once more, by the standard
        library's, and each server is asked once.
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
        context = tls_context(verify=False)  # nothing is told to it
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
        """Connect to the first address of the host that answers, if all of them are allowed."""
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

    :raises OSError: if the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def proxy_named(url: str) -> str | None:
    """The proxy that the environment names for a `ws://` or `wss://` URL, without its password: `proxy:3128`.

    :raises FinalConnectionError: if it is not a proxy's URL.
    """
    proxy = _proxy_of(parse_uri(url))
    return None if proxy is None else _place_of(proxy)


def _proxy_of(target: WebSocketURI) -> str | None:
    proxy = None if is_loopback(target.host) else get_proxy(target)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"  # as curl reads it


def _place_of(proxy: str) -> str:
    """Where a proxy is, without the password that its URL may hold.

    :raises FinalConnectionError: if it is not a proxy's URL.
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
    """Keep reports that would only break the terminal off it; what they tell is how a connection ended.

    Where a connection ends in the TLS handshake, aiofastnet raises the error, and reports it to the loop as well: the
    class instead of an instance, on which the standard library's logging fails with a traceback of its own. A protocol
    error that picows finds is the result of a future, too, which nobody can reach.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        found = context.get("exception")
        if not isinstance(found, type | picows.WSProtocolError):
            loop.default_exception_handler(context)

    if loop.get_exception_handler() is None:
        loop.set_exception_handler(handle)


def _answer(error: picows.WSHandshakeError) -> str:
    """What a server did that answered the upgrade, but not as a WebSocket server; without a word of its own."""
    status_line, status = _STATUS_LINE.match(error.raw_header or b""), _status_of(error)
    if status_line is None:
        return "did not answer the WebSocket upgrade in HTTP"
    if status != _SWITCHING_PROTOCOLS:
        return f"answered HTTP {status} instead of opening a WebSocket"
    if isinstance(error, picows.WSInvalidHeaderError):
        return f"answered HTTP {status} with a wrong {error.name} header"
    if not status_line[0].startswith(b"HTTP/1.1"):
        return f"answered in {status_line[0][:8].decode()}, which has no WebSockets"
    return f"answered HTTP {status} with headers that cannot be read"


def _status_of(error: picows.WSHandshakeError) -> int:
    status_line = _STATUS_LINE.match(error.raw_header or b"")
    return 0 if status_line is None else int(status_line[1])


def _place(url: str) -> str:
    """The URL without what may be a secret in it."""
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
