"""A WebSocket server for local programs: the running streams and their data (docs/live-websocket.md).

Theory of operation. A stream's target never waits: it puts each message into the buffer of each client, and each client
has a task that sends from it. All clients share the same message objects. Messages that have waited too long are
dropped, the oldest first, and a `gap` message tells the client. A client that reads nothing therefore costs no more
than its buffer.

Any local program may read, but web pages may not: browsers send the page in `Origin` and the host name in `Host`. On
other interfaces, and whenever a token is set, only the token counts.
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
"""Connections without a WebSocket yet. A further one replaces the oldest. All clients may connect at once."""
OPEN_S = 10.0
"""How long a request may take to arrive."""
BUFFER_S = 10.0
"""How long a message may wait for a client."""
MOST_NBYTES = 16 << 20
"""Bytes that may wait for a client."""
_MOST_HEARD = 1 << 16
"""Size limit of a client's message in bytes. Such messages are ignored."""
_LEAST_NBYTES = 200
"""Minimum accounted size of a message, because small ones take memory too."""
_LAST_PORT = 65_535
_STREAMS = "/streams"
_NEXT = "/streams/next"
_TOO_SLOW = "this client reads too slowly"


class TapServer:
    """Serves streams to clients while it is entered.

    :param host: address to listen on. Non-local addresses require a token.
    :param port: 0 lets the system choose.
    :param token: the token that clients must send; `None` admits every local program.
    :param buffer_s: how long a message may wait for a client.
    :param most_nbytes: how many bytes may wait for a client.
    :raises Problem: if a required token is missing, or the token or port is invalid.
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
                f"A tap that listens on {host} would be open to everyone on that network.",
                f"Set {TOKEN_VARIABLE}, which clients must then send, or omit --tap-host.",
            )
        if not 0 <= port <= _LAST_PORT:
            raise Problem(f"A tap cannot listen on port {port}.", f"Ports go from 1 to {_LAST_PORT}.")
        self.host, self.port = host, port
        self._buffer_s, self._most_nbytes = buffer_s, most_nbytes
        self._streams: dict[str, _Served] = {}
        self._clients: dict[ServerConnection, _Client] = {}
        self._watchers: set[_Client] = set()
        self._expecting: dict[ServerConnection, asyncio.Future[_Client | None]] = {}
        """Clients that wait for the next stream. Each gets a buffer when it begins, or `None` when the server ends."""
        self._asking: OrderedDict[ServerConnection, None] = OrderedDict()
        self._server: Server | None = None
        self._dropped = 0
        """Messages dropped for clients that have left."""

    async def __aenter__(self) -> "TapServer":
        """Listen.

        :raises Problem: if the address cannot be used.
        """
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            listening = socket.create_server((self.host, self.port), family=family)
        except (OSError, UnicodeError) as error:
            raise Problem(
                f"A tap cannot listen on {in_url(self.host)}:{self.port}: {reason_of(error)}.",
                "Choose another port with --tap …:listen:PORT, or another --tap-host.",
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
        """Accept no more clients. Connected ones have 10 s to read the rest.

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
        """Return the URL for clients."""
        return f"ws://{in_url(self.host)}:{self.port}{_STREAMS}"

    @property
    def clients(self) -> int:
        """Return the number of clients."""
        return len(self._clients) + len(self._expecting)

    @property
    def dropped(self) -> int:
        """Return how many messages were dropped because clients read too slowly."""
        return self._dropped + sum(client.dropped for client in self._clients.values())

    @property
    def waiting_nbytes(self) -> int:
        """Return how many bytes are waiting for clients."""
        return sum(client.waiting_nbytes for client in self._clients.values())

    def target(self) -> "ServedTarget":
        """Return a new target. Clients find it under its stream's id while it is open.

        Clients see several targets of a stream, such as one per participant, as one stream.
        """
        return ServedTarget(self)

    def listed(self) -> bytes:
        """Return the running streams as JSON."""
        return dumps(
            {"type": "streams", "version": VERSION, "streams": [one.entry() for one in self._streams.values()]}
        )

    def join(self, target: "ServedTarget", told: Beginning) -> "_Served":
        """Serve a target's stream, which other targets may already belong to."""
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
        """End a target. A stream ends for its clients with its last target."""
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
        """A connection was opened and has sent nothing yet."""
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
        """Answer a request, or accept a WebSocket."""
        try:
            return self._answer(connection, request)
        except Exception:  # a defect in rtms: the library would answer 500 without a log message
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
            return connection.respond(HTTPStatus.NOT_FOUND, f"no such stream; {_STREAMS} lists the running streams\n")
        if "websocket" not in ",".join(request.headers.get_all("Upgrade")).lower():
            told = dumps(connection.served.entry()) if connection.served is not None else self.listed()
            response = connection.respond(HTTPStatus.OK, told.decode())
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        if self.clients >= MOST_CLIENTS:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"there are already {MOST_CLIENTS} clients\n")
        return None

    def _refusal(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """Return why a request is rejected, if it is."""
        if self._token is not None:
            given = _tokens(request)
            if any(hmac.compare_digest(one.encode("utf-8", "replace"), self._token.encode()) for one in given):
                return None
            return HTTPStatus.UNAUTHORIZED, f"send the token: Authorization: Bearer …, or ?token=… ({TOKEN_VARIABLE})"
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or not _is_here(f"//{hosts[0]}"):
            return HTTPStatus.FORBIDDEN, "this server only answers to localhost and 127.0.0.1"
        if not all(_is_here(origin) for origin in request.headers.get_all("Origin")):
            return HTTPStatus.FORBIDDEN, f"pages from other origins need a token: set {TOKEN_VARIABLE}"
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, _Accepted)
        self._asking.pop(connection, None)
        if self.clients >= MOST_CLIENTS:
            await connection.close(1013, f"there are already {MOST_CLIENTS} clients")
            return
        client = await self._client(connection)
        if client is None:
            await connection.close(1001)
            return
        try:
            await client.run()
        except ConnectionClosed:
            pass
        except Exception:  # a defect in rtms ends this client; the library would not log it
            log.exception("a defect in rtms: a client of a tap was disconnected")
        finally:
            client.among.discard(client)

    async def _client(self, connection: "_Accepted") -> "_Client | None":
        """Wait for a connection's buffer, or `None` if its stream never begins."""
        served = connection.served
        if connection.is_for_next:
            expected: asyncio.Future[_Client | None] = asyncio.get_running_loop().create_future()
            self._expecting[connection] = expected
            return await expected
        if served is None:
            return self._attach(_Watcher(self, connection), self._watchers)
        client = self._attach(_Hearer(served.framing, connection), served.clients)
        if not served.targets:  # it has ended in the meantime
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
        """Open targets. Without any, the stream has ended."""
        self.clients: set[_Client] = set()

    def entry(self) -> dict[str, object]:
        """Return its entry in the list of streams."""
        told = self.framing.beginning
        return {**described(told), "path": f"{_STREAMS}/{quote(told.stream_id, safe='', errors='replace')}"}


