"""Targets that are other programs' WebSocket servers: we connect, describe the stream, and forward it.

Theory of operation. The connections use `websockets`. Its `send` waits while the peer reads nothing. The kernel holds
little unsent data (`TCP_NOTSENT_LOWAT`), so that data waits in the tap's own buffer, where the oldest is dropped first.
Data from a peer is read in small steps, with a limit of frames and bytes per second, and discarded. A flood stays in
the kernel and slows its sender down.
"""

import asyncio
import functools
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.frames import DATA_OPCODES, Close, Frame, Opcode
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from rtms_cli import __version__
from rtms_cli.errors import Problem, reason_of
from rtms_cli.live.framing import STOP, Framing, Twilio, read_mark
from rtms_cli.live.pieces import Beginning, Piece, TargetGoneError
from rtms_cli.protocol.secrets import REDACTED, Secrets
from rtms_cli.protocol.texts import cut
from rtms_cli.wire.dialer import tls_context
from rtms_cli.wire.hosts import is_loopback

TOKEN_VARIABLE = "RTMS_TAP_TOKEN"  # noqa: S105  # its name
"""The variable with the token for servers and clients of taps."""
OPEN_S = 10.0
"""How long connecting may take, including TLS and the upgrade."""
CLOSE_S = 10.0
"""How long a peer may take to read the rest and answer the closing handshake."""
PING_S, PONG_S = 20.0, 60.0
"""Interval of pings, and how long a peer may take to answer. It may stall for a while."""
STALL_S = 80.0
"""How long a peer may read nothing. Pings do not get through in that time either."""
MOST_HEARD = 1 << 20
"""Size limit of a peer's message in bytes. Bots send a few seconds of audio at most."""
_FAREWELL_S = 1.0
"""How long a peer that broke the protocol may take to read our close frame."""
_UNSENT = 1 << 16
"""Unsent bytes that the kernel may hold: two seconds of audio."""
_STEP = 1 << 10
"""Bytes read per iteration of the event loop: at most 500 frames, which take a few milliseconds."""
_FRAMES_PER_S, _BYTES_PER_S = 5_000, 8 << 20
"""Limits per second for data from peers."""
_AHEAD_S = 0.02
"""How much of that may arrive in a burst."""
_MOST_PONGS = 1_000
"""How many pings are answered while a peer does not read."""
_MOST_TEXT = 1 << 16
"""Size limit of a text that is parsed, in bytes."""
_MOST_MARKS = 1_000
"""How many marks may wait for an answer. The oldest excess marks are dropped."""
_LONGEST_REASON = 120
_TEMPORARY = (408, 425, 429)
"""HTTP errors that may be temporary."""
_FINAL_CODES = {
    1000: "the server does not want more",
    1003: "the server cannot read such messages",
    1008: "the server refuses by policy",
}
"""Close codes after which reconnecting is pointless."""

quiet = logging.getLogger(f"{__name__}.websockets")
"""The library's logger, disabled: it would log headers with the token, and tracebacks of disconnected peers."""
quiet.setLevel(logging.CRITICAL + 1)


