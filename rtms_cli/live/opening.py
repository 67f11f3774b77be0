"""The taps of a command: servers that are shared by all streams, and what opens a tap for each session."""

import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from rtms_cli.live.outlet import Tell
from rtms_cli.live.outlets import ExecTarget, FileTarget, StdoutTarget
from rtms_cli.live.pieces import Beginning, Target
from rtms_cli.live.programs import DESCRIPTORS
from rtms_cli.live.serving import LOOPBACK, MOST_ASKING, MOST_CLIENTS, TapServer
from rtms_cli.live.sockets import TwilioTarget, WebSocketTarget
from rtms_cli.live.spec import EACH, EXEC, FILE, LISTEN, STDOUT, TWILIO, WEBSOCKET, TapSpec
from rtms_cli.live.tap import Tap
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.names import participant_stem, tame_id

_PARTICIPANTS = 10
"""Of a stream, as far as descriptors are kept for their targets."""


class Output(Struct, frozen=True):
    """Where commands that taps run write to.

    One of two: a descriptor (`None` is our own standard output), or lines that are shown among ours.
    """

    descriptor: int | None = None
    show: Callable[[str], None] | None = None


class Network(Struct, frozen=True):
    """How taps reach others, and are reached."""

    host: str = LOOPBACK
    """Where `listen:` targets listen."""
    token: str | None = None
    """What servers are told, and clients must tell."""
    tls: ssl.SSLContext | None = None
    """For `wss://`; `None` verifies against the system's store."""


class Taps:
    """What opens taps for sessions.

    :param tell: hears how each fares; on the event loop.
    :param servers: of `listen:` targets; they listen.
    """

    def __init__(
        self,
        taps: Sequence[TapSpec],
        request: MediaRequest,
        tell: Tell,
        output: Output,
        network: Network = Network(),  # noqa: B008  # it cannot be changed
        servers: Mapping[TapSpec, TapServer] | None = None,
    ) -> None:
        self._network = network
        self._servers = servers or {}
        self._taps = taps
        self._request = request
        self._tell = tell
        self._output = output

    def open(self, tap: TapSpec, stream: Stream, folder: Path | None, *, is_live: bool = True) -> Tap:
        """Open one for a session."""
        return Tap(tap, stream, folder, self._request, self._make_target, self._tell, is_live=is_live)

    def openers(self, *, is_live: bool = True) -> list[Callable[[Stream, Path | None], Tap]]:
        """What opens each of them; see `station.listening.OpenListener`."""

        def opener(tap: TapSpec) -> Callable[[Stream, Path | None], Tap]:
            return lambda stream, folder: self.open(tap, stream, folder, is_live=is_live)

        return [opener(tap) for tap in self._taps]

    def _make_target(self, tap: TapSpec, beginning: Beginning) -> Target:
        target = tap.target
        if target.kind == EXEC:
            show = self._output.show
            said = None if show is None else lambda line: show(f"{target.shown}: {line}")
            return ExecTarget(target.argv, self._output.descriptor, said)
        if target.kind == FILE:
            return FileTarget(Path(filled(target.address, beginning)))
        if target.kind == LISTEN:
            return self._servers[tap].target()
        if target.kind in _CONNECTED:
            return _connected(tap, self._network)
        assert target.kind == STDOUT
        return StdoutTarget()


def descriptors_for(taps: Sequence[TapSpec]) -> tuple[int, int]:
    """The file descriptors that taps may need: once, and for each stream."""
    once = sum(MOST_CLIENTS + MOST_ASKING + 1 for tap in taps if tap.target.kind == LISTEN)
    each = {EXEC: DESCRIPTORS, FILE: 1, WEBSOCKET: 2, TWILIO: 2}
    return once, sum(each.get(tap.target.kind, 0) * (_PARTICIPANTS if tap.user == EACH else 1) for tap in taps)


def _connected(tap: TapSpec, network: Network) -> WebSocketTarget:
    return _CONNECTED[tap.target.kind](tap.target.address, network.token, network.tls)


_CONNECTED: dict[str, type[WebSocketTarget]] = {WEBSOCKET: WebSocketTarget, TWILIO: TwilioTarget}


def filled(path: str, beginning: Beginning) -> str:
    """A path with `{stream}` and `{user}` in it, as names that cannot lead anywhere else."""
    names = {
        "{stream}": tame_id(beginning.stream_id),
        "{user}": "mixed" if beginning.user_id is None else participant_stem(beginning.user_id, beginning.user_name),
    }
    return re.sub(r"\{(?:stream|user)\}", lambda found: names[found[0]], path)


@asynccontextmanager
async def opened_taps(
    taps: Sequence[TapSpec], request: MediaRequest, tell: Tell, output: Output, network: Network
) -> AsyncIterator[Taps]:
    """Taps with their servers, which are closed in the end.

    :raises Problem: where one cannot listen, or a URL or the token cannot be used.
    """
    async with AsyncExitStack() as stack:
        servers: dict[TapSpec, TapServer] = {}
        for tap in taps:
            if tap.target.kind in _CONNECTED:
                _connected(tap, network)  # to be told now what is wrong with it
            elif tap.target.kind == LISTEN and tap not in servers:
                server = TapServer(network.host, tap.target.port, network.token, buffer_s=tap.buffer_s)
                servers[tap] = await stack.enter_async_context(server)
                fields = {"what": tap.what, "target": tap.target.shown, "state": "listening", "url": server.url}
                tell(fields, f"tap {tap.what}: clients find it at {server.url}")
        yield Taps(taps, request, tell, output, network, servers)
