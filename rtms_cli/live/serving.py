"""A server for programs on this machine: which streams run, and what they say, over WebSocket (docs/live-websocket.md).

Theory of operation. A stream's target never waits: it puts each message into the buffer of each client, which a task
of the client's own sends from. The messages are the same objects for all clients. What has waited for longer than a
buffer holds is dropped, the oldest first, and the client is told by a `gap`. So a client that reads nothing costs no
more than its buffer.

Whoever can open a port on this machine may read, but no web page: a browser says in `Origin` which page asks, and in
`Host` which name led here. Anywhere else, and wherever a token is set, only the token counts.
"""

import asyncio
import hmac
import logging
import socket
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

from msgspec import structs
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rtms_cli.errors import Problem, reason_of
from rtms_cli.live.framing import STOP, VERSION, Framing, Message, described, gap
from rtms_cli.live.pieces import Beginning, Gap, Piece, TargetGoneError
from rtms_cli.live.sockets import CLOSE_S, PING_S, PONG_S, TOKEN_VARIABLE, Unhurried, check_token, quiet
from rtms_cli.protocol.strict_json import dumps
from rtms_cli.wire.hosts import in_url, is_loopback

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MOST_CLIENTS = 100
MOST_ASKING = 200
"""Connections that have no WebSocket yet; the next one takes the place of the oldest. All clients may come at once."""
OPEN_S = 10.0
"""How long a request may take to arrive."""
BUFFER_S = 10.0
"""How long a message may wait for a client."""
MOST_NBYTES = 16 << 20
"""Bytes that may wait for a client."""
_MOST_HEARD = 1 << 16
"""Bytes of the largest message that a client may send, for nothing."""
_LEAST_NBYTES = 200
"""What a message counts at the least: small ones take memory too."""
_LAST_PORT = 65_535
_STREAMS = "/streams"
_NEXT = "/streams/next"
_TOO_SLOW = "this client reads too slowly"


