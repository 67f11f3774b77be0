"""WebSockets for the driver: messages by callback, sending without waiting, closing in the background.

Two libraries implement it. `picows` is used for our client's sockets: it delivers a message in a tenth of the time that
`websockets` needs, and without waking a task. `websockets` is used for the simulator's sockets and as a reference: the
driver's tests run with both.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol

import picows
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State as ConnectionState

from rtms_cli.machine import BROKEN
from rtms_cli.protocol.strict_json import is_utf8

log = logging.getLogger(__name__)

MAX_MESSAGE = 32 << 20
"""Size limit of a message in bytes. The largest real ones (a 4K picture in base64) stay under 10 MiB."""

OUTBOX_BYTES = 16 << 20
"""Bytes that may wait to be sent before the machine's next tick is delayed. Pictures are large."""

CLOSE_TIMEOUT_S = 2.0
"""How long a closing handshake may take. The peer may be gone."""

MOST_UNREAD = 1 << 20
"""Unsent bytes after which a server counts as gone. A client sends a few kilobytes per hour."""

MOST_PONGS = 1 << 16
"""Unsent bytes above which pings are not answered. Answering the last one is enough (RFC 6455, 5.5.3)."""

MOST_EMPTY = 1_000
"""Limit of empty fragments in a message."""

AT_ONCE = 1 << 13
"""Bytes that were read behind a message for it to be handed over at once. A single read may have 100,000 tiny messages,
and what one costs beyond this module is a thousand times what it costs here."""

SLICE, SLICE_BYTES = 100, 1 << 18
"""Messages and bytes that are delivered together before others have their turn."""

WATCH_S = 1.0
"""How long a reset may stay unnoticed; see `ClientSocket._watch`."""

_TEXT, _BINARY, _CONTINUATION = picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION
"""Looked up once, not for each message."""

_NO_CODE = 1005
_TOO_BIG = 1009
_PROTOCOL_ERROR = 1002
_NOT_UTF8 = 1007

OnMessages = Callable[[list[bytes]], None]
"""Receives messages that arrived together, in order; at least one."""
OnClosed = Callable[[int, str], None]


