"""Listening in: the sound of a running stream, everyone mixed, for as long as someone wants it.

One tap of a stream, or one connection to the process that records it, serves all listeners. It comes when the first of
them does, and goes with the last. Each has a buffer of its own; one that is too slow misses the oldest of it, and is
told so.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from rtms_cli.errors import Problem
from rtms_cli.feed.source import SoundLostError
from rtms_cli.live.framing import HEADER, STOP, Framing, Message, gap
from rtms_cli.live.pieces import AUDIO, GAP, Beginning, Gap, Piece
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
_NOT_HERE = "this stream does not run here"
_LOST = "the connection to the recorder was lost"

Leave = Callable[[], Awaitable[None]]
"""Ends what the last listener of a stream has left."""


class Shared:
    """Sounds that each come from one place, for any number of listeners.

    :param begin: begins to put a stream's sound into a `Sound`; returns what ends that.
    """

    def __init__(self, begin: "Callable[[str, Sound], Leave]") -> None:
        self._begin = begin
        self._sounds: dict[str, Sound] = {}
        self._leaving: set[asyncio.Future[None]] = set()

    async def listen(self, stream_id: str) -> AsyncIterator[bytes | str]:
        """The sound of a stream from now on; see `Source.listen`.

        :raises SoundLostError: if there is no such stream, or if its sound is lost.
        """
        sound = self._sounds.get(stream_id)
        if sound is None or sound.is_over:
            sound = Sound()
            sound.leave = self._begin(stream_id, sound)
            self._sounds[stream_id] = sound
        listener = sound.join()
        try:
            async for message in listener.messages():
                yield message
        finally:
            self._part(stream_id, sound, listener)

    def _part(self, stream_id: str, sound: "Sound", listener: "Listener") -> None:
        sound.listeners.discard(listener)
        if sound.listeners:
            return
        if self._sounds.get(stream_id) is sound:
            del self._sounds[stream_id]
        if sound.leave is not None:
            # A task of its own: whoever leaves may be cancelled again meanwhile.
            leaving = asyncio.ensure_future(sound.leave())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


class Ears:
    """Listens to streams of a station.

    :param run_of: gives a stream that runs; see `Station.run_of`.
    :param request: what is asked of Zoom.
    """

    def __init__(self, run_of: Callable[[str], Run | None], request: MediaRequest) -> None:
        self._run_of, self._request = run_of, request
        self.listen = Shared(self._begin).listen

    def _begin(self, stream_id: str, sound: "Sound") -> Leave:
        run = self._run_of(stream_id)

        def open_guest(stream: Stream, folder: Path | None) -> _Guest:
            target = _Ear(sound)
            tap = Tap(TAP, stream, folder, self._request, lambda *_: target, lambda *_: None, is_guest=True)
            return _Guest(tap, sound)

        guest = None if run is None else run.invite(open_guest)
        if run is None or guest is None:
            raise SoundLostError(_NOT_HERE)
        return lambda: run.dismiss(guest)


class Relay:
    """Listens to streams of other processes, with one connection for each stream.

    :param hear: gives a stream's sound there; may raise `KeyError`, and `Problem` when iterated.
    """

    def __init__(self, hear: Callable[[str], AsyncGenerator[bytes | str, None]]) -> None:
        self._hear = hear
        self.listen = Shared(self._begin).listen

    def _begin(self, stream_id: str, sound: "Sound") -> Leave:
        task = asyncio.create_task(self._pass_on(stream_id, sound), name="listen in: relay")

        async def leave() -> None:
            task.cancel()
            await asyncio.wait([task])

        return leave

    async def _pass_on(self, stream_id: str, sound: "Sound") -> None:
        why = _LOST
        try:
            async with contextlib.aclosing(self._hear(stream_id)) as heard:
                async for message in heard:
                    sound.take(message)
                    if sound.is_over:
                        return
        except SoundLostError as error:
            why = str(error)
        except KeyError as error:
            why = str(error.args[0]) if error.args else _NOT_HERE
        except Problem as problem:
            why = problem.what
        finally:
            sound.end(why)


class _Told(Struct, frozen=True):
    """A text of another process."""

    type: str = ""


_TOLD = msgspec.json.Decoder(_Told)


class Sound:
    """What all that listen to a stream hear. Everything is called on the event loop."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.leave: Leave | None = None
        self.is_over = False
        self._start: Message | None = None
        self._last_ms = 0

    def join(self) -> "Listener":
        """One more listener."""
        listener = Listener()
        self.listeners.add(listener)
        if self._start is not None:
            listener.put([self._start])
        return listener

    def begin(self, start: bytes) -> None:
        """The sound begins, or begins again."""
        self._start = Message(start, is_text=True)
        self.put([self._start])

    def put(self, messages: Sequence[Message]) -> None:
        """Let all hear something."""
        for listener in self.listeners:
            listener.put(messages)

    def take(self, message: bytes | str) -> None:
        """Pass on what another process says; what cannot be read is left out."""
        if isinstance(message, bytes):
            if len(message) >= HEADER.size:
                *_, self._last_ms = HEADER.unpack_from(message)
                seconds = (len(message) - HEADER.size) / (2 * RATE_HZ)
                self.put([Message(message, False, Piece(AUDIO, b"", timestamp_ms=self._last_ms, seconds=seconds))])
            return
        raw = message.encode("utf-8", "replace")
        try:
            kind = _TOLD.decode(raw).type
        except msgspec.MsgspecError:
            return
        if kind == "start":
            self.begin(raw)
        elif kind == "stop":
            self.end()
        else:
            self.put([Message(raw, True, Piece(GAP, b"", timestamp_ms=self._last_ms))])

    def end(self, lost: str = "") -> None:
        """There will be no more.

        :param lost: why, unless the stream has ended.
        """
        if not self.is_over:
            self.is_over = True
            for listener in self.listeners:
                listener.finish(lost)


