"""WAV files of a recording → one file, one a participant, or one channel a participant; all in blocks."""

import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of
from rtms_cli.export.checking import Sink, check_sound, check_streams, muxing
from rtms_cli.export.clock import check_length
from rtms_cli.export.files import check_room
from rtms_cli.export.source import Recorded
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.parties import BY_CHANNEL
from rtms_cli.protocol.times import clock_time, spoken_length
from rtms_cli.recording.manifest import TrackEntry
from rtms_cli.recording.names import Names, participant_stem
from rtms_cli.untrusted import open_sound

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Block = npt.NDArray[np.float32]
    """One row a sample, one column a channel."""

FORMATS = ("wav", "flac", "opus", "mp3")
BLOCK_S = 1
SILENCE_DBFS = -45.0
"""What stays under this for longer than `PAUSE_S` is silence."""
PAUSE_S = 0.5
_FRAME_S = 0.02
_CODECS = {"opus": ("libopus", "ogg"), "mp3": ("libmp3lame", "mp3")}
_OPUS_BIT_RATE, _WIDE_OPUS_BIT_RATE, _WIDE_HZ = 24_000, 32_000, 24_000
"""Bits per second of a channel, below `_WIDE_HZ` and from there on: transparent for speech, smaller than FLAC."""
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_HEADROOM = 0.98
_WAV_LIMIT = 4_000_000_000

Progress = Callable[[float], None]
"""Receives the progress, from 0 to 1."""


def opened_sound(folder: Path, path: str) -> Any:
    """A WAV file of a recording, which may be damaged, or not be one.

    :raises Problem: if it cannot be read.
    """
    try:
        return open_sound(folder, path)
    except OSError as error:
        why = f"{folder / path} cannot be read: {reason_of(error)}."
        raise Problem(why, "`rtms repair` may restore it from the capture.") from None


class _Facts(Struct, frozen=True):
    """What a sound file says of itself."""

    samplerate: int
    channels: int
    duration: float


def _facts(folder: Path, path: str) -> _Facts:
    with opened_sound(folder, path) as sound:
        return _Facts(sound.samplerate, sound.channels, sound.frames / sound.samplerate)


class Voice(Struct, frozen=True):
    """What goes into one channel: a participant's files, or everyone's."""

    stem: str
    tracks: tuple[TrackEntry, ...]


class Span(Struct, frozen=True):
    """A stretch of the recording that is kept, in seconds."""

    start: float
    end: float


def voices(recorded: Recorded) -> list[Voice]:
    """The participants who have tracks of their own; no two have the same stem."""
    found: dict[tuple[UserId, UserId], list[TrackEntry]] = {}
    for track in recorded.tracks("audio"):
        if (whose := recorded.party(track)) is not None:
            channel = track.channel_id if whose == track.user_id else whose  # a user's who has that channel
            found.setdefault((whose, channel), []).append(track)
    names, given = recorded.names(), Names()
    return [
        Voice(given.distinct(participant_stem(whose, names.get(whose))), tuple(tracks))
        for (whose, _), tracks in found.items()
    ]


def everybody(recorded: Recorded) -> Voice:
    """All sound in one: as the server mixed it, or the participants' tracks together.

    Contact Center and Phone mix nothing: what has no `channel_id` there is one more voice. Elsewhere a channel's track
    is not in the mix either, nor is that of a participant who was recorded while nothing was mixed.

    :raises Problem: if there is no sound.
    """
    tracks = recorded.tracks("audio")
    if not tracks:
        raise Problem(f"{recorded.folder} has no audio.", "`rtms inspect` shows what it has.")
    mixed = [track for track in tracks if recorded.party(track) is None]
    if mixed and recorded.manifest.product not in BY_CHANNEL:
        tracks = [
            track
            for track in tracks
            if track in mixed or track.channel_id is not None or not any(_are_together(track, one) for one in mixed)
        ]
    return Voice("mixed", tuple(tracks))


def _are_together(one: TrackEntry, other: TrackEntry) -> bool:
    """Whether two tracks have packets from the same time, as far as they say."""
    first, last = one.first_timestamp, one.last_timestamp
    if first is None or last is None or other.first_timestamp is None or other.last_timestamp is None:
        return True
    return first <= other.last_timestamp and other.first_timestamp <= last


