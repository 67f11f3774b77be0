"""A small HTTP/1.1 server for immediate answers that clients cannot keep busy.

Theory of operation. h11 parses requests and formats answers. Nothing here waits. A connection has `request_s` for each
request, including its body, and for reading the answer. There are never more than `most` connections. A further one
replaces another: first one that was answered and is being closed, then a silent one, then one with an incomplete
request, and among these the oldest. But each connection has a moment (`GRACE_S`) to send something, while new ones wait
in the kernel. A client that sends its request at once is therefore answered, however many silent clients there are.
Sockets are closed immediately and not in the loop's next iteration, because descriptors are limited.

Many small requests or chunks on one connection are processed a few events at a time, so that other connections have
their turn.

An answer before the end of the body ends the connection. Remaining data is discarded for `LINGER_S`, because closing a
connection with unread bytes would lose the answer.

After a switch to another protocol (101), the socket is handed over and no longer counts.
"""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
from msgspec import Struct, structs

from rtms_cli.errors import log_defect

log = logging.getLogger(__name__)

MAX_HEADER = 1 << 14
"""Size limit of a request's first line and headers. Zoom's stay under 2 KiB."""
MAX_FIELDS = 100
LINGER_S = 2.0
BACKLOG = 1024
"""Connections that may wait to be accepted. A flood waits in the kernel and uses no descriptors."""
AT_A_TIME = 64
"""Connections accepted per iteration of the event loop."""
EVENTS_AT_A_TIME = 32
"""h11 events processed per connection and iteration of the event loop."""
_CHUNK = 1 << 14
"""Bytes read at once: h11 parses a complete header before its fields can be counted."""

Fields = Sequence[tuple[bytes, bytes]]


class Request(Struct, frozen=True):
    """A request. Its body is empty until it was read."""

    method: str
    target: str
    """Path and query as received: printable ASCII."""
    fields: Fields
    """Lower-case names, and values."""
    body: bytes = b""

    def field(self, name: bytes) -> str | None:
        """Return the first value of a header field."""
        return next((value.decode("latin-1") for key, value in self.fields if key == name), None)


class Answer(Struct, frozen=True):
    """An answer."""

    status: int
    body: bytes = b""
    media_type: str = "text/plain; charset=utf-8"
    fields: Fields = ()
    after: Callable[[], None] | None = None
    """Called when the answer has been sent."""
    take_over: Callable[[socket.socket, bytes, bytes], None] | None = None
    """For 101: called with the connection, the bytes still to be sent on it, and the bytes already received."""
    later: "Coroutine[Any, Any, Answer] | None" = None
    """If the answer has to wait: returns it. Must have its own time limit."""


class Handler(Struct, frozen=True):
    """Answers requests. Nothing in it may wait, except `Answer.later`."""

    admit: Callable[[Request], Answer | None]
    """Checks a request without its body. An answer rejects it."""
    answer: Callable[[Request], Answer]
    refuse: Callable[[int, str], Answer]
    """Creates the answer, from a status and a line, to an invalid, slow or too large request."""
    max_body: int


class _Rank(IntEnum):
    """The order in which connections are dropped."""

    ANSWERED = 0
    SILENT = 1
    BEGUN = 2


GRACE_S = {_Rank.ANSWERED: 0.0, _Rank.SILENT: 0.02, _Rank.BEGUN: 0.25}
"""Minimum lifetime of a connection. A client that sends at once has done so by then."""
PAUSE_S = 0.005
"""How long to stop accepting if no connection can be dropped."""


