"""A listener in every simulated session: what it is passed on must be what the WAV files have, in its place."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from rtms_cli.live.flow import LONGEST_SILENCE_S, Flow
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.audio import HEADER_SIZE, AudioForm, AudioTrack
from rtms_cli.recording.manifest import TapEntry
from rtms_cli.recording.timeline import Segment
from rtms_cli.recording.tracks import PictureTrack, TextTrack

HOLD_MS = 200

Call = tuple[str, int, bytes]
"""What a listener was told: the file, the first sample, and the content."""


def call(track: AudioTrack, start: int, chunks: Sequence[bytes]) -> Call:
    """Samples that a listener was told of."""
    return track.path, start, b"".join(chunks)


class Heard(Struct):
    """The sound of one file, as it was passed on."""

    track: AudioTrack
    flow: Flow
    pieces: list[tuple[int, bytes, int]] = []
    """Position, PCM (nothing of silence), and the position behind it."""


class Ear:
    """Listens to one session; a `recording.hearing.StreamListener`."""

    def __init__(self) -> None:
        self.heard: dict[tuple[UserId, UserId, AudioForm, Segment], Heard] = {}
        self.lines: dict[str, int] = {}
        self.calls: list[Call] = []
        """All that it was told, in order."""
        self.is_closed = False
        self._at_us = 0

    def on_audio(self, track: AudioTrack, start: int, chunks: Sequence[bytes]) -> None:
        """See `Listener`."""
        self.calls.append(call(track, start, chunks))
        form = track.form
        one = self.heard.setdefault(
            (track.user_id, track.channel_id, form, track.segment),
            Heard(track, Flow(form.rate_hz, form.block, HOLD_MS)),
        )
        one.flow.place(track.zero_ms * form.rate_hz // 1000 + start, b"".join(chunks), self._at_us)

    def on_picture(self, track: PictureTrack, timestamp: int | None, payload: bytes) -> None:
        """See `Listener`."""

    def on_line(self, track: TextTrack, line: bytes) -> None:
        """See `Listener`."""
        assert line.endswith(b"\n")
        self.calls.append((track.path, 0, line))
        self.lines[track.path] = self.lines.get(track.path, 0) + 1

    def on_turn(self, at_us: int) -> None:
        """See `Listener`."""
        assert not self.is_closed
        self._at_us = max(at_us, self._at_us)
        self._take(final=False)

    async def close(self) -> None:
        """See `StreamListener`."""
        self.is_closed = True
        self._take(final=True)

    def entries(self) -> list[TapEntry]:
        """See `StreamListener`."""
        return []

    def _take(self, *, final: bool) -> None:
        for one in self.heard.values():
            for position, pcm in one.flow.take(self._at_us, final=final):
                end = position + len(pcm) // one.track.form.block
                if pcm.strip(b"\0"):
                    one.pieces.append((position, pcm, end))
                elif one.pieces and not one.pieces[-1][1] and one.pieces[-1][2] == position:
                    one.pieces[-1] = one.pieces[-1][0], b"", end  # hours of silence as one piece
                else:
                    one.pieces.append((position, b"", end))


def check_heard(ears: Sequence[Ear], contents: Mapping[str, bytes | bytearray]) -> Iterator[str]:
    """Compare what was passed on with the files; a recording that goes on has a listener for each session."""
    files: dict[str, list[Heard]] = {}
    for ear in ears:
        for one in ear.heard.values():
            if not one.track.assumed:
                files.setdefault(one.track.path, []).append(one)
    for path, sessions in files.items():
        whole = np.frombuffer(contents[path], "<i2", offset=HEADER_SIZE)
        told = late = 0
        for one in sessions:
            yield from _check_sound(one, whole)
            told += sum(int(np.count_nonzero(np.frombuffer(pcm, "<i2"))) for _, pcm, _ in one.pieces)
            late += one.flow.late * (one.track.form.block // 2)
        if (missing := int(np.count_nonzero(whole)) - told) > late:
            yield f"{path}: listeners missed {missing} samples, and {late} were late"


def _check_sound(one: Heard, whole: npt.NDArray[np.int16]) -> Iterator[str]:
    track = one.track
    path, channels, rate_hz = track.path, track.form.audio_channels, track.form.rate_hz
    zero = track.zero_ms * rate_hz // 1000
    before: int | None = None
    for position, pcm, end in one.pieces:
        if before is not None and position != before and position - before <= LONGEST_SILENCE_S * rate_hz:
            yield f"{path}: a listener was given {position - zero} behind {before - zero}"
        before = end
        sound = np.frombuffer(pcm, "<i2")
        start = (position - zero) * channels
        kept = whole[max(0, start) : max(0, start) + len(sound)]
        heard = sound[max(0, -start) :][: len(kept)]
        if (heard[heard != 0] != kept[heard != 0]).any() or sound[len(kept) + max(0, -start) :].any():
            yield f"{path}: a listener was given other samples than the file has, from {start} on"


class Guest:
    """Comes and goes while a recording is made; meanwhile, it hears what its host hears.

    :param host: a listener that stays to the end and hears everything first.
    """

    def __init__(self, host: Ear) -> None:
        self._host = host
        self._first: int | None = None
        self._told: list[Call] = []
        self.is_gone = False
        self.was_here: tuple[int, int] | None = None
        """What the host had heard when this one was let in for certain, and when it was asked to leave."""

    def come(self, stream: Stream, folder: Path | None) -> "Guest":
        """See `OpenListener`."""
        return self

    def on_audio(self, track: AudioTrack, start: int, chunks: Sequence[bytes]) -> None:
        """See `Listener`."""
        self._note(call(track, start, chunks))

    def on_picture(self, track: PictureTrack, timestamp: int | None, payload: bytes) -> None:
        """See `Listener`."""

    def on_line(self, track: TextTrack, line: bytes) -> None:
        """See `Listener`."""
        self._note((track.path, 0, line))

    def on_turn(self, at_us: int) -> None:
        """See `Listener`."""
        assert not self.is_gone, "it heard something behind its end"

    async def close(self) -> None:
        """See `StreamListener`."""
        self.is_gone = True

    def entries(self) -> list[TapEntry]:
        """See `StreamListener`."""
        raise AssertionError("the manifest must not ask for it")

    def check(self) -> Iterator[str]:
        """What it missed or heard too much."""
        heard, first = self._host.calls, self._first if self._first is not None else 0
        if heard[first : first + len(self._told)] != self._told:
            yield "a guest heard something else than who was there all the time"
        if self.was_here is not None and self._first is not None:
            since, until = self.was_here
            if first > since or first + len(self._told) < until:
                yield f"a guest heard {first} to {first + len(self._told)}, and was there from {since} to {until}"
        elif self.was_here is not None and self.was_here[0] < self.was_here[1]:
            yield "a guest heard nothing"

    def _note(self, one: Call) -> None:
        assert not self.is_gone, "it heard something behind its end"
        if self._first is None:
            self._first = len(self._host.calls) - 1
        self._told.append(one)