def export_audio(
    recorded: Recorded,
    channels: Sequence[Voice],
    target: Path,
    *,
    trim: Span | None = None,
    only_speech: bool = False,
    progress: Progress = lambda _: None,
) -> list[Span]:
    """Write voices side by side into one file, by its extension: one voice in its own channels, several mono each.

    A part (`trim`) is as long for a voice that ends before it does, so that the files of all voices fit together.

    :returns: what was kept; more than one span where silences were cut.
    :raises Problem: if the format cannot hold this many channels, or the part lies behind the end of the sound.
    """
    with muxing(target), ExitStack() as stack:
        mixer = stack.enter_context(Mixer(recorded, channels))
        wanted = Span(0.0, mixer.seconds) if trim is None else _trimmed(recorded, trim, mixer.seconds)
        check_room(target, (wanted.end - wanted.start) * _bytes_per_s(target, mixer))
        steps = 3 if only_speech else 2
        gain = mixer.gain(wanted, lambda part: progress(part / steps))
        kept = [wanted]
        if only_speech:
            kept = speech(mixer, wanted, gain, lambda part: progress((1 + part) / steps))
        writer = stack.enter_context(_writer(target, mixer.rate, mixer.channels, wanted.end - wanted.start))
        total, done = sum(span.end - span.start for span in kept) or 1.0, 0.0
        for span in kept:
            for block in mixer.blocks(span):
                writer.write(block * gain)
                done += len(block) / mixer.rate
                progress((steps - 1 + min(1.0, done / total)) / steps)
    writer.check()
    return kept


def _trimmed(recorded: Recorded, trim: Span, seconds: float) -> Span:
    """The part of a recording that is wanted, as far as there is sound.

    :param seconds: where the sound of the voices in question ends.
    :raises Problem: if there is none.
    """
    ends = (recorded.clock.track(track) + (track.duration or 0.0) for track in recorded.tracks("audio"))
    length = max(seconds, *ends)
    if trim.start >= length:
        shown = f"{clock_time(trim.start)} to {clock_time(trim.end)}"
        what = f"The audio is {spoken_length(length)} long: there is nothing from {shown}."
        raise Problem(what, "--trim takes START and END, counted from the beginning of the recording.")
    return Span(trim.start, min(trim.end, length))


def _bytes_per_s(target: Path, mixer: "Mixer") -> float:
    pcm = mixer.rate * mixer.channels * 2
    return {".wav": pcm, ".flac": pcm / 20}.get(target.suffix, 4_000.0 * mixer.channels)


def cut_map(kept: Sequence[Span]) -> str:
    """The map of what `--only-speech` left: where each piece was, and where it is now."""
    pieces, at = [], 0.0
    for span in kept:
        pieces.append({"from": round(span.start, 3), "to": round(span.end, 3), "at": round(at, 3)})
        at += span.end - span.start
    return json.dumps({"kept": pieces, "seconds": round(at, 3)}, indent=2) + "\n"


def speech(mixer: "Mixer", wanted: Span, gain: float, progress: Progress) -> list[Span]:
    """Where someone can be heard, with half a pause of silence around it."""
    import numpy as np

    frame = round(mixer.rate * _FRAME_S)
    threshold = 10 ** (SILENCE_DBFS / 20)
    kept: list[Span] = []
    at = wanted.start
    rest = np.zeros((0, mixer.channels), np.float32)
    silence = np.zeros((frame - 1, mixer.channels), np.float32)  # so that the last frame is a whole one
    for block in chain(mixer.blocks(wanted), (silence,)):
        rest = np.concatenate([rest, block])
        count = len(rest) // frame
        frames = rest[: count * frame].reshape(count, frame * mixer.channels)
        loud = np.sqrt(np.mean(np.square(frames * gain), axis=1)) > threshold
        for number in np.flatnonzero(loud):
            start = max(wanted.start, at + number * _FRAME_S - PAUSE_S / 2)
            end = min(wanted.end, at + (number + 1) * _FRAME_S + PAUSE_S / 2)
            if kept and start <= kept[-1].end:
                kept[-1] = Span(kept[-1].start, end)
            else:
                kept.append(Span(start, end))
        at += count * _FRAME_S
        rest = rest[count * frame :]
        progress(min(1.0, (at - wanted.start) / (wanted.end - wanted.start)))
    return kept


