"""One `--tap` for one session: selects recorded data, converts it, and forwards it to targets.

Data arrives on the writing thread, which forwards what is due every 20 ms. Targets run on the event loop, behind a
buffer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rtms_cli.live.flow import Mix
from rtms_cli.live.outlet import FINISH_S, Outlet, Tell
from rtms_cli.live.pieces import AUDIO, EVENTS, Beginning, Piece, SoundForm, Target
from rtms_cli.live.sound import Converter
from rtms_cli.live.spec import EACH, MIXED, TapSpec
from rtms_cli.live.stills import Stills
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import UserId, text_or_none, user_id
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.parties import party, tells_of_joining
from rtms_cli.protocol.strict_json import loads
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.audio import AudioForm, AudioTrack, audio_form
from rtms_cli.recording.manifest import TapEntry
from rtms_cli.recording.timeline import Segment
from rtms_cli.recording.tracks import PictureTrack, TextTrack

MOST_KNOWN = 1_000
"""How many participants a target learns of when it is opened."""
MOST_OUTPUTS = 100
"""Targets of one tap and session with `user=each`."""
ASLEEP_US = 250_000
"""A longer pause between turns means that the process was suspended and may have unread data."""
AWAKE_AFTER_US = 200_000
GONE_AFTER_US = 5_000_000
"""How long after a participant's last data their target ends, once they have left."""
_PIECE_S = 1

MakeTarget = Callable[[TapSpec, Beginning], Target]
"""Creates a tap's target, on any thread."""