class Socket(Protocol):
    """An open WebSocket."""

    def start(self, on_messages: OnMessages, on_closed: OnClosed) -> None:
        """Start delivering: every complete message, then once the close code and reason."""

    def send(self, raw: bytes, *, binary: bool) -> None:
        """Send a message, or queue it."""

    async def drain(self, limit: int) -> None:
        """Wait until at most `limit` messages and 16 MiB are queued, or the socket is closed."""

    @property
    def undelivered(self) -> int:
        """Return how many queued messages are lost because the peer has closed; 0 if they are not counted."""

    def pause(self) -> None:
        """Stop reading, so that TCP slows the sender down. Data that was already read is still delivered."""

    def resume(self) -> None:
        """Read on."""

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, close, and give up on a peer that does not answer.

        :param code: the close code. `BROKEN` ends the connection without a close frame.
        """

    def abort(self) -> None:
        """Close immediately."""


class ClientSocket(picows.WSListener):
    """A `Socket` that `picows` reads.

    Messages wait here until `start`. If many are read together, they are delivered a few at a time, and reading pauses.
    """

    __slots__ = (
        "_aborted",
        "_closed",
        "_empty",
        "_failure",
        "_fragments",
        "_is_echo",
        "_is_over",
        "_is_paused",
        "_is_text",
        "_on_closed",
        "_on_messages",
        "_ping",
        "_timer",
        "_transport",
        "_waiting",
        "_watching",
        "refusal",
    )

    def __init__(self) -> None:
        self._transport: picows.WSTransport | None = None
        self._on_messages: OnMessages | None = None
        self._on_closed: OnClosed | None = None
        self._waiting: deque[bytes] = deque()
        self._ping: bytes | None = None
        """Payload of the last unanswered ping. Answering that one is enough (RFC 6455, 5.5.3)."""
        self._fragments: bytearray | None = None
        """The fragmented message being received."""
        self._is_text = self._is_over = self._is_paused = False
        self._is_echo = False
        """Whether our close frame repeats the server's code."""
        self._empty = 0
        self._failure: tuple[int, str] | None = None
        self._closed: tuple[int, str] | None = None
        self._aborted = False
        self.refusal = ""
        """Why the server's answer to the upgrade is invalid."""
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None

    @property
    def has_opened(self) -> bool:
        """Whether the server has answered the upgrade. The connection may have been closed since."""
        return self._transport is not None

    def start(self, on_messages: OnMessages, on_closed: OnClosed) -> None:
        """See `Socket.start`."""
        self._on_messages, self._on_closed = on_messages, on_closed
        self._deliver()

    def _deliver(self) -> None:
        """Deliver some of the waiting messages, then yield to others, or resume reading."""
        raws: list[bytes] = []
        nbytes = 0
        while self._waiting and self._on_messages is not None and len(raws) < SLICE and nbytes < SLICE_BYTES:
            raw = self._waiting.popleft()
            nbytes += len(raw)
            raws.append(raw)
        if raws and self._on_messages is not None:
            self._on_messages(raws)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._read_or_not()
        self._tell_closed()

    def _tell_closed(self) -> None:
        """Report the end, and drop the callbacks, because the transport and this object refer to each other for a
        while."""
        if self._closed is not None and self._on_closed is not None and not self._waiting:
            on_closed, self._on_closed, self._on_messages = self._on_closed, None, None
            on_closed(*self._closed)

    def send(self, raw: bytes, *, binary: bool) -> None:
        """See `Socket.send`."""
        transport = self._sending()
        if transport is None or self._failure is not None:
            return
        if (waiting := transport.underlying_transport.get_write_buffer_size()) > MOST_UNREAD:
            self._failure = BROKEN, f"the server does not read: {waiting} bytes are waiting to be sent"
            self.abort()
            return
        transport.send(_BINARY if binary else _TEXT, raw)

    async def drain(self, limit: int) -> None:
        """See `Socket.drain`. A client's messages are small, and the transport has accepted them."""

    @property
    def undelivered(self) -> int:
        """See `Socket.undelivered`."""
        return 0

    def pause(self) -> None:
        """See `Socket.pause`."""
        self._is_paused = True
        self._read_or_not()

    def resume(self) -> None:
        """See `Socket.resume`."""
        self._is_paused = False
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._transport is None or self._closed is not None:
            return
        if self._is_paused or self._waiting:
            self._transport.underlying_transport.pause_reading()
        else:
            self._transport.underlying_transport.resume_reading()
            if self._transport.is_secure:
                asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        """Make TLS deliver the data that it has already read from the socket.

        aiofastnet should do that when reading resumes, but it checks the socket first and stops if there is nothing
        new. The end of a server's data would then wait for the next message.
        """
        transport = self._sending()
        read = getattr(transport and transport.underlying_transport, "_do_read", None)
        if read is None or self._is_paused or self._waiting:
            return
        try:
            read()
        except ssl.SSLError as error:
            log.debug("TLS has ended: %s", error)
            self._cut()

    def _sending(self) -> picows.WSTransport | None:
        """Return the transport if data can be sent."""
        transport = self._transport
        if transport is None or self._closed is not None or transport.underlying_transport.is_closing():
            return None
        return transport

    def close(self, code: int, reason: str) -> None:
        """See `Socket.close`."""
        transport = self._transport
        if transport is None or self._closed is not None or self._timer is not None:
            return
        if code == BROKEN:
            self.abort()
            return
        self.resume()
        transport.send_close(_close_code(code), reason.encode()[:123])
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._cut)

    def abort(self) -> None:
        """See `Socket.abort`. A socket that is still opening is closed as soon as it is open."""
        self._waiting.clear()
        self._cut()

    def _cut(self) -> None:
        self._aborted = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # Called by picows.

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        self._watching = asyncio.get_running_loop().call_later(WATCH_S, self._watch)
        headers = transport.response.headers
        for name, what in (("Sec-WebSocket-Extensions", "an extension"), ("Sec-WebSocket-Protocol", "a subprotocol")):
            if headers.get(name):
                self.refusal = f"answered with {what} that was not requested"
        if self.refusal:
            transport.send_close(_close_code(_PROTOCOL_ERROR), self.refusal.encode())
        if self.refusal or self._aborted:
            self.abort()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Handle a frame: a message, a fragment, or a close."""
        if self._is_over:
            return
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._fail(_PROTOCOL_ERROR, "a frame has reserved bits set, as if compressed, which was not negotiated")
        elif kind is _TEXT or kind is _BINARY or kind is _CONTINUATION:
            raw = frame.get_payload_as_bytes()
            if kind is _CONTINUATION or not frame.fin or self._fragments is not None:
                self._assemble(kind, raw, frame.fin, frame.tail_size)
            else:
                self._hand_over(raw, frame.tail_size, is_text=kind is _TEXT)
        elif kind is picows.WSMsgType.PING:
            if self._ping is None:
                asyncio.get_running_loop().call_soon(self._pong)
            self._ping = frame.get_payload_as_bytes()
        elif kind is picows.WSMsgType.CLOSE:
            self._is_over = True
            code = _number(frame.get_close_code())
            if frame.payload_size >= 2 and (code in _NEVER_SENT or not 1000 <= code < 5000):
                self._fail(_PROTOCOL_ERROR, f"the close code {code} must not be sent")
                return
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                self._is_echo = True
            transport.disconnect()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The connection is gone."""
        for timer in (self._timer, self._watching):
            if timer is not None:
                timer.cancel()
        handshake = transport.close_handshake
        received = handshake.recv if handshake else None
        sent = handshake.sent if handshake else None
        if self._failure is not None:
            self._closed = self._failure
        elif self._timer is None and not self._is_echo and sent is not None and _number(sent.code) in _FAULTS:
            self._closed = _number(sent.code), _protocol_error(sent.reason)  # picows has found it
        elif received is not None:
            self._closed = _number(received.code) or _NO_CODE, received.reason or ""
        else:
            self._closed = BROKEN, ""
        self._tell_closed()

    def _watch(self) -> None:
        """Make the loop check again whether there is something to read.

        uvloop stops watching a socket that was reset while bytes are waiting: it reads once, and would notice neither
        the other bytes nor the reset.
        """
        if self._transport is not None and not self._is_paused and not self._waiting:
            self._transport.underlying_transport.pause_reading()
            self._transport.underlying_transport.resume_reading()
        self._watching = asyncio.get_running_loop().call_later(WATCH_S, self._watch)

    def _pong(self) -> None:
        said, self._ping = self._ping, None
        transport = self._sending()
        if said is None or transport is None:
            return
        if transport.underlying_transport.get_write_buffer_size() <= MOST_PONGS:
            transport.send_pong(said)

    def _hand_over(self, raw: bytes, behind: int, *, is_text: bool) -> None:
        """Deliver a message, now or later.

        :param behind: number of bytes read after it.
        """
        if self._on_messages is not None and behind <= AT_ONCE and not self._waiting:
            self._on_messages([raw])
        else:
            self._waiting.append(raw)
            if len(self._waiting) == 1 and self._on_messages is not None:
                self._read_or_not()
                asyncio.get_running_loop().call_soon(self._deliver)
        if is_text and not (raw.isascii() or is_utf8(raw)):
            self._fail(_NOT_UTF8, "a text message is not UTF-8")

    def _assemble(self, kind: picows.WSMsgType, raw: bytes, is_last: bool, behind: int) -> None:
        if kind is _CONTINUATION:
            if self._fragments is None:
                return self._fail(_PROTOCOL_ERROR, "a fragment does not continue a message")
        elif self._fragments is not None:
            return self._fail(_PROTOCOL_ERROR, "a message begins inside a fragmented one")
        else:
            self._fragments, self._is_text, self._empty = bytearray(), kind is _TEXT, 0
        self._fragments += raw
        self._empty += not raw
        if len(self._fragments) > MAX_MESSAGE:
            self._fail(_TOO_BIG, f"a message is larger than {MAX_MESSAGE >> 20} MiB")
        elif self._empty > MOST_EMPTY:
            self._fail(_PROTOCOL_ERROR, f"a message has more than {MOST_EMPTY} empty fragments")
        elif is_last:
            whole, self._fragments = bytes(self._fragments), None
            self._hand_over(whole, behind, is_text=self._is_text)
        return None

    def _fail(self, code: int, rule: str) -> None:
        """Close a connection whose peer violates the protocol."""
        self._fragments = None
        if self._failure is not None or self._transport is None:
            return
        self._failure, self._is_over = (code, _protocol_error(rule)), True
        self._transport.send_close(_close_code(code), rule.encode()[:123])
        self._transport.disconnect()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._cut)