def _compare(recorded: Recorded, track: TrackEntry, facts: _Facts) -> None:
    """Take note of a file that is not what the manifest says."""
    if track.duration is not None and facts.duration < track.duration - _FRAME_S:
        recorded.tell(f"{track.path} has {facts.duration:.1f} of {track.duration:.1f} s")
    for what, has, known in (("Hz", facts.samplerate, track.rate), ("channels", facts.channels, track.channels)):
        if known and has != known:
            recorded.tell(f"{track.path} has {has} {what}, and not {known} as manifest.json says")


class Mixer:
    """Reads voices side by side, at the highest rate among them; `with` it.

    :param channels: one voice keeps its own channels, several give one channel each.
    """

    def __init__(self, recorded: Recorded, channels: Sequence[Voice]) -> None:
        self._folder, self._clock = recorded.folder, recorded.clock
        self._voices = channels
        infos = {track.path: _facts(recorded.folder, track.path) for voice in channels for track in voice.tracks}
        for voice in channels:
            for track in voice.tracks:
                _compare(recorded, track, infos[track.path])
        self.rate: int = max(info.samplerate for info in infos.values())
        self._own: int = max(info.channels for info in infos.values()) if len(channels) == 1 else 1
        self.channels = self._own * len(channels)
        self.seconds = max(
            recorded.clock.track(track) + infos[track.path].duration for voice in channels for track in voice.tracks
        )
        check_length(self.seconds)
        self._open: list[list[_Reader]] = []

    def __enter__(self) -> "Mixer":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        for readers in self._open:
            for reader in readers:
                reader.close()
        self._open = []

    def blocks(self, span: Span) -> "Iterator[Block]":
        """The sound of a span, a second at a time; sums may pass 1."""
        import numpy as np

        self._close()
        self._open = [
            [
                _Reader(self._folder / track.path, self._clock.track(track), self.rate, self._own, span.start)
                for track in voice.tracks
            ]
            for voice in self._voices
        ]
        left = round((span.end - span.start) * self.rate)
        while left > 0:
            count = min(left, self.rate * BLOCK_S)
            left -= count
            yield np.concatenate([_sum([reader.read(count) for reader in readers]) for readers in self._open], axis=1)

    def gain(self, span: Span, progress: Progress) -> float:
        """What keeps the loudest sum from clipping; 1 where one file alone is read, which cannot."""
        if all(len(voice.tracks) == 1 for voice in self._voices):
            return 1.0
        import numpy as np

        peak, done = 0.0, 0
        for block in self.blocks(span):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            done += len(block)
            progress(min(1.0, done / self.rate / (span.end - span.start)))
        return 1.0 if peak <= 1.0 else _HEADROOM / peak


def _sum(blocks: "Sequence[Block]") -> "Block":
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    return total


class _Reader:
    """One WAV file as a stretch of a longer silence, at another rate where that is wanted."""

    def __init__(self, path: Path, offset: float, rate: int, channels: int, start: float) -> None:
        import numpy as np

        self._path = path
        self._file = opened_sound(path.parent, path.name)
        self._channels = channels
        own = int(self._file.samplerate)
        self._resampler: Any = None
        if own != rate:
            import av

            self._resampler = av.AudioResampler("fltp", "stereo" if channels == 2 else "mono", rate)
        self._own = own
        self._silence = max(0, round((offset - start) * rate))
        self._file.seek(min(self._file.frames, max(0, round((start - offset) * own))))
        self._buffer = np.zeros((0, channels), np.float32)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def read(self, count: int) -> "Block":
        """So many samples, with silence before the file's beginning and after its end."""
        import numpy as np

        before = min(count, self._silence)
        self._silence -= before
        found = self._take(count - before)
        block = np.zeros((count, self._channels), np.float32)
        block[before : before + len(found)] = found
        return block

    def _take(self, count: int) -> "Block":
        import numpy as np

        if self._resampler is None:
            return self._read(count)
        while len(self._buffer) < count:
            data = self._read(self._own)
            frames = self._resampler.resample(self._frame(data) if len(data) else None)
            pieces = [frame.to_ndarray().T for frame in frames if frame.samples]
            if not pieces:
                if not len(data):
                    break
                continue
            self._buffer = np.concatenate([self._buffer, *pieces])
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _read(self, count: int) -> "Block":
        import soundfile

        try:
            return self._shaped(self._file.read(count, dtype="float32", always_2d=True))
        except soundfile.LibsndfileError as error:
            raise OSError(errno.EIO, str(error.error_string).rstrip("."), str(self._path)) from None

    def _frame(self, data: "Block") -> Any:
        import av
        import numpy as np

        layout = "stereo" if self._channels == 2 else "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data.T), format="fltp", layout=layout)
        frame.sample_rate = self._own
        return frame

    def _shaped(self, data: "Block") -> "Block":
        """In as many channels as are wanted: mono on both sides, or both sides in one."""
        import numpy as np

        if data.shape[1] == self._channels:
            return data
        if self._channels == 1:
            mono: Block = data.mean(axis=1, keepdims=True, dtype=np.float32)
            return mono
        return np.repeat(data, self._channels, axis=1)