class ServedTarget:
    """A `Target` that forwards a stream to the server's clients that request it."""

    def __init__(self, server: TapServer) -> None:
        self._server = server
        self._open: tuple[_Served, Beginning] | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        await self.close()
        self._open = self._server.join(self, beginning), beginning

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`. Never waits.

        :returns: number of bytes sent; 0 without a client.
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
        """See `Target.close`. Clients read the rest in the background."""
        if self._open is not None:
            served, self._open = self._open[0], None
            self._server.leave(self, served)
        return None


class _Accepted(Unhurried, ServerConnection):
    """A connection of a `TapServer`."""

    home: TapServer
    served: _Served | None = None
    """The requested stream; `None` for the list of streams or the next stream."""
    is_for_next = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.home.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.home.left(self)


class _Client:
    """A client's buffer. `run` sends from it."""

    buffer_s = BUFFER_S
    most_nbytes = MOST_NBYTES
    among: "set[_Client]"
    """The clients that receive the same messages."""

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
        """Add messages, and drop those that have waited for too long."""
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
        """Send waiting messages until everything was sent after `finish`.

        :raises ConnectionClosed: if the client is gone.
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
        """Mark the end. The client has a limited time to read the rest."""
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
        """Yield the messages that report dropped messages."""
        raise NotImplementedError


class _Watcher(_Client):
    """A client that receives the list of running streams."""

    def __init__(self, server: TapServer, connection: ServerConnection) -> None:
        super().__init__(connection)
        self._server = server
        self._must_list = False

    def _first(self) -> bytes:
        return self._server.listed()

    def _on_dropped(self, message: Message) -> None:
        self._must_list = True

    def _missing(self) -> Iterator[bytes]:
        if self._must_list:  # the list replaces the changes
            self._must_list = False
            while self._waiting:
                self._take()
            yield self._server.listed()


class _Hearer(_Client):
    """A client that receives one stream."""

    def __init__(self, framing: Framing, connection: ServerConnection) -> None:
        super().__init__(connection)
        self._framing = framing
        self._gaps: dict[tuple[str, int], Gap] = {}
        self._unannounced: dict[int, bytes] = {}
        """Dropped announcements of users. They are repeated before the gap is reported."""

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
    """Yield every token in a request."""
    for field in request.headers.get_all("Authorization"):
        scheme, _, token = field.partition(" ")
        if scheme.lower() == "bearer":
            yield token.strip()
    for part in request.path.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if key == "token":
            yield unquote(value)


def _is_here(url: str) -> bool:
    """Return whether a URL's host is this machine."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