class Unhurried(Connection):
    """A connection that withstands a flooding peer. Received data is not queued for `recv`."""

    on_text: Callable[[bytes], None] | None = None
    """Called with text messages that are not too long."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._unread = bytearray()
        self._reading: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.has_stalled = False
        self._free_at = 0.0
        """When reading may continue within the limit per second."""
        self._frames = self._pongs = 0
        self._text: bytearray | None = None
        """The fragmented text message being received."""
        if (given := transport.get_extra_info("socket")) is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with suppress(OSError):
                given.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._unread += data
        if self._reading is None:
            self._read()

    def _read(self) -> None:
        """Read received data up to the limit."""
        self._reading = None
        now = self.loop.time()
        while self._unread and self._free_at <= now + _AHEAD_S and not self._is_clogged():
            step = bytes(self._unread[:_STEP])
            del self._unread[:_STEP]
            self._frames = 0
            super().data_received(step)
            cost_s = self._frames / _FRAMES_PER_S + len(step) / _BYTES_PER_S
            self._free_at = max(self._free_at, now) + cost_s
        if self.protocol.parser_exc is not None and self._farewell is None:
            self._farewell = self.loop.call_later(_FAREWELL_S, self.transport.abort)
        if self.transport.is_closing():
            return
        if not self._unread:
            self.transport.resume_reading()
            return
        self.transport.pause_reading()
        if not self._is_clogged():
            self._reading = self.loop.call_at(self._free_at, self._read)

    def _is_clogged(self) -> bool:
        """Return whether the peer does not read the answers to its pings."""
        return self.paused and self._pongs >= _MOST_PONGS

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def _watch(self, nbytes: int) -> None:
        self._stall = self.loop.call_later(STALL_S, self._check, nbytes)

    def _check(self, before_nbytes: int) -> None:
        """Give up on a peer that has read nothing since the last check."""
        nbytes = self.transport.get_write_buffer_size()
        if nbytes < before_nbytes:
            self._watch(nbytes)
        else:
            self.has_stalled = True
            self.transport.abort()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
        self._pongs = 0
        if self._unread and self._reading is None:
            self._reading = self.loop.call_at(self._free_at, self._read)

    def process_event(self, event: object) -> None:
        """Handle what the library has read: an HTTP head or a frame."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            if isinstance(event, Frame):
                self._frames += 1
                self._pongs += event.opcode is Opcode.PING and self.paused
            super().process_event(event)  # type: ignore[arg-type]  # it takes every event of its own
            return
        self._frames += 1
        if self.on_text is not None:
            self._hear(event, self.on_text)

    def _hear(self, frame: Frame, on_text: Callable[[bytes], None]) -> None:
        if frame.opcode is not Opcode.CONT:
            self._text = bytearray() if frame.opcode is Opcode.TEXT else None
        if self._text is None:
            return
        self._text += frame.data
        if len(self._text) > _MOST_TEXT:
            self._text = None
        elif frame.fin:
            text, self._text = bytes(self._text), None
            on_text(text)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        for timer in (self._reading, self._farewell, self._stall):
            if timer is not None:
                timer.cancel()
        self._unread.clear()
        super().connection_lost(exc)


class _Dialed(Unhurried, ClientConnection):
    pass