class HttpServer:
    """Answers on this event loop.

    :param request_s: how long a request may take to arrive.
    :param most: connections at once.
    """

    def __init__(self, handler: Handler, request_s: float, most: int) -> None:
        self.handler = handler
        self.request_s = request_s
        self._most = most
        self._listening: socket.socket | None = None
        self._ranks: tuple[dict[_Connection, None], ...] = ({}, {}, {})
        """Connections of each rank, the oldest first."""
        self._one_is_gone = asyncio.Event()

    def serve(self, listening: socket.socket) -> None:
        """Listen on a bound socket."""
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening, self._accept)

    async def close(self) -> None:
        """Stop. Pending answers are still sent."""
        if self._listening is None:
            return
        asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        self._listening = None
        for connection in [*self._ranks[_Rank.SILENT], *self._ranks[_Rank.BEGUN]]:
            connection.close()
        while self._ranks[_Rank.ANSWERED]:  # each closes after `LINGER_S` at the latest
            self._one_is_gone.clear()
            await self._one_is_gone.wait()

    def rank(self, connection: "_Connection", rank: _Rank | None) -> None:
        """Append a connection to those of a rank, unless it is there already. Without a rank, remove it."""
        if rank is None or connection not in self._ranks[rank]:
            for connections in self._ranks:
                connections.pop(connection, None)
            if rank is None:
                self._one_is_gone.set()
            else:
                self._ranks[rank][connection] = None

    def _accept(self) -> None:
        for _ in range(AT_A_TIME):
            if self._listening is None:
                return
            if not self._has_room():
                self._pause()
                return
            try:
                accepted, _peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in _NONE_LEFT:
                    log.debug("accept: %s", error)
                elif not self._make_room():
                    self._pause()
                return
            _Connection(self, accepted)

    @property
    def is_crowded(self) -> bool:
        """Whether connections should not stay open for another request."""
        return 2 * sum(map(len, self._ranks)) >= self._most

    def _has_room(self) -> bool:
        """Return whether there is room for another connection, after dropping one if needed."""
        return sum(map(len, self._ranks)) < self._most or self._make_room()

    def _make_room(self) -> bool:
        """Drop a connection if possible, and return whether one was dropped."""
        now = asyncio.get_running_loop().time()
        for rank, connections in zip(_Rank, self._ranks, strict=True):
            oldest = next(iter(connections), None)
            if oldest is not None and now - oldest.since >= GRACE_S[rank]:
                oldest.close()
                return True
        return False

    def _pause(self) -> None:
        """Stop accepting for a moment. Waiting connections would wake us continuously."""
        loop = asyncio.get_running_loop()
        listening = self._listening
        assert listening is not None
        loop.remove_reader(listening)

        def go_on() -> None:
            if self._listening is listening:
                loop.add_reader(listening, self._accept)

        loop.call_later(PAUSE_S, go_on)