class Writer(Protocol):
    """Takes blocks; `with` it."""

    def __enter__(self) -> "Writer": ...

    def __exit__(self, *_: object) -> None: ...

    def write(self, block: "Block") -> None:
        """Append a block."""

    def check(self) -> None:
        """Hold the closed file against what was written.

        :raises Problem: if it differs.
        """


def opus_bit_rate(rate: int, channels: int) -> int:
    """Bits per second for speech.

    :param rate: the sound's samples per second before it is encoded.
    """
    return channels * (_OPUS_BIT_RATE if rate < _WIDE_HZ else _WIDE_OPUS_BIT_RATE)


def _writer(target: Path, rate: int, channels: int, seconds: float) -> Writer:
    form = target.suffix.lstrip(".")
    limit = {"wav": 1024, "flac": 8, "opus": 2, "mp3": 2}[form]
    if channels > limit:
        raise Problem(f"{form} holds {limit} channels, and there are {channels}.", "Use wav, or --per-speaker.")
    if form in _CODECS:
        return _Encoded(target, form, rate, channels)
    return _SoundFile(target, rate, channels, seconds)


class _SoundFile:
    """WAV (RF64 where it may pass 4 GB) and FLAC, 16 bits."""

    def __init__(self, target: Path, rate: int, channels: int, seconds: float) -> None:
        import soundfile

        large = seconds * rate * channels * 2 > _WAV_LIMIT
        form = "FLAC" if target.suffix == ".flac" else "RF64" if large else "WAV"
        self._file: Any = soundfile.SoundFile(os.fsencode(target), "w", rate, channels, "PCM_16", format=form)
        self._target, self._form, self._samples = target, (rate, channels), 0

    def __enter__(self) -> "_SoundFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._try(self._file.close)

    def write(self, block: "Block") -> None:
        self._try(self._file.write, block)
        self._samples += len(block)

    def _try(self, what: Callable[..., None], *given: "Block") -> None:
        import soundfile

        try:
            what(*given)
        except soundfile.LibsndfileError:  # it does not say why
            raise OSError(errno.EIO, "the system rejected it, perhaps because the disk is full") from None

    def check(self) -> None:
        check_sound(self._target, *self._form, self._samples)


class _Encoded:
    """Opus in Ogg, and MP3."""

    def __init__(self, target: Path, form: str, rate: int, channels: int) -> None:
        import av

        codec, container = _CODECS[form]
        self._rate = rate
        self._layout = "stereo" if channels == 2 else "mono"
        self._target = target
        self._container = av.open(str(target), "w", format=container)
        self._sink = Sink(self._container)
        encoded = next((one for one in _OPUS_RATES if one >= rate), 48_000) if form == "opus" else rate
        options = {"frame_duration": "60"} if form == "opus" else None  # a sixth smaller than with 20 ms
        self._stream = cast("Any", self._container.add_stream(codec, rate=encoded, options=options))
        self._stream.layout = self._layout
        if form == "opus":
            self._stream.bit_rate = opus_bit_rate(rate, channels)
        self._resampler = av.AudioResampler(self._stream.codec_context.format or "s16", self._layout, encoded)

    def __enter__(self) -> "_Encoded":
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            for frame in self._resampler.resample(None):
                self._sink.mux(self._stream.encode(frame))
            self._sink.mux(self._stream.encode(None))
        self._container.close()

    def write(self, block: "Block") -> None:
        import av
        import numpy as np

        data = np.ascontiguousarray(np.clip(block, -1, 1).T, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(data, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        for one in self._resampler.resample(frame):
            self._sink.mux(self._stream.encode(one))

    def check(self) -> None:
        check_streams(self._target, self._sink.counts)