class _Connect(connect):
    """Does not follow redirects, which would send the token to another host."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def check_url(url: str) -> str:
    """Return a target's URL for connecting, without `twilio+`.

    :raises Problem: if it is not valid.
    """
    dialed = url.removeprefix("twilio+")
    try:
        parts = urlsplit(dialed)
        is_good = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
        parse_uri(dialed)
    except (ValueError, InvalidURI):
        is_good = False
    if not is_good:
        raise Problem("A tap's target is not a WebSocket URL.", "Write it as ws://HOST:PORT/PATH or wss://HOST/PATH.")
    return dialed


def check_token(token: str | None) -> str | None:
    """Return a token that is valid in a header, or `None` for an empty one.

    :raises Problem: if it cannot.
    """
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise Problem(
            f"{TOKEN_VARIABLE} contains spaces or characters that are not allowed in a header.",
            "Use letters and digits, for example the output of `openssl rand -hex 24`.",
        )
    return token or None


class _Line:
    """One connection to a server, from connecting to its end."""

    def __init__(self, connection: _Dialed, hide: Callable[[str], str]) -> None:
        self.connection = connection
        self._hide = hide

    async def send(self, raw: bytes, *, text: bool = True) -> None:
        """Send a message, and wait while the peer reads nothing."""
        try:
            await self.connection.send(raw, text=text)
        except ConnectionClosed as closed:
            raise self._gone(closed) from None

    async def close(self, last: Iterable[bytes], *, hurry: bool) -> None:
        """Send the last messages and close. Give up on a peer that does not answer."""
        try:
            if not hurry:
                async with asyncio.timeout(CLOSE_S):
                    for raw in last:
                        await self.connection.send(raw, text=True)
                    await self.connection.close()
        except (TimeoutError, ConnectionClosed):
            pass  # its time is up
        finally:
            self.connection.transport.abort()
        await self.connection.wait_closed()

    def _gone(self, closed: ConnectionClosed) -> TargetGoneError:
        if closed.rcvd is not None and closed.rcvd_then_sent is not False:
            why = _FINAL_CODES.get(closed.rcvd.code, "the server closed the connection")
            final = closed.rcvd.code in _FINAL_CODES
            return TargetGoneError(f"{why} ({self._close_reason(closed.rcvd)})", final=final)
        if self.connection.has_stalled:
            return TargetGoneError(f"the server did not read for {STALL_S:.0f} s")
        if closed.sent is None or closed.sent.code == 1000:
            return TargetGoneError("the connection was lost")
        if closed.sent.code == 1011:
            return TargetGoneError(f"the server did not answer a ping for {PONG_S:.0f} s")
        return TargetGoneError(f"the server broke the protocol ({self._close_reason(closed.sent)})")

    def _close_reason(self, close: Close) -> str:
        reason = cut(self._hide(close.reason), _LONGEST_REASON)
        shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in reason)
        return f"{close.code} {shown}".strip()


class WebSocketTarget:
    """A WebSocket server that receives our messages (docs/live-websocket.md).

    :param url: `ws://` or `wss://`. A user and password in it are sent in a header.
    :param token: for the `Authorization` header, if the URL has no user.
    :param tls: for `wss://`; `None` uses the system's store.
    :raises Problem: if the URL or the token is invalid.
    """

    def __init__(self, url: str, token: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._url = check_url(url)
        self._token = check_token(token)
        self._tls = tls
        parts = urlsplit(self._url)
        self._host = parts.hostname or ""
        hidden = [self._token, parts.password, parts.query, *(value for _, value in parse_qsl(parts.query))]
        self._hidden = [secret for secret in hidden if secret and len(secret) > 3]
        self._secrets = Secrets(self._hidden)
        self._line: _Line | None = None
        self._framing: Framing | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        await self._dial()
        if self._framing is not None:  # it resumes: known users stay known
            beginning = structs.replace(beginning, participants=self._framing.participants)
        self._framing = Framing(beginning)
        await self._send(self._framing.start())

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        if self._framing is None:
            raise TargetGoneError("it is not open")
        nbytes = 0
        for piece in pieces:
            for message in self._framing.messages(piece, self._framing.beginning):
                await self._send(message.raw, text=message.is_text)
            nbytes += len(piece.data)
        return nbytes

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`."""
        await self._hang_up((STOP,), hurry=hurry)
        return None

    @property
    def unsent_nbytes(self) -> int:
        """Bytes in this process that the peer has not read yet."""
        return self._line.connection.transport.get_write_buffer_size() if self._line is not None else 0

    async def _send(self, raw: bytes, *, text: bool = True) -> None:
        if self._line is None:
            raise TargetGoneError("it is not open")
        await self._line.send(raw, text=text)

    async def _hang_up(self, last: Iterable[bytes], *, hurry: bool) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.close(last, hurry=hurry)

    async def _dial(self, on_text: Callable[[bytes], None] | None = None) -> None:
        await self._hang_up((), hurry=True)
        uri = parse_uri(self._url)
        proxy = None if is_loopback(self._host) else get_proxy(uri)
        if proxy is not None and "://" not in proxy:  # as curl reads it
            proxy = f"http://{proxy}"
        headers = {"Authorization": f"Bearer {self._token}"} if self._token and uri.username is None else {}

        def make_connection(*arguments: Any, **options: Any) -> _Dialed:
            opened = _Dialed(*arguments, **options)
            opened.on_text = on_text  # a bot may speak first
            return opened

        tls = (self._tls or await asyncio.to_thread(_system_tls)) if uri.secure else None
        dialing = _Connect(
            self._url,
            additional_headers=headers,
            user_agent_header=f"rtms-cli/{__version__}",
            compression=None,
            proxy=proxy,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            max_size=MOST_HEARD,
            logger=quiet,
            create_connection=cast("type[_Dialed]", make_connection),
            ssl=tls,
        )
        try:
            connection = await dialing
        except (InvalidURI, InvalidHandshake, InvalidProxy, ProxyError, OSError, EOFError, UnicodeError) as error:
            why, final = _why(error)
            raise TargetGoneError(why, final=final) from None
        assert isinstance(connection, _Dialed)
        self._line = _Line(connection, self._hide)

    def _hide(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, REDACTED)
        return self._secrets.hide_text(text)


