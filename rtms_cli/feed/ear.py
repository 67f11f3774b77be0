"""Listening in: the sound of a running stream, everyone mixed, for as long as someone wants it.

One tap of a stream serves all its listeners. It comes when the first of them does, and goes with the last. Each has a
buffer of its own; one that is too slow misses the oldest of it, and is told so.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

from msgspec import structs

from rtms_cli.live.framing import STOP, Framing, Message, gap
from rtms_cli.live.pieces import AUDIO, Beginning, Gap, Piece
from rtms_cli.live.spec import TapSpec, TargetSpec
from rtms_cli.live.tap import Tap
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.listening import Listeners
from rtms_cli.station.run import Run

RATE_HZ = 24_000
HOLD_MS = 100
"""How long the mix waits for what is late: everything else would be heard later too."""
MOST_NBYTES = 4 * 2 * RATE_HZ
"""What may wait for a listener: four seconds."""
TAP = TapSpec(AUDIO, TargetSpec("ear", shown="listen in"), rate_hz=RATE_HZ, channels=1, hold_ms=HOLD_MS, buffer_s=4.0)
_TOO_SLOW = "this client reads too slowly"


class Ears:
    """Listens to streams of a station.

    :param run_of: gives a stream that runs; see `Station.run_of`.
    :param request: what is asked of Zoom.
    """

    def __init__(self, run_of: Callable[[str], Run | None], request: MediaRequest) -> None:
        self._run_of, self._request = run_of, request
        self._ears: dict[str, _Ear] = {}

    def listen(self, stream_id: str) -> AsyncIterator[bytes | str]:
        """The sound of a stream from now on, as messages of docs/live-websocket.md; see `Source.listen`.

        :raises KeyError: if there is no such stream.
        """
        ear = self._ears.get(stream_id)
        if ear is None or ear.is_over:
            run, ear = self._run_of(stream_id), _Ear()
            if run is None or not run.invite(lambda stream, folder: self._open(ear, stream, folder)):
                raise KeyError("this stream does not run here")
            self._ears[stream_id] = ear
        return self._heard(stream_id, ear, ear.join())

    async def _heard(self, stream_id: str, ear: "_Ear", listener: "_Listener") -> AsyncIterator[bytes | str]:
        try:
            async for message in listener.messages():
                yield message
        finally:
            ear.listeners.discard(listener)
            if not ear.listeners and self._ears.get(stream_id) is ear:
                del self._ears[stream_id]
                run = self._run_of(stream_id)
                if run is not None and not ear.is_over:
                    await run.dismiss()

    def _open(self, ear: "_Ear", stream: Stream, folder: Path | None) -> Listeners:
        tap = Tap(TAP, stream, folder, self._request, lambda spec, beginning: ear, lambda fields, text: None)
        return Listeners([tap], lambda defect: ear.end())


class _Ear:
    """The tap's `Target`: hands its pieces to all listeners."""

    def __init__(self) -> None:
        self.listeners: set[_Listener] = set()
        self.is_over = False
        self._opened: tuple[Framing, Beginning] | None = None
        self._loop = asyncio.get_running_loop()

    def join(self) -> "_Listener":
        """One more listener."""
        listener = _Listener()
        self.listeners.add(listener)
        if self._opened is not None:
            listener.put([Message(self._opened[0].start(), is_text=True)])
        return listener

    def end(self) -> None:
        """The sound has ended; may be called on any thread."""
        self._loop.call_soon_threadsafe(self._finish)

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        framing = Framing(structs.replace(beginning, folder=None))
        self._opened = framing, beginning
        for listener in self.listeners:
            listener.put([Message(framing.start(), is_text=True)])

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        assert self._opened is not None
        framing, told = self._opened
        messages = [message for piece in pieces for message in framing.messages(piece, told)]
        for listener in self.listeners:
            listener.put(messages)
        return sum(len(piece.data) for piece in pieces)

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`."""
        self._finish()
        return None

    def _finish(self) -> None:
        self.is_over = True
        for listener in self.listeners:
            listener.finish()


class _Listener:
    """What waits for one listener."""

    def __init__(self) -> None:
        self._news: deque[Message] = deque()
        """Texts, which are never dropped: there are few, and they come before the sound that they are about."""
        self._sound: deque[Message] = deque()
        self._nbytes = 0
        self._gap: Gap | None = None
        self._wake = asyncio.Event()
        self._is_over = False

    def put(self, messages: Iterable[Message]) -> None:
        """Add messages, and drop the oldest sound where too much waits."""
        for message in messages:
            if message.piece is None:
                self._news.append(message)
                continue
            self._sound.append(message)
            self._nbytes += len(message.raw)
        while self._nbytes > MOST_NBYTES and len(self._sound) > 1:
            oldest = self._sound.popleft()
            self._nbytes -= len(oldest.raw)
            assert oldest.piece is not None
            self._gap = self._gap or Gap.begin(oldest.piece)
            self._gap.add(oldest.piece)
        self._wake.set()

    def finish(self) -> None:
        """There will be no more."""
        self._is_over = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[bytes | str]:
        """What waits, as it comes, until the end."""
        while True:
            if self._news:
                yield self._news.popleft().raw.decode()
            elif self._gap is not None:
                lost, self._gap = self._gap, None
                yield gap(AUDIO, 0, lost.from_ms, lost.to_ms, _TOO_SLOW, lost.count).decode()
            elif self._sound:
                message = self._sound.popleft()
                self._nbytes -= len(message.raw)
                yield message.raw.decode() if message.is_text else message.raw
            elif self._is_over:
                yield STOP.decode()
                return
            else:
                self._wake.clear()
                await self._wake.wait()