class _Connection:
    """One connection: requests, one after the other."""

    def __init__(self, server: HttpServer, accepted: socket.socket) -> None:
        self._server = server
        self._handler = server.handler
        self._socket = accepted
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        """When it started waiting for a request."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self._request: Request | None = None
        self._body = bytearray()
        self._out = bytearray()
        self._is_ending = self._has_ended = False
        """Whether no more answers follow, and whether the peer has finished sending."""
        self._next: asyncio.Handle | None = None
        """Set if more was received than is processed at once."""
        self._waiting: asyncio.Task[Answer] | None = None
        """The task that produces the answer."""
        accepted.setblocking(False)
        with suppress(OSError):  # macOS, if the peer has already gone
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(accepted, self._on_readable)
        self._timer = self._loop.call_later(server.request_s, self._on_late)
        server.rank(self, _Rank.SILENT)

    def close(self) -> None:
        """Close it at once."""
        self._is_ending = True
        self._timer.cancel()
        if self._next is not None:
            self._next.cancel()
        self._server.rank(self, None)
        if not self._is_closed:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    @property
    def _is_closed(self) -> bool:
        return self._socket.fileno() < 0

    # Input.

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self._has_ended = True
            self._loop.remove_reader(self._socket)
        if not self._is_ending:
            self._http.receive_data(data)
            self._go_on(data)
        elif self._has_ended and not self._out:
            self.close()

    def _go_on(self, data: bytes = b"") -> None:
        """Process received data, within the limits, and not while an answer waits to be sent.

        :param data: newly received data.
        """
        try:
            for _ in range(EVENTS_AT_A_TIME):
                if self._is_ending or self._out or self._waiting is not None:
                    break
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if self._request is None and self._http.trailing_data[0]:
                        self._server.rank(self, _Rank.BEGUN)
                    break
                if isinstance(event, h11.Request):
                    self._on_head(event)
                elif isinstance(event, h11.Data):
                    self._on_body(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._on_request()
                else:  # the peer has closed
                    self._end()
            else:
                self._loop.remove_reader(self._socket)
                self._next = self._loop.call_soon(self._go_on_later)
                return
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            why = f"not an HTTP request: {_in_words(error)}"
            if self._has_ended:
                why = "the connection ended within a request"
            elif data[:1] == _TLS and self._request is None:
                why = "a client uses TLS, but this is plain HTTP: put a tunnel or proxy in front of it"
            self._end(self._handler.refuse(status if status in _STATUSES else 400, why))
        if self._has_ended and not self._out and self._waiting is None:
            self.close()

    def _go_on_later(self) -> None:
        self._next = None
        if not self._has_ended:
            self._loop.add_reader(self._socket, self._on_readable)
        self._go_on()

    def _on_head(self, head: h11.Request) -> None:
        fields = [(bytes(name), bytes(value)) for name, value in head.headers]
        self._request = Request(head.method.decode("ascii"), head.target.decode("ascii"), fields)
        self._body.clear()
        self._server.rank(self, _Rank.BEGUN)
        refusal = self._refusal(self._request)
        if refusal is not None:
            self._end(refusal)
        elif self._http.they_are_waiting_for_100_continue:
            self._write(h11.InformationalResponse(status_code=100, headers=[]))

    def _refusal(self, request: Request) -> Answer | None:
        length, refuse = request.field(b"content-length"), self._handler.refuse
        size = sum(len(name) + len(value) for name, value in request.fields) + len(request.target)
        if request.method == "PRI":
            return refuse(505, "a client uses HTTP/2 without an upgrade, but this is HTTP/1.1")
        if len(request.fields) > MAX_FIELDS or size > MAX_HEADER:
            return refuse(431, "the header is too large")
        if length is not None and request.field(b"transfer-encoding") is not None:
            return refuse(400, "both Content-Length and Transfer-Encoding")  # as in request smuggling
        refusal = self._handler.admit(request)
        if refusal is None and length is not None and (len(length) > 15 or int(length) > self._handler.max_body):
            return self._too_large()
        return refusal

    def _on_body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > self._handler.max_body:
            self._end(self._too_large())

    def _too_large(self) -> Answer:
        return self._handler.refuse(413, f"the body is larger than {self._handler.max_body >> 20} MiB")

    def _on_request(self) -> None:
        assert self._request is not None
        request = structs.replace(self._request, body=bytes(self._body))
        self._body.clear()
        answer = self._handler.answer(request)
        is_head = request.method == "HEAD"
        if answer.take_over is not None:
            self._give_away(answer)
        elif answer.later is not None:
            self._loop.remove_reader(self._socket)
            self._timer.cancel()
            self._waiting = self._loop.create_task(answer.later, name="an answer that waits")
            self._waiting.add_done_callback(partial(self._on_later, is_head=is_head))
        else:
            self._reply(answer, is_head=is_head)

    def _on_later(self, waiting: "asyncio.Task[Answer]", *, is_head: bool) -> None:
        self._waiting = None
        if waiting.cancelled() or (defect := waiting.exception()) is not None:
            log_defect(log, "a request was not answered", None if waiting.cancelled() else defect)
            answer = Answer(500, b"a defect in rtms\n")
        else:
            answer = waiting.result()
        if self._is_closed:  # it was dropped for another one
            if answer.after is not None:
                answer.after()
            return
        if not self._has_ended:
            self._loop.add_reader(self._socket, self._on_readable)
        self._reply(answer, is_head=is_head)
        if not self._is_closed:
            self._go_on()

    def _reply(self, answer: Answer, *, is_head: bool) -> None:
        self._write_answer(answer, head=is_head, is_last=self._server.is_crowded)
        self._request = None
        if answer.after is not None:
            answer.after()
        if self._is_closed:
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self.since = self._loop.time()
            self._timer.cancel()
            self._timer = self._loop.call_later(self._server.request_s, self._on_late)
            self._server.rank(self, _Rank.SILENT)
        else:
            self._end()

    def _give_away(self, answer: Answer) -> None:
        """Hand the connection over to another protocol, as the client requested."""
        assert answer.take_over is not None
        head = h11.InformationalResponse(status_code=answer.status, headers=[*answer.fields])
        self._out += self._http.send(head) or b""
        for forget in (self._loop.remove_reader, self._loop.remove_writer):
            forget(self._socket)
        given = socket.socket(fileno=self._socket.detach())
        given.setblocking(False)
        self.close()  # remove its place and its time limit
        unsent, self._out = bytes(self._out), bytearray()
        answer.take_over(given, unsent, self._http.trailing_data[0])

    def _on_late(self) -> None:
        if self._out or not (self._request or self._http.trailing_data[0]):
            self.close()
        else:
            self._end(self._handler.refuse(408, "the request did not arrive in time"))

    # Output.

    def _write_answer(self, answer: Answer, *, head: bool = False, is_last: bool = False) -> None:
        fields = [(b"content-length", b"%d" % len(answer.body)), *answer.fields]
        if answer.body:
            fields.append((b"content-type", answer.media_type.encode()))
        if is_last:
            fields.append((b"connection", b"close"))
        reason = HTTPStatus(answer.status).phrase.encode()
        body = h11.Data(data=b"" if head else answer.body)
        self._write(h11.Response(status_code=answer.status, headers=fields, reason=reason), body, h11.EndOfMessage())

    def _write(self, *events: h11.Event) -> None:
        for event in events:
            self._out += self._http.send(event) or b""
        self._flush()

    def _flush(self) -> None:
        if self._is_closed:
            return
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except (BlockingIOError, InterruptedError):
            self._loop.remove_reader(self._socket)  # do not read from a client that does not read
            self._loop.add_writer(self._socket, self._on_writable)
        except OSError:
            self._out.clear()
            self.close()

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._socket)
        self._flush()
        if self._out or self._is_closed:
            return
        if not self._has_ended:
            self._loop.add_reader(self._socket, self._on_readable)
        if not self._is_ending:
            self._go_on()
        elif self._has_ended:
            self.close()
        else:
            self._shut()

    def _end(self, answer: Answer | None = None) -> None:
        """Send a final answer, if any, then close after giving the client a moment to read it."""
        if answer is not None and self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write_answer(answer, head=self._request is not None and self._request.method == "HEAD", is_last=True)
        if self._is_closed:
            return
        self._is_ending, self._request = True, None
        self._server.rank(self, _Rank.ANSWERED)
        self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S, self.close)
        if not self._out:
            self._shut()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()


_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TLS = b"\x16"
"""How TLS begins."""
_STATUSES = frozenset(map(int, HTTPStatus))

_QUOTED = re.compile(r"(.*): bytearray\(b(['\"])(.*?)\2\)", re.DOTALL)


def _in_words(error: h11.RemoteProtocolError) -> str:
    """Return h11's error as printable text, without queries and values, which may contain secrets."""
    said = str(error)
    if (quoted := _QUOTED.match(said)) is not None:
        said = f"{quoted[1]}: {re.split('[?:]', quoted[3])[0]}"
    return (said if said.isascii() and said.isprintable() else ascii(said)[1:-1])[:100]
