"""What a worker's station does for the fleet: sessions that connect, are refused, lose their servers, and end."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from fleet_simulation.zoom import OK, Connection

from rtms_cli.machine import Finish
from rtms_cli.protocol.numbers import StatusCode, StopReason
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import Stream, StreamStart, StreamStop, is_older, read_webhook
from rtms_cli.session import rules
from rtms_cli.station.run import Part
from rtms_cli.wire.driver import FinalConnectionError

if TYPE_CHECKING:
    from fleet_simulation.processes import Process

EIGHT = int(StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST)


class _Socket:
    """What the guard sees of a connection."""

    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class Session:
    """One stream that is recorded, as `session.Session` would do it, without a byte of it."""

    def __init__(self, process: "Process", stream: Stream, part: Part) -> None:
        self.process, self.stream, self.part = process, stream, part
        self.url = stream.server_urls if isinstance(stream.server_urls, str) else ""
        self.connection: Connection | None = None
        self.stage = "connecting"
        self.begun = self.is_left = False
        self.is_over, self.reason = False, 0
        self._happened = asyncio.Event()
        self._dial = part.dialing(self._open)  # type: ignore[arg-type]

    async def run(self) -> SimpleNamespace:
        """Record it to its end, or until it is left."""
        status, refused = await self._connected_or_not()
        if self.connection is not None:
            self.connection.leave()
            self.connection = None
        finish = Finish(status, self.reason, "")
        self.process.sessions.pop(self.stream.stream_id, None)
        return SimpleNamespace(folder=None, finish=finish, refused_with=refused, session=self)

    def leave(self) -> None:
        """Leave it to another owner."""
        self.is_left = True
        self._happened.set()

    def post(self, body: bytes) -> None:
        """Hear a webhook."""
        match read_webhook(body):
            case StreamStop(event_ts=event_ts, reason=reason) if not is_older(event_ts, self.stream.event_ts):
                self._end(reason if isinstance(reason, int) else 0)
            case StreamStart(stream) if not stream.is_older_than(self.stream) and stream != self.stream:
                self.stream, self.url = stream, str(stream.server_urls)
                self.is_over = False
                if self.connection is not None:
                    self.connection.leave()
                    self.connection = None
                self._happened.set()
            case _:
                pass

    async def _connected_or_not(self) -> tuple[str, int | None]:
        """Connect as often as that helps.

        :returns: how it ended, and what it was refused with.
        """
        loop = asyncio.get_running_loop()
        lost_at, wait_s, eights = loop.time(), float(rules.BACK_OFF_S[0]), 0
        while not (self.is_left or self.is_over):
            self._happened.clear()
            try:
                code = await self._try()
            except FinalConnectionError:
                return self._how(), None
            except ConnectionError:
                code = None
            if code == OK:
                self.stage, self.begun, wait_s, eights = "streaming", True, float(rules.BACK_OFF_S[0]), 0
                while self.connection is not None and not (self.is_left or self.is_over):
                    await self._happened.wait()
                    self._happened.clear()
                self.stage, lost_at = "interrupted", loop.time()
                pause_s = 0.0
            elif code == EIGHT and not self.begun:
                eights += 1
                if eights >= rules.DUPLICATE_TRIES:
                    return "failed", code
                pause_s = rules.DUPLICATE_S * 2 ** (eights - 1)
            elif code not in (None, EIGHT):
                return self._how(), code
            else:
                pause_s, wait_s = wait_s, min(2 * wait_s, float(rules.BACK_OFF_S[1]))
            if loop.time() - lost_at > rules.SIGNALING_DEADLINE_S:
                return self._how(), code
            if pause_s:
                await self._pause(pause_s)
        return self._how(), None

    async def _try(self) -> int | None:
        """Send a `1`.

        :returns: how it was answered; `None` if it was not.
        """
        socket: Any = await self._dial(self.url)
        assert not socket.is_aborted
        answered = asyncio.get_running_loop().create_future()
        self.process.world.send_handshake(self.process, self, answered)
        try:
            async with asyncio.timeout(rules.HANDSHAKE_S):
                code, connection = await answered
        except TimeoutError:
            return None
        if connection is not None:
            self.connection = connection
            connection.on_close = self._closed
            if not connection.is_open:
                self.connection = None
        return int(code)

    async def _open(self, url: str) -> _Socket:
        """Open a socket."""
        world = self.process.world
        await asyncio.sleep(world.connect_s())
        if self.process.is_cut_zoom:
            await asyncio.sleep(rules.HANDSHAKE_S)
            raise ConnectionError("no answer")
        if world.zoom.find(url) is None:
            raise ConnectionError("no server there")
        return _Socket()

    def _closed(self, why: str) -> None:
        if why == "over":
            stream = self.process.world.zoom.streams.get(self.stream.stream_id)
            self._end(0 if stream is None else stream.show.reason)
        self.connection = None
        self._happened.set()

    def _end(self, reason: int) -> None:
        self.is_over, self.reason = True, reason
        self._happened.set()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        except TimeoutError:
            pass

    def _how(self) -> str:
        if self.is_over:
            known = StopReason.member(self.reason)
            return "interrupted" if isinstance(known, StopReason) and known.is_failure else "complete"
        return "interrupted" if self.begun else "failed"


class Station:
    """Stands in for `station.Station`: what a worker needs of it."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self.statuses: list[Any] = []
        self.hints: list[str] = []
        self.more_health: dict[str, Any] = {}
        self.more_figures: list[Any] = []
        self.more_readiness: list[Any] = []

    def snapshots(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(session=SimpleNamespace(stream=one.stream, stage=SimpleNamespace(value=one.stage)))
            for one in self._process.sessions.values()
        ]

    def record_part(self, stream: Stream, body: bytes, via: str, part: Part) -> Coroutine[Any, Any, SimpleNamespace]:
        session = self._process.sessions[stream.stream_id] = Session(self._process, stream, part)
        return self._settled(session.run(), part)

    async def _settled(self, running: Coroutine[Any, Any, SimpleNamespace], part: Part) -> SimpleNamespace:
        outcome = await running
        assert part.settle is not None
        await part.settle(cast("Any", outcome), None)
        return outcome

    def post(self, stream_id: str, body: bytes, via: str) -> bool:
        session = self._process.sessions.get(stream_id)
        if session is not None:
            session.post(body)
        return session is not None

    def leave(self, stream_id: str, why: str) -> None:
        session = self._process.sessions.get(stream_id)
        if session is not None:
            session.leave()

    def tell(self, event: str, fields: dict[str, object], text: str) -> None:
        self._process.world.note(f"{self._process.name}: {text}")

    def notice(self, text: str) -> None:
        self._process.world.note(f"{self._process.name}: {text}")
        if "defect" in text:
            self._process.world.violations.append(f"{self._process.name}: {text}")


def created_text(created: datetime) -> str:
    """A part's beginning, as the claim has it."""
    return iso_time(created.astimezone(UTC))