class TwilioTarget(WebSocketTarget):
    """A WebSocket server that receives Twilio Media Streams messages, which most voice bots read.

    It receives one participant's audio or the mixed audio. A bot's marks are returned at once, because its audio is not
    played. Anything else that it sends is counted and discarded.
    """

    def __init__(self, url: str, token: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(url, token, tls)
        self.heard = 0
        """Number of messages from the bot."""
        self._twilio: Twilio | None = None
        self._marks: deque[str] = deque(maxlen=_MOST_MARKS)
        self._answering: asyncio.Task[None] | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        try:
            twilio = Twilio(beginning)
        except ValueError as error:
            raise TargetGoneError(str(error), final=True) from None
        self._twilio = None  # a mark must wait until both messages are sent
        await self._dial(self._hear)
        await self._send(twilio.connected())
        await self._send(twilio.start())
        self._twilio = twilio
        self._answer()

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        if self._twilio is None:
            raise TargetGoneError("it is not open")
        nbytes = 0
        for piece in pieces:
            self._twilio.take(piece)
            while (media := self._twilio.media()) is not None:
                await self._send(media)
            nbytes += len(piece.data)
        return nbytes

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`."""
        twilio, self._twilio = self._twilio, None
        await self._hang_up(_last(twilio) if twilio is not None else (), hurry=hurry)
        return None

    async def _hang_up(self, last: Iterable[bytes], *, hurry: bool) -> None:
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.cancel()
            await asyncio.wait((answering,))
        self._marks.clear()
        await super()._hang_up(last, hurry=hurry)

    def _hear(self, raw: bytes) -> None:
        self.heard += 1
        if (name := read_mark(raw)) is not None:
            self._marks.append(name)
            self._answer()

    def _answer(self) -> None:
        if self._marks and self._twilio is not None and self._answering is None:
            self._answering = asyncio.create_task(self._answer_marks(self._twilio))

    async def _answer_marks(self, twilio: Twilio) -> None:
        try:
            while self._marks:
                await self._send(twilio.mark(self._marks.popleft()))
        except TargetGoneError:
            pass  # the next send reports it
        finally:
            if self._answering is asyncio.current_task():
                self._answering = None


def _last(twilio: Twilio) -> Iterable[bytes]:
    """Yield the last messages: the rest of the audio and `stop`. Each is numbered when it is sent."""
    while (media := twilio.media(rest=True)) is not None:
        yield media
    yield twilio.stop()


@functools.cache
def _system_tls() -> ssl.SSLContext:
    return tls_context()


def _why(error: Exception) -> tuple[str, bool]:
    """Return why a server could not be reached, and whether retrying is pointless."""
    match error:
        case InvalidStatus():
            status = error.response.status_code
            return f"it answered HTTP {status}", 300 <= status < 500 and status not in _TEMPORARY
        case InvalidProxyStatus():
            status = error.response.status_code
            return f"the proxy from the environment answered HTTP {status}", status in (401, 403, 407)
        case InvalidProxy():
            return "the proxy from the environment is not valid", True
        case ProxyError():
            return "the proxy could not be used", False
        case InvalidHandshake():
            return "it does not answer as a WebSocket server", False
        case InvalidURI() | UnicodeError():
            return "it is not a WebSocket URL", True
        case ssl.SSLCertVerificationError():
            return reason_of(error), True
        case TimeoutError():
            return f"no answer within {OPEN_S:.0f} s", False
        case ConnectionError() if not error.errno:
            return "the connection was lost", False
        case OSError() if error.errno:
            return reason_of(error), False
        case _:
            return "it could not be reached", False