class _Sound:
    """The audio of one output: continuous and in the requested format."""

    def __init__(self, tap: TapSpec, native: AudioForm, form: SoundForm, *, from_zero: bool) -> None:
        self.late_seconds = self.silence_seconds = 0.0
        self._tap = tap
        self._native = native.rate_hz, native.audio_channels
        self._convert = Converter(*self._native, form)
        self._others: dict[tuple[UserId, AudioForm], Converter] = {}
        self._from_zero = from_zero
        self._segment: Segment | None = None
        self._mix: Mix | None = None

    def place(self, whose: UserId, track: AudioTrack, start: int, chunks: Sequence[bytes], at_us: int) -> list[Piece]:
        """Accept samples at a position. Return what must be forwarded at once because a new clock has begun."""
        rate_hz, channels = self._native
        ended: list[Piece] = []
        if track.segment is not self._segment:
            ended = self.take(at_us, final=True)
            self._segment = track.segment
            first = track.segment.zero_ms * rate_hz // 1000 if self._from_zero else None
            self._mix = Mix(rate_hz, channels, self._tap.hold_ms, first)
            self._others.clear()
        assert self._mix is not None
        position, pcm = track.zero_ms * track.form.rate_hz // 1000 + start, b"".join(chunks)
        if (track.form.rate_hz, track.form.audio_channels) != self._native:
            pcm = self._as_native(whose, track.form, pcm)
            position = position * rate_hz // track.form.rate_hz
        self._mix.place((whose, track.form), position, pcm, at_us)
        return ended

    def take(self, at_us: int, *, final: bool = False, waits: bool = False) -> list[Piece]:
        """Return what to forward now."""
        mix = self._mix
        if mix is None:
            return []
        rate_hz, channels = self._native
        pieces: list[Piece] = []
        parts: list[bytes] = []
        first = end = nbytes = 0
        for position, pcm in mix.take(at_us, final=final, waits=waits):
            if parts and (position != end or nbytes > _PIECE_S * rate_hz * 2 * channels):
                pieces.append(self._piece(first, parts))
                parts, nbytes = [], 0
            if not parts:
                first = position
            parts.append(pcm)
            nbytes += len(pcm)
            end = position + len(pcm) // (2 * channels)
        if parts:
            pieces.append(self._piece(first, parts))
        if final:
            if rest := self._convert.finish():
                pieces.append(Piece(AUDIO, rest, timestamp_ms=end * 1000 // rate_hz))
            self.late_seconds += mix.late_seconds
            self.silence_seconds += mix.silence_seconds
            self._mix = self._segment = None
        return pieces

    @property
    def totals(self) -> tuple[float, float]:
        """Return the seconds of late audio, and of silence that replaces missing audio."""
        mix = self._mix
        if mix is None:
            return self.late_seconds, self.silence_seconds
        return self.late_seconds + mix.late_seconds, self.silence_seconds + mix.silence_seconds

    def _piece(self, first: int, parts: list[bytes]) -> Piece:
        rate_hz, channels = self._native
        pcm = b"".join(parts)
        seconds = len(pcm) / (2 * channels * rate_hz)
        return Piece(AUDIO, self._convert(pcm), timestamp_ms=first * 1000 // rate_hz, seconds=seconds)

    def _as_native(self, whose: UserId, form: AudioForm, pcm: bytes) -> bytes:
        convert = self._others.get((whose, form))
        if convert is None:
            native = SoundForm(*self._native, "s16le")
            convert = self._others[whose, form] = Converter(form.rate_hz, form.audio_channels, native)
        return convert(pcm)


class _Said:
    """The speaker and other people in a line of a JSONL file. Its contents are untrusted."""

    def __init__(self, product: Product, line: bytes) -> None:
        try:
            value = loads(line)
        except ValueError:  # too large to parse; it is forwarded anyway
            value = None
        fields = value if isinstance(value, dict) else {}
        self._product = product
        self._people = fields.get("participants")
        event = fields.get("event")
        self.has_joined = tells_of_joining(event) if isinstance(event, str) else None
        """Whether it reports people who have joined (true) or left (false)."""
        timestamp = fields.get("timestamp")
        self.timestamp_ms = timestamp if isinstance(timestamp, int) else 0
        self.whose, self.name = self._person(fields)

    def people(self) -> Iterator[tuple[UserId, str | None]]:
        """Yield the people in it, by their ids in media."""
        for one in self._people if isinstance(self._people, list) else ():
            if isinstance(one, dict):
                whose, name = self._person(one)
                if whose is not None:
                    yield whose, name

    def _person(self, fields: dict[str, object]) -> tuple[UserId, str | None]:
        whose = party(self._product, user_id(fields.get("user_id")), user_id(fields.get("channel_id")))
        return whose, text_or_none(fields.get("user_name"))


class _Output:
    """The data for one target."""

    def __init__(self, entry: TapEntry) -> None:
        self.entry = entry
        self.sound: _Sound | None = None
        self.outlet: Outlet | None = None
        self.left_at_us: int | None = None
        """When its participant, who has left, last sent data."""

    def put(self, piece: Piece, at_us: int) -> None:
        """Add a piece to the target's buffer."""
        assert self.outlet is not None
        self.outlet.buffer.put(piece, at_us)

    def hand_on(self, at_us: int, *, waits: bool = False, final: bool = False) -> None:
        """Forward the audio that is due."""
        if self.sound is not None:
            for piece in self.sound.take(at_us, waits=waits, final=final):
                self.put(piece, at_us)

    def current_entry(self) -> TapEntry:
        """Return how much it has received so far."""
        entry = self.entry if self.outlet is None else self.outlet.entry
        if self.sound is not None:
            late, silence = self.sound.totals
            entry.late_seconds, entry.silence_seconds = round(late, 3), round(silence, 3)
        return entry


class Tap:
    """One tap of one session: a `recording.hearing.StreamListener`.

    :param folder: the recording's folder, or `None` if it is not recorded.
    :param request: the media requested from Zoom.
    :param make_target: creates the targets.
    :param tell: called with their state.
    :param is_live: whether data arrives in real time.
    :param is_guest: whether it begins to listen at any moment: then no silence stands for what was before.
    """

    def __init__(
        self,
        tap: TapSpec,
        stream: Stream,
        folder: Path | None,
        request: MediaRequest,
        make_target: MakeTarget,
        tell: Tell,
        *,
        is_live: bool = True,
        is_guest: bool = False,
    ) -> None:
        self._tap = tap
        self._is_guest = is_guest
        self._stream = stream
        self._folder = None if folder is None else str(folder.absolute())
        self._requested = audio_form(request.params.audio)
        self._make_target = make_target
        self._tell = tell
        self._is_live = is_live
        self._loop = asyncio.get_running_loop()
        self._outputs: dict[UserId, _Output] = {}
        self._has_refused = False
        self._ended: deque[_Output] = deque(maxlen=MOST_KNOWN)
        """Outputs of participants who have left."""
        self._closing: set[asyncio.Task[None]] = set()
        self._people: dict[UserId, str] = {}
        """Users named by events so far."""
        self._has_everybody = False
        """Whether Zoom sends mixed audio. Then nothing is mixed here."""
        self._at_us = self._awake_us = 0
        self._stills = None if tap.every_s is None else Stills(tap.every_s, self._give_still)
        if tap.user == MIXED and tap.what != AUDIO:
            self._output(None, None)

    # On the writing thread.

    def on_audio(self, track: AudioTrack, start: int, chunks: Sequence[bytes]) -> None:
        """See `Listener`."""
        if AUDIO not in self._tap.kinds:
            return
        whose = party(self._stream.product, track.user_id, track.channel_id)
        if self._tap.user == MIXED:
            self._has_everybody |= whose is None
            if self._has_everybody and whose is not None:
                return
        output = self._output_of(whose, track.user_name, track.form)
        if output is None:
            return
        if output.sound is None:
            assert output.outlet is not None
            form = output.outlet.beginning.sound
            assert form is not None
            # A track that has more than that already belongs to a recording that the session continues.
            begins = self._tap.user == MIXED and track.packets <= 1 and not self._is_guest
            output.sound = _Sound(self._tap, track.form, form, from_zero=begins)
        for piece in output.sound.place(whose, track, start, chunks, self._at_us):
            output.put(piece, self._at_us)

    def on_picture(self, track: PictureTrack, timestamp: int | None, payload: bytes) -> None:
        """See `Listener`."""
        if track.kind not in self._tap.kinds:
            return
        if self._stills is not None:
            self._stills.add(track, timestamp or 0, payload)
        else:
            self._put_picture(track, timestamp or 0, payload)

    def on_line(self, track: TextTrack, line: bytes) -> None:
        """See `Listener`."""
        is_wanted = track.kind in self._tap.kinds
        if not is_wanted and track.kind != EVENTS:
            return
        said = _Said(self._stream.product, line)
        for whose, name in said.people():
            if name and (whose in self._people or len(self._people) < MOST_KNOWN):
                self._people[whose] = name
            if said.has_joined is not None and (output := self._outputs.get(whose)) is not None:
                output.left_at_us = None if said.has_joined else self._at_us
        if not is_wanted:
            return
        output = self._output_of(said.whose, said.name)
        if output is not None:
            output.put(Piece(track.kind, line, said.whose, said.name, said.timestamp_ms), self._at_us)

    def on_turn(self, at_us: int) -> None:
        """See `Listener`."""
        if self._is_live and at_us - self._at_us > ASLEEP_US:
            self._awake_us = at_us + AWAKE_AFTER_US
        self._at_us = at_us = max(at_us, self._at_us)
        for whose, output in tuple(self._outputs.items()):
            if output.left_at_us is not None and at_us - output.left_at_us > GONE_AFTER_US:
                self._end(whose)
                continue
            output.hand_on(at_us, waits=at_us < self._awake_us)
            if output.outlet is not None:
                output.outlet.buffer.drop_old(at_us)
                output.outlet.buffer.wake()

    def _end(self, whose: UserId) -> None:
        """End the target of a participant who has left. One who returns gets a new target."""
        output = self._outputs.pop(whose)
        output.hand_on(self._at_us, final=True)
        if output.outlet is not None:
            self._loop.call_soon_threadsafe(self._close_in_background, output.outlet)
        output.current_entry()
        output.sound = None
        self._ended.append(output)

    def _put_picture(self, track: PictureTrack, timestamp: int, payload: bytes) -> None:
        whose = party(self._stream.product, track.user_id, track.channel_id)
        output = self._output_of(whose, track.user_name)
        if output is not None:
            output.put(Piece(track.kind, payload, whose, track.user_name, timestamp), self._at_us)

    def _give_still(self, track: PictureTrack, timestamp: int, jpeg: bytes) -> None:
        """Forward a JPEG, on the thread that creates them."""
        self._loop.call_soon_threadsafe(self._put_picture, track, timestamp, jpeg)

    def _output_of(self, whose: UserId, name: str | None, native: AudioForm | None = None) -> _Output | None:
        """Return the output for a user's media, or `None` if they are not forwarded."""
        wanted = self._tap.user
        if wanted == MIXED:
            return self._output(None, None, native)
        if wanted == EACH:
            output = self._output(whose, name, native)
            if output is not None and output.left_at_us is not None:
                output.left_at_us = self._at_us  # not all have arrived yet
            return output
        if str(whose) == wanted or (name is not None and name.casefold() == wanted.casefold()):
            return self._output(wanted, name, native)
        return None

    def _output(self, whose: UserId, name: str | None, native: AudioForm | None = None) -> _Output | None:
        """Return a user's output, creating it if needed, or `None` if there are too many."""
        output = self._outputs.get(whose)
        if output is not None:
            return output
        if len(self._outputs) >= MOST_OUTPUTS:
            if not self._has_refused:
                self._has_refused = True
                text = f"tap {self._tap}: only {MOST_OUTPUTS} participants get their own target"
                fields = {"stream_id": self._stream.stream_id, "what": self._tap.what, "state": "refused"}
                self._loop.call_soon_threadsafe(self._tell, fields, text)
            return None
        output = _Output(TapEntry(self._tap.what, self._tap.target.shown, whose, name))
        form = native or self._requested
        stream = self._stream
        beginning = Beginning(
            stream.product,
            stream.id,
            stream.stream_id,
            self._folder,
            self._tap.kinds,
            self._tap.sound(form.rate_hz, form.audio_channels) if AUDIO in self._tap.kinds else None,
            whose,
            name,
            tuple(self._people.items()) if whose is None else (),
        )
        output.outlet = Outlet(
            self._make_target(self._tap, beginning),
            beginning,
            output.entry,
            self._tap.buffer_s,
            self._tell,
            self._loop,
            restarts=self._tap.restart,
        )
        self._loop.call_soon_threadsafe(output.outlet.start)
        self._outputs[whose] = output
        return output

    # On the event loop.

    def _close_in_background(self, outlet: Outlet) -> None:
        task = asyncio.create_task(outlet.close(), name="a tap of someone who has left")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)  # the outlet reports a defect itself

    async def close(self) -> None:
        """See `StreamListener.close`."""
        jobs = [] if self._stills is None else [asyncio.wrap_future(job) for job in self._stills.jobs()]
        if jobs:
            await asyncio.wait(jobs, timeout=FINISH_S)
            await asyncio.sleep(0)  # the next round forwards their results
        for output in self._outputs.values():
            output.hand_on(self._at_us, final=True)
        outlets = [output.outlet for output in self._outputs.values() if output.outlet is not None]
        closing = [*self._closing, *(outlet.close() for outlet in outlets)]
        ended = await asyncio.gather(*closing, return_exceptions=True)
        for job in jobs:
            if job.done():
                job.result()  # defects must be visible
        for defect in ended:
            if defect is not None:
                raise defect

    def entries(self) -> list[TapEntry]:
        """See `StreamListener.entries`."""
        return [output.current_entry() for output in (*self._ended, *tuple(self._outputs.values()))]