class _Ear:
    """The tap's `Target`."""

    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self._opened: tuple[Framing, Beginning] | None = None

    async def open(self, beginning: Beginning) -> None:
        """See `Target.open`."""
        framing = Framing(structs.replace(beginning, folder=None))
        self._opened = framing, beginning
        self._sound.begin(framing.start())

    async def send(self, pieces: Sequence[Piece]) -> int:
        """See `Target.send`."""
        assert self._opened is not None
        framing, told = self._opened
        self._sound.put([message for piece in pieces for message in framing.messages(piece, told)])
        return sum(len(piece.data) for piece in pieces)

    async def close(self, *, hurry: bool = False) -> int | None:
        """See `Target.close`."""
        self._sound.end()
        return None


class _Guest(Listeners):
    """The tap, and who has to know when it ends: a stream may end before anyone has spoken."""

    def __init__(self, tap: Tap, sound: Sound) -> None:
        loop = asyncio.get_running_loop()
        super().__init__([tap], lambda defect: _call(loop, lambda: sound.end("a defect in rtms")))
        self._sound = sound

    async def close(self) -> None:
        """See `StreamListener`."""
        await super().close()
        self._sound.end()


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(work)


class Listener:
    """What waits for one listener."""

    def __init__(self) -> None:
        self._start: Message | None = None
        """The last beginning, which is never dropped, and comes before the sound."""
        self._sound: deque[Message] = deque()
        self._nbytes = 0
        self._gap: Gap | None = None
        self._wake = asyncio.Event()
        self._is_over = False
        self._lost = ""

    def put(self, messages: Iterable[Message]) -> None:
        """Add messages, and drop the oldest sound where too much waits."""
        for message in messages:
            if message.piece is None:
                self._start = message
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

    def finish(self, lost: str = "") -> None:
        """There will be no more; see `Sound.end`."""
        self._is_over, self._lost = True, lost
        self._wake.set()

    async def messages(self) -> AsyncIterator[bytes | str]:
        """What waits, as it comes, until the end.

        :raises SoundLostError: if it was lost.
        """
        while True:
            if self._start is not None:
                start, self._start = self._start, None
                yield start.raw.decode()
            elif self._gap is not None:
                lost, self._gap = self._gap, None
                yield gap(AUDIO, 0, lost.from_ms, lost.to_ms, _TOO_SLOW, lost.count).decode()
            elif self._sound:
                message = self._sound.popleft()
                self._nbytes -= len(message.raw)
                yield message.raw.decode() if message.is_text else message.raw
            elif self._is_over and self._lost:
                raise SoundLostError(self._lost)
            elif self._is_over:
                yield STOP.decode()
                return
            else:
                self._wake.clear()
                await self._wake.wait()