class TapServer:
    """Serves streams to any number of clients, while it is entered.

    :param host: where to listen; beyond this machine a token is needed.
    :param port: 0 lets the system choose.
    :param token: what clients must name; `None` lets every program on this machine in.
    :param buffer_s: how long a message may wait for a client.
    :param most_nbytes: how many bytes may.
    :raises Problem: where there is no token and one is needed, or it or the port cannot be used.
    """

    def __init__(
        self,
        host: str = LOOPBACK,
        port: int = 0,
        token: str | None = None,
        *,
        buffer_s: float = BUFFER_S,
        most_nbytes: int = MOST_NBYTES,
    ) -> None:
        self._token = check_token(token)
        if self._token is None and not is_loopback(host):
            raise Problem(
                f"A tap that listens on {host} would be open to everybody there.",
                f"Set {TOKEN_VARIABLE}, which clients then must name, or leave --tap-host out.",
            )
        if not 0 <= port <= _LAST_PORT:
            raise Problem(f"A tap cannot listen on port {port}.", f"Ports go from 1 to {_LAST_PORT}.")
        self.host, self.port = host, port
        self._buffer_s, self._most_nbytes = buffer_s, most_nbytes
        self._streams: dict[str, _Served] = {}
        self._clients: dict[ServerConnection, _Client] = {}
        self._watchers: set[_Client] = set()
        self._expecting: dict[ServerConnection, asyncio.Future[_Client | None]] = {}
        """Clients of the next stream; each gets a buffer when that begins, or nothing when the server ends."""
        self._asking: OrderedDict[ServerConnection, None] = OrderedDict()
        self._server: Server | None = None
        self._dropped = 0
        """For clients that have left."""

    async def __aenter__(self) -> "TapServer":
        """Listen.

        :raises Problem: where the address cannot be had.
        """
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            listening = socket.create_server((self.host, self.port), family=family)
        except (OSError, UnicodeError) as error:
            raise Problem(
                f"A tap cannot listen on {in_url(self.host)}:{self.port}: {reason_of(error)}.",
                "Choose another port in --tap …:listen:PORT, or another --tap-host.",
            ) from error
        self.port = int(listening.getsockname()[1])
        self._server = await serve(
            self._serve,
            sock=listening,
            compression=None,
            process_request=self._admit,
            server_header=None,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            max_size=_MOST_HEARD,
            logger=quiet,
            create_connection=type("_Accepted", (_Accepted,), {"home": self}),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.close(hurry=kind is not None)

    async def close(self, *, hurry: bool = False) -> None:
        """Take no more clients; those that are there have 10 s to read the rest.

        :param hurry: leave without waiting.
        """
        server, self._server = self._server, None
        if server is None:
            return
        try:
            server.close(close_connections=False)
            for connection in list(self._asking):
                connection.transport.abort()
            for connection in list(self._expecting):
                self._expect_nothing(connection)
            for client in self._clients.values():
                client.finish()
            if not hurry:
                await server.wait_closed()
        finally:
            for connection in [*self._asking, *self._clients]:
                connection.transport.abort()
        await server.wait_closed()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"ws://{in_url(self.host)}:{self.port}{_STREAMS}"

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self._clients) + len(self._expecting)

    @property
    def dropped(self) -> int:
        """Messages that did not reach a client that was there, because it read too slowly."""
        return self._dropped + sum(client.dropped for client in self._clients.values())

    @property
    def waiting_nbytes(self) -> int:
        """Bytes that wait for clients."""
        return sum(client.waiting_nbytes for client in self._clients.values())

    def target(self) -> "ServedTarget":
        """A target, which clients find under its stream's id while it is open.

        Targets of the same stream, such as one for each participant, are one stream to clients.
        """
        return ServedTarget(self)

    def listed(self) -> bytes:
        """The streams that run, as JSON."""
        return dumps(
            {"type": "streams", "version": VERSION, "streams": [one.entry() for one in self._streams.values()]}
        )

    def join(self, target: "ServedTarget", told: Beginning) -> "_Served":
        """Serve a target's stream, which others may be part of already."""
        served = self._streams.get(told.stream_id)
        if served is None:
            served = self._streams[told.stream_id] = _Served(told)
            for connection, expected in self._expecting.items():
                expected.set_result(self._attach(_Hearer(served.framing, connection), served.clients))
            self._expecting.clear()
            self._announce({"type": "started", "stream": served.entry()})
        served.targets.add(target)
        return served

    def leave(self, target: "ServedTarget", served: "_Served") -> None:
        """End a target; with its last one, a stream ends for its clients as well."""
        served.targets.discard(target)
        if not served.targets:
            stream_id = served.framing.beginning.stream_id
            del self._streams[stream_id]
            self._announce({"type": "stopped", "stream_id": stream_id})
            for client in served.clients:
                client.finish()

    def _announce(self, change: dict[str, object]) -> None:
        message = Message(dumps(change), is_text=True)
        for watcher in self._watchers:
            watcher.put((message,))

    def arrived(self, connection: ServerConnection) -> None:
        """Somebody has connected, and says nothing yet."""
        self._asking[connection] = None
        if len(self._asking) > MOST_ASKING:
            oldest, _ = self._asking.popitem(last=False)
            oldest.transport.abort()

    def left(self, connection: ServerConnection) -> None:
        """A connection has ended."""
        self._asking.pop(connection, None)
        self._expect_nothing(connection)
        client = self._clients.pop(connection, None)
        if client is not None:
            client.end()
            self._dropped += client.dropped

    def _expect_nothing(self, connection: ServerConnection) -> None:
        expected = self._expecting.pop(connection, None)
        if expected is not None and not expected.done():  # its task may have been cancelled
            expected.set_result(None)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a request, or let a WebSocket be opened."""
        try:
            return self._answer(connection, request)
        except Exception:  # a defect of ours: the library would answer 500, and say nothing
            log.exception("a defect in rtms: a request to a tap could not be answered")
            raise

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if (refusal := self._refusal(request)) is not None:
            status, why = refusal
            response = connection.respond(status, f"{why}\n")
            if status is HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = "Bearer"
            return response
        assert isinstance(connection, _Accepted)
        path = request.path.partition("?")[0]
        if path.startswith(f"{_STREAMS}/"):
            connection.served = self._streams.get(unquote(path.removeprefix(f"{_STREAMS}/")))
        connection.is_for_next = connection.served is None and path == _NEXT
        if connection.served is None and path.removesuffix("/") != _STREAMS and path != _NEXT:
            return connection.respond(HTTPStatus.NOT_FOUND, f"no such stream; {_STREAMS} lists those that run\n")
        if "websocket" not in ",".join(request.headers.get_all("Upgrade")).lower():
            told = dumps(connection.served.entry()) if connection.served is not None else self.listed()
            response = connection.respond(HTTPStatus.OK, told.decode())
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        if self.clients >= MOST_CLIENTS:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"there are {MOST_CLIENTS} clients already\n")
        return None

    def _refusal(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """Why a request is turned away, whatever it asks for."""
        if self._token is not None:
            given = _tokens(request)
            if any(hmac.compare_digest(one.encode("utf-8", "replace"), self._token.encode()) for one in given):
                return None
            return HTTPStatus.UNAUTHORIZED, f"name the token: Authorization: Bearer …, or ?token=… ({TOKEN_VARIABLE})"
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or not _is_here(f"//{hosts[0]}"):
            return HTTPStatus.FORBIDDEN, "this server answers to localhost and 127.0.0.1 only"
        if not all(_is_here(origin) for origin in request.headers.get_all("Origin")):
            return HTTPStatus.FORBIDDEN, f"pages from elsewhere need a token: set {TOKEN_VARIABLE}"
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Accepted)
        self._asking.pop(connection, None)
        if self.clients >= MOST_CLIENTS:
            await connection.close(1013, f"there are {MOST_CLIENTS} clients already")
            return
        client = await self._client(connection)
        if client is None:
            await connection.close(1001)
            return
        try:
            await client.run()
        except ConnectionClosed:
            pass
        except Exception:  # a defect of ours ends this client; the library would not say it
            log.exception("a defect in rtms: a client of a tap was told no more")
        finally:
            client.among.discard(client)

    async def _client(self, connection: "_Accepted") -> "_Client | None":
        """The buffer for a connection, once there is something to tell; `None` where that never comes."""
        served = connection.served
        if connection.is_for_next:
            expected: asyncio.Future[_Client | None] = asyncio.get_running_loop().create_future()
            self._expecting[connection] = expected
            return await expected
        if served is None:
            return self._attach(_Watcher(self, connection), self._watchers)
        client = self._attach(_Hearer(served.framing, connection), served.clients)
        if not served.targets:  # it has ended since it was asked for
            client.finish()
        return client

    def _attach(self, client: "_Client", among: "set[_Client]") -> "_Client":
        client.buffer_s, client.most_nbytes, client.among = self._buffer_s, self._most_nbytes, among
        self._clients[client.connection] = client
        among.add(client)
        return client


class _Served:
    """One stream, with its clients."""

    def __init__(self, told: Beginning) -> None:
        self.framing = Framing(structs.replace(told, user_id=None, user_name=None))
        self.targets: set[ServedTarget] = set()
        """Those that are open; when there are none any more, it has ended."""
        self.clients: set[_Client] = set()

    def entry(self) -> dict[str, object]:
        """What the list of streams says of it."""
        told = self.framing.beginning
        return {**described(told), "path": f"{_STREAMS}/{quote(told.stream_id, safe='', errors='replace')}"}


class ServedTarget:
    """A `Target` that hands a stream to those clients of a server that ask for it."""

    def __init__(self, server: TapServer) -> None:
        self._server = server
        self._open: tuple[_Served, Beginning] | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        await self.close()
        self._open = self._server.join(self, beginning), beginning

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`; it never waits.

        :returns: bytes that were handed on; none while there is no client.
        """
        if self._open is None:
            raise TargetGoneError("it is not open")
        served, told = self._open
        if not served.clients:
            for piece in pieces:
                served.framing.learn(piece, told)
            return 0
        messages = [message for piece in pieces for message in served.framing.messages(piece, told)]
        for client in served.clients:
            client.put(messages)
        return sum(len(piece.data) for piece in pieces)

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`. Clients read the rest while other things go on."""
        if self._open is not None:
            served, self._open = self._open[0], None
            self._server.leave(self, served)
        return None


class _Accepted(Unhurried, ServerConnection):
    """A connection of a `TapServer`."""

    home: TapServer
    served: _Served | None = None
    """What its client asks for; `None` is the list of streams, or the next of them."""
    is_for_next = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.home.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.home.left(self)


class _Client:
    """A client's buffer, from which `run` sends."""

    buffer_s = BUFFER_S
    most_nbytes = MOST_NBYTES
    among: "set[_Client]"
    """Those that are told the same."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, Message]] = deque()
        self.waiting_nbytes = 0
        self.dropped = 0
        self._ready = asyncio.Event()
        self._is_over = False
        self._limit: asyncio.TimerHandle | None = None

    def put(self, messages: Iterable[Message]) -> None:
        """Let messages wait, and drop what has waited for too long."""
        if self._is_over:
            return
        now = self._loop.time()
        for message in messages:
            self._waiting.append((now, message))
            self.waiting_nbytes += _nbytes(message)
        oldest = now - self.buffer_s
        while self._waiting and (self.waiting_nbytes > self.most_nbytes or self._waiting[0][0] < oldest):
            message = self._take()
            self.dropped += 1
            self._on_dropped(message)
        self._ready.set()

    async def run(self) -> None:
        """Send what waits, until all was sent after `finish`.

        :raises ConnectionClosed: where the client is gone.
        """
        await self.connection.send(self._first(), text=True)
        while True:
            for raw in self._missing():
                await self.connection.send(raw, text=True)
            if self._waiting:
                message = self._take()
                await self.connection.send(message.raw, text=message.is_text)
            elif self._is_over:
                break
            else:
                self._ready.clear()
                await self._ready.wait()
        await self.connection.close()

    def finish(self) -> None:
        """That was all: the client has so much time to read it."""
        if self._is_over:
            return
        self.put(self._last())
        self._is_over = True
        self._limit = self._loop.call_later(CLOSE_S, self.connection.transport.abort)

    def end(self) -> None:
        """The connection has ended."""
        self._is_over = True
        self._waiting.clear()
        self._ready.set()
        if self._limit is not None:
            self._limit.cancel()

    def _take(self) -> Message:
        _, message = self._waiting.popleft()
        self.waiting_nbytes -= _nbytes(message)
        return message

    def _first(self) -> bytes:
        raise NotImplementedError

    def _last(self) -> Sequence[Message]:
        return ()

    def _on_dropped(self, message: Message) -> None:
        raise NotImplementedError

    def _missing(self) -> Iterator[bytes]:
        """What must be said since messages were dropped."""
        raise NotImplementedError


class _Watcher(_Client):
    """Is told which streams run."""

    def __init__(self, server: TapServer, connection: ServerConnection) -> None:
        super().__init__(connection)
        self._server = server
        self._must_list = False

    def _first(self) -> bytes:
        return self._server.listed()

    def _on_dropped(self, message: Message) -> None:
        self._must_list = True

    def _missing(self) -> Iterator[bytes]:
        if self._must_list:  # the list says all that the changes do
            self._must_list = False
            while self._waiting:
                self._take()
            yield self._server.listed()


class _Hearer(_Client):
    """Is told what one stream says."""

    def __init__(self, framing: Framing, connection: ServerConnection) -> None:
        super().__init__(connection)
        self._framing = framing
        self._gaps: dict[tuple[str, int], Gap] = {}
        self._unannounced: dict[int, bytes] = {}
        """Announcements of users that were dropped; they are made before the gap is told."""

    def _first(self) -> bytes:
        return self._framing.start()

    def _last(self) -> Sequence[Message]:
        return (Message(STOP, is_text=True),)

    def _on_dropped(self, message: Message) -> None:
        piece = message.piece
        if piece is None:
            self._unannounced[message.user] = message.raw
        else:
            whose = piece.kind, message.user
            self._gaps.setdefault(whose, Gap.begin(piece)).add(piece)

    def _missing(self) -> Iterator[bytes]:
        while self._unannounced:
            yield self._unannounced.pop(next(iter(self._unannounced)))
        while self._gaps:
            kind, user = next(iter(self._gaps))
            found = self._gaps.pop((kind, user))
            yield gap(kind, user, found.from_ms, found.to_ms, _TOO_SLOW, found.count)


def _nbytes(message: Message) -> int:
    return max(len(message.raw), _LEAST_NBYTES)


def _tokens(request: Request) -> Iterator[str]:
    """Every token that a request names."""
    for field in request.headers.get_all("Authorization"):
        scheme, _, token = field.partition(" ")
        if scheme.lower() == "bearer":
            yield token.strip()
    for part in request.path.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if key == "token":
            yield unquote(value)


def _is_here(url: str) -> bool:
    """Whether a URL's host is this machine."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
