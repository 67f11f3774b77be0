"""The network between client and server: delays, and everything that can happen to a connection.

Messages of one socket stay in order; those of different sockets overtake each other. What is under way when a
connection breaks is lost. Sockets behave as those in `rtms_cli.wire.sockets` do: what comes before `start` waits for
it, a close goes through the closing handshake, and a peer that does not answer that is given up on after two seconds.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from rtms_cli.machine import BROKEN
from rtms_cli.wire.sockets import CLOSE_TIMEOUT_S, OnClosed, OnMessages

DIAL_TIMEOUT_S = 10.0
"""How long our dialer waits for a connection."""


class Trouble(StrEnum):
    """What can happen to connections, those that exist or the next ones."""

    BREAK = "break"
    """Connections break; what is under way is lost."""
    DEAF = "deaf"
    """Nothing that the server sends arrives any more."""
    MUTE = "mute"
    """Nothing that the client sends arrives any more."""
    DEAD = "dead"
    """Nothing arrives any more, either way."""
    REFUSE = "refuse"
    """The next connections are refused."""
    EOF = "eof"
    """The next connections end while they are upgraded."""
    SLOW = "slow"
    """The next connections take 12 s."""
    STUCK = "stuck"
    """The next connections are never answered."""
    HANG_UP = "hang-up"
    """The next connections are closed with 1000 when the client has said its first word."""
    DELAYED = "delayed"
    """What is sent in the next 2 s arrives at their end."""


ON_CONNECT = (Trouble.REFUSE, Trouble.EOF, Trouble.SLOW, Trouble.STUCK, Trouble.HANG_UP)


class _Close(Struct, frozen=True):
    code: int
    reason: str


class Pipe:
    """One direction of a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: Callable[[], float]) -> None:
        self._loop = loop
        self._delay = delay
        self._under_way: deque[bytes | _Close | None] = deque()
        self._last = 0.0
        self._not_before = 0.0
        self.deliver: Callable[[bytes | _Close | None], None]
        self.is_dead = False

    def put(self, item: bytes | _Close | None) -> None:
        """Send a message, a close, or the end of the connection (`None`)."""
        self._last = max(self._last, self._loop.time() + self._delay(), self._not_before)
        self._under_way.append(item)
        self._loop.call_at(self._last, self._arrive)

    def hold(self, seconds: float) -> None:
        """Let nothing arrive for a while."""
        self._not_before = self._loop.time() + seconds

    def lose(self) -> None:
        """Lose what is under way."""
        self._under_way.clear()

    def _arrive(self) -> None:
        # One timer an item: whichever fires, the oldest item arrives; none is left where they were lost.
        if self._under_way:
            item = self._under_way.popleft()
            if not self.is_dead:
                self.deliver(item)


class SimSocket:
    """One end of a connection: a `rtms_cli.wire.sockets.Socket`.

    :param log: is told of each message before it is handed over.
    """

    def __init__(self, link: "Link", inward: Pipe, outward: Pipe, log: Callable[[bytes], None] | None = None) -> None:
        self._link = link
        self._outward = outward
        inward.deliver = self._arrived
        self._log = log
        self._loop = link.loop
        self._on_messages: OnMessages | None = None
        self._on_closed: OnClosed | None = None
        self._waiting: deque[bytes | _Close | None] = deque()
        self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self.is_closing = False
        """Whether this end has closed it."""
        self.closed: tuple[int, str] | None = None

    def start(self, on_messages: OnMessages, on_closed: OnClosed) -> None:
        """See `Socket.start`."""
        self._on_messages, self._on_closed = on_messages, on_closed
        self._hand_over()
        if self.closed is not None:
            on_closed(*self.closed)

    def send(self, raw: bytes, *, binary: bool) -> None:
        """See `Socket.send`."""
        if self.closed is None and not self.is_closing:
            self._outward.put(raw)

    async def drain(self, limit: int) -> None:
        """See `Socket.drain`."""

    @property
    def undelivered(self) -> int:
        return 0

    def pause(self) -> None:
        """See `Socket.pause`."""
        self._is_paused = True

    def resume(self) -> None:
        """See `Socket.resume`."""
        self._is_paused = False
        self._loop.call_soon(self._hand_over)

    def close(self, code: int, reason: str) -> None:
        """See `Socket.close`; a connection that breaks may lose here what is under way."""
        if code == BROKEN:
            self.abort()
        elif self.closed is None and not self.is_closing:
            self.is_closing = True
            self.resume()
            self._outward.put(_Close(code, reason))
            self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        """See `Socket.abort`."""
        if self.closed is None:
            self.is_closing = True
            if self._link.loses:
                self._outward.lose()
            self._outward.put(None)
            self.end(BROKEN, "")

    def end(self, code: int, reason: str) -> None:
        """The connection is gone on this side."""
        if self.closed is not None:
            return
        self.closed = code, reason
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._link.ended()
        if self._on_closed is not None:
            self._loop.call_soon(self._on_closed, code, reason)

    def _arrived(self, item: bytes | _Close | None) -> None:
        if self.closed is None:
            self._waiting.append(item)
            if len(self._waiting) == 1:  # what arrives in the same moment is read together
                self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        while self._waiting and not self._is_paused and self._on_messages is not None:
            item = self._waiting.popleft()
            if isinstance(item, bytes):
                raws = [item]
                while self._waiting and isinstance(self._waiting[0], bytes):
                    raws.append(self._waiting.popleft())  # type: ignore[arg-type]
                if self._log is not None:
                    for raw in raws:
                        self._log(raw)
                self._on_messages(raws)
            elif item is None:
                self.end(BROKEN, "")
            else:
                if not self.is_closing:
                    self._outward.put(item)
                self.end(item.code, item.reason)