_NEVER_SENT = frozenset((1004, 1005, 1006, 1015))
"""RFC 6455, 7.4.1."""
_FAULTS = frozenset((_PROTOCOL_ERROR, _NOT_UTF8, _TOO_BIG))


def _protocol_error(rule: str | None) -> str:
    return f"protocol error: {(rule or '').partition(', opcode=')[0]}"


class TaskSocket:
    """A `Socket` on a `websockets` connection, client or server, with a reading and a writing task."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox: deque[tuple[bytes, bool]] = deque()
        self._outbox_bytes = 0
        self._has_work = asyncio.Event()
        self._has_sent = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._close_with: tuple[int, str] | None = None
        self._is_sending = False
        self._undelivered = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, on_messages: OnMessages, on_closed: OnClosed) -> None:
        """See `Socket.start`."""
        self._tasks = [
            asyncio.create_task(self._read(on_messages, on_closed), name="socket reader"),
            asyncio.create_task(self._write(), name="socket writer"),
        ]

    def send(self, raw: bytes, *, binary: bool) -> None:
        """See `Socket.send`."""
        self._outbox.append((raw, binary))
        self._outbox_bytes += len(raw)
        self._has_work.set()

    async def drain(self, limit: int) -> None:
        """See `Socket.drain`."""
        while len(self._outbox) > limit or self._outbox_bytes > OUTBOX_BYTES:
            self._has_sent.clear()
            await self._has_sent.wait()

    def pause(self) -> None:
        """See `Socket.pause`."""
        self._may_read.clear()

    def resume(self) -> None:
        """See `Socket.resume`."""
        self._may_read.set()

    def close(self, code: int, reason: str) -> None:
        """See `Socket.close`."""
        self._close_with = self._close_with or (code, reason)
        self.resume()
        self._has_work.set()
        if code == BROKEN:
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)  # for a peer that does not read

    def abort(self) -> None:
        """See `Socket.abort`."""
        self._connection.transport.abort()

    @property
    def undelivered(self) -> int:
        """See `Socket.undelivered`."""
        if self._connection.state is ConnectionState.OPEN:
            return 0
        return self._undelivered + len(self._outbox) + self._is_sending

    async def wait_closed(self) -> None:
        """Wait until it is closed and everything was delivered."""
        await asyncio.wait(self._tasks)

    async def _read(self, on_messages: OnMessages, on_closed: OnClosed) -> None:
        try:
            while True:
                await self._may_read.wait()
                on_messages([await self._connection.recv(decode=False)])
        except ConnectionClosed:
            self._undelivered += len(self._outbox)
            self._outbox.clear()
            self._outbox_bytes = 0
            self._has_sent.set()
            self._tasks[1].cancel()
        code = self._connection.close_code
        on_closed(BROKEN if code is None else code, self._connection.close_reason or "")

    async def _write(self) -> None:
        try:
            while self._close_with is None or self._outbox:
                await self._has_work.wait()
                self._has_work.clear()
                while self._outbox:
                    raw, binary = self._outbox.popleft()
                    self._outbox_bytes -= len(raw)
                    self._is_sending = True
                    await self._connection.send(raw, text=not binary)
                    self._is_sending = False
                    self._has_sent.set()
            if self._close_with[0] == BROKEN:
                self._connection.transport.close()  # which sends the remaining data
                return
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.close(*self._close_with)
        except TimeoutError:
            self.abort()
        except ConnectionClosed:
            log.debug("the peer left before everything was sent")


def _number(code: picows.WSCloseCode | int) -> int:
    """Return a close code as a number. The library returns known codes as an enum."""
    return int(code.value) if isinstance(code, picows.WSCloseCode) else code


def _close_code(code: int) -> picows.WSCloseCode:
    try:
        return picows.WSCloseCode(code)
    except ValueError:
        return picows.WSCloseCode.OK
