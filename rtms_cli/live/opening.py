"""The taps of a command: servers shared by all streams, and a factory of taps for each session."""

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
"""Participants of a stream for whose targets descriptors are reserved."""


class Output(Struct, frozen=True):
    """Where commands that taps run write their output.

    Either a descriptor (`None` is our own standard output), or lines shown among ours.
    """

    descriptor: int | None = None
    show: Callable[[str], None] | None = None


class Network(Struct, frozen=True):
    """Network settings of taps."""

    host: str = LOOPBACK
    """The host that `listen:` targets listen on."""
    token: str | None = None
    """The token that is sent to servers and required from clients."""
    tls: ssl.SSLContext | None = None
    """For `wss://`; `None` verifies against the system's store."""


class Taps:
    """Opens taps for sessions.

    :param tell: called on the event loop with the state of each tap.
    :param servers: listening servers of `listen:` targets.
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
        """Open a tap for a session."""
        return Tap(tap, stream, folder, self._request, self._make_target, self._tell, is_live=is_live)

    def openers(self, *, is_live: bool = True) -> list[Callable[[Stream, Path | None], Tap]]:
        """Return a function for each tap that opens it; see `station.listening.OpenListener`."""

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
    """Return the number of file descriptors that taps may need: in total, and per stream."""
    once = sum(MOST_CLIENTS + MOST_ASKING + 1 for tap in taps if tap.target.kind == LISTEN)
    each = {EXEC: DESCRIPTORS, FILE: 1, WEBSOCKET: 2, TWILIO: 2}
    return once, sum(each.get(tap.target.kind, 0) * (_PARTICIPANTS if tap.user == EACH else 1) for tap in taps)


def _connected(tap: TapSpec, network: Network) -> WebSocketTarget:
    return _CONNECTED[tap.target.kind](tap.target.address, network.token, network.tls)


_CONNECTED: dict[str, type[WebSocketTarget]] = {WEBSOCKET: WebSocketTarget, TWILIO: TwilioTarget}


def filled(path: str, beginning: Beginning) -> str:
    """Fill in `{stream}` and `{user}` in a path, as safe file names."""
    names = {
        "{stream}": tame_id(beginning.stream_id),
        "{user}": "mixed" if beginning.user_id is None else participant_stem(beginning.user_id, beginning.user_name),
    }
    return re.sub(r"\{(?:stream|user)\}", lambda found: names[found[0]], path)


@asynccontextmanager
async def opened_taps(
    taps: Sequence[TapSpec], request: MediaRequest, tell: Tell, output: Output, network: Network
) -> AsyncIterator[Taps]:
    """Open taps with their servers, and close the servers at the end.

    :raises Problem: if a server cannot listen, or a URL or the token is invalid.
    """
    async with AsyncExitStack() as stack:
        servers: dict[TapSpec, TapServer] = {}
        for tap in taps:
            if tap.target.kind in _CONNECTED:
                _connected(tap, network)  # to report errors in it now
            elif tap.target.kind == LISTEN and tap not in servers:
                server = TapServer(network.host, tap.target.port, network.token, buffer_s=tap.buffer_s)
                servers[tap] = await stack.enter_async_context(server)
                fields = {"what": tap.what, "target": tap.target.shown, "state": "listening", "url": server.url}
                tell(fields, f"tap {tap.what}: clients find it at {server.url}")
        yield Taps(taps, request, tell, output, network, servers)