class Link:
    """A connection."""

    def __init__(self, network: "Network", number: int, url: str) -> None:
        self.loop = network.loop
        self.url = url
        self.number = number
        dice = random.Random(f"{network.seed} link {number}")
        least, most = dice.uniform(0.002, 0.04), dice.uniform(0.04, 0.09)
        if network.slow and self.is_a(network.slow):
            least, most = 0.5, 2.0
        elif dice.random() < 0.05:
            least, most = 0.2, 0.6
        self.loses = dice.random() < 0.7
        """Whether what is under way is lost when an end aborts."""
        self.delay: Callable[[], float] = lambda: least + (most - least) * dice.random()
        up, down = Pipe(self.loop, self.delay), Pipe(self.loop, self.delay)
        self.up, self.down = up, down
        self.client = SimSocket(self, down, up, lambda raw: network.on_delivered(self, raw))
        self.server = SimSocket(self, up, down)
        self._network = network

    def is_a(self, kind: str) -> bool:
        """Whether it is of a kind: `signaling`, `media` or a kind of media; all are of the kind without a name."""
        return not kind or f"/{kind}" in self.url

    def ended(self) -> None:
        """One end is closed."""
        if self.client.closed is not None and self.server.closed is not None:
            self._network.links.pop(self, None)

    def suffer(self, trouble: Trouble, dice: random.Random) -> None:
        """Have something happen to it."""
        if trouble is Trouble.BREAK:
            self.up.lose()
            self.down.lose()
            for socket in (self.client, self.server):
                # Who does not send may notice later.
                self.loop.call_later(dice.choice((0.0, 0.01, dice.uniform(0, 2))), socket.end, BROKEN, "")
            self.up.is_dead = self.down.is_dead = True
        elif trouble is Trouble.DELAYED:
            self.up.hold(2)
            self.down.hold(2)
        else:
            self.up.is_dead |= trouble in (Trouble.MUTE, Trouble.DEAD)
            self.down.is_dead |= trouble in (Trouble.DEAF, Trouble.DEAD)


class Network:
    """All connections.

    :param accept: takes the server's end of a new connection.
    :param on_delivered: is told of each message that reaches a client, before it does.
    :param slow: a kind of connection on which everything takes some seconds; see `Link.is_a`.
    """

    def __init__(
        self,
        seed: object,
        slow: str,
        accept: Callable[[str, SimSocket], None],
        on_delivered: Callable[[Link, bytes], None],
    ) -> None:
        self.seed = seed
        self.slow = slow
        self.loop = asyncio.get_running_loop()
        self._accept = accept
        self.on_delivered = on_delivered
        self.links: dict[Link, None] = {}
        """Those that are open, in order: the same seed has to meet the same ones."""
        self._connects = 0
        self._next: deque[tuple[str, Trouble]] = deque()

    async def dial(self, url: str) -> SimSocket:
        """Connect a client; see `rtms_cli.wire.driver.Dial`."""
        self._connects += 1
        link = Link(self, self._connects, url)
        trouble = self._due(link)
        await asyncio.sleep(link.delay())
        if trouble is Trouble.REFUSE:
            raise ConnectionError("cannot connect: Connection refused")
        if trouble is Trouble.STUCK:
            await asyncio.sleep(DIAL_TIMEOUT_S)
            raise ConnectionError("cannot connect: no answer within 10 s")
        if trouble is Trouble.SLOW:
            await asyncio.sleep(12)
        await asyncio.sleep(link.delay())
        if trouble is Trouble.EOF:
            raise ConnectionError("cannot connect: the connection ended during the upgrade")
        self.links[link] = None
        if trouble is Trouble.HANG_UP:
            link.server.start(lambda raw: link.server.close(1000, ""), lambda code, reason: None)
        else:
            self._accept(url, link.server)
        try:
            await asyncio.sleep(link.delay())
        except BaseException:
            link.client.abort()
            raise
        return link.client

    def strike(self, trouble: Trouble, kind: str, times: int, dice: random.Random) -> None:
        """Let something happen to the connections of a kind; see `Link.is_a`."""
        if trouble in ON_CONNECT:
            self._next.extend([(kind, trouble)] * times)
            return
        for link in list(self.links):
            if link.is_a(kind):
                link.suffer(trouble, dice)

    def cut(self) -> None:
        """A client's process died: the server's ends are closed."""
        for link in list(self.links):
            link.up.lose()
            link.down.is_dead = True
            link.up.put(None)
            link.client.end(BROKEN, "")

    def _due(self, link: Link) -> Trouble | None:
        for waiting in self._next:
            if link.is_a(waiting[0]):
                self._next.remove(waiting)
                return waiting[1]
        return None
