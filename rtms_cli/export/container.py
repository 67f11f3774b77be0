"""A recording → MP4 or Matroska: pictures, sound, subtitles, chapters, all on the recording's clock.

H.264 is copied, picture by picture, with its own timestamps; so are JPG and PNG where the container holds them. What
must be encoded again is told. Everything is read and written in the order of time, so that memory stays small.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import Any

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.export.audio import BLOCK_S, Mixer, Span, everybody, opus_bit_rate
from rtms_cli.export.checking import Sink, check_streams, muxing
from rtms_cli.export.clock import check_length
from rtms_cli.export.files import check_room
from rtms_cli.export.languages import spoken
from rtms_cli.export.pictures import Decoders
from rtms_cli.export.source import Recorded
from rtms_cli.export.text import cues
from rtms_cli.export.video import Shot, shots
from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.parties import label

FORMATS = ("mp4", "mkv")
LAYOUTS = ("video", "share", "side")
_MS = Fraction(1, 1000)
_COPIED = {"H264": "h264", "JPG": "mjpeg", "PNG": "png"}
_OFF_S = 1.5
"""A camera that has sent nothing for this long is off."""
_HALF = (960, 540)
_LONGEST_TITLE = 200
"""Characters of a chapter's title."""
_LOOKED_AT = 0.1
"""The part of the work that looks at the sound before it is written."""
_CHAPTER_S = 60.0
"""Speakers make a chapter at most this often."""

_Item = tuple[float, int, Callable[[], None]]
"""When, a number that keeps equal times apart, and what to write then."""


class ContainerOptions(Struct, frozen=True):
    """What a container shows."""

    layout: str = "video"
    user: UserId = None
    blank: bool = False
    """Show black while the camera is off, instead of its last picture."""


def write_container(
    recorded: Recorded, target: Path, options: ContainerOptions, progress: Callable[[float], None] = lambda _: None
) -> list[str]:
    """Write it, in the format of its extension.

    :returns: what the user should know, such as that pictures were encoded again.
    :raises Problem: if there is nothing to put into it.
    """
    import av

    check_length(recorded.seconds)
    pictures = sum(track.bytes for kind in ("video", "share") for track in recorded.tracks(kind))
    check_room(target, pictures / 4 + recorded.seconds * 4_000)
    form = target.suffix.lstrip(".")
    notes: list[str] = []
    with muxing(target), av.open(str(target), "w", format={"mp4": "mp4", "mkv": "matroska"}[form]) as container:
        sink = Sink(container)
        film = _film(sink, recorded, options, form, notes)
        sources: list[Iterator[_Item]] = [] if film is None else [film.items()]
        if recorded.tracks("audio"):
            sources.append(_sound(sink, recorded, form, lambda part: progress(_LOOKED_AT * part)))
        if not sources:
            raise Problem(f"{recorded.folder} has neither pictures nor sound.", "`rtms inspect` shows what it has.")
        sentences = recorded.sentences()
        if sentences:
            sources.append(_subtitles(sink, cues(sentences), form))
        marks = chapters(recorded)
        if marks:
            container.set_chapters(_chapters(marks, recorded.seconds))
        if recorded.manifest.title:
            container.metadata["title"] = recorded.manifest.title
        if language := spoken(sentences, form):
            for stream in container.streams:
                stream.metadata["language"] = language
        length = recorded.seconds or 1.0
        for at, _, write in merge(*sources, key=lambda item: item[:2]):
            write()
            progress(_LOOKED_AT + (1 - _LOOKED_AT) * min(1.0, at / length))
        if film is not None:
            film.finish()
    return notes + check_streams(target, sink.counts)


# Pictures.


def _film(
    sink: Sink, recorded: Recorded, options: ContainerOptions, form: str, notes: list[str]
) -> "_Copied | _Encoded | None":
    kinds = ("video", "share") if options.layout == "side" else (options.layout,)
    shown = [
        track for kind in kinds for track in recorded.tracks(kind) if options.user in (None, recorded.party(track))
    ]
    if not shown:
        if options.user is not None or options.layout == "share":
            raise Problem(f"{recorded.folder} has no such {options.layout}.", "`rtms inspect` shows what it has.")
        return None
    codecs = {track.codec for track in shown}
    sizes = {size[1:] for track in shown for size in track.sizes}
    reasons = []
    if options.layout == "side":
        reasons.append("side by side")
    if options.blank:
        reasons.append("black while a camera is off")
    if len(codecs) > 1 or not codecs <= set(_COPIED):
        reasons.append(f"different codecs ({', '.join(sorted(map(str, codecs)))})")
    elif codecs != {"H264"} and form == "mp4":
        reasons.append(f"{codecs.pop()} in MP4, which mkv would hold as it is")
    elif codecs != {"H264"} and len(sizes) > 1:
        reasons.append("pictures of different sizes")
    if reasons:
        notes.append(f"the pictures were encoded again: {'; '.join(reasons)}")
        return _Encoded(sink, recorded, options, notes)
    if len(sizes) > 1:
        listed = ", ".join(f"{width}×{height}" for width, height in sorted(sizes))
        notes.append(f"the size changes within the stream ({listed}); not every player follows")
    return _Copied(sink, recorded, options, shown[0].codec or "", max(sizes, default=(1280, 720)), notes)


class _Copied:
    """Payloads as packets."""

    def __init__(
        self,
        sink: Sink,
        recorded: Recorded,
        options: ContainerOptions,
        codec: str,
        size: tuple[int, int],
        notes: list[str],
    ) -> None:
        self._sink = sink
        self._recorded = recorded
        self._options = options
        self._notes = notes
        self._stream = sink.container.add_mux_stream(_COPIED[codec], width=size[0], height=size[1], time_base=_MS)

    def items(self) -> Iterator[_Item]:
        """Each picture when the next one is known: that is how long it stands."""
        skipped = 0
        current: str | None = None
        before: tuple[int, Shot] | None = None
        for shot in shots(self._recorded, self._options.layout, self._options.user):
            if shot.track.path != current and not shot.is_key:
                skipped += 1  # another camera, and not yet a picture to begin with
                continue
            current = shot.track.path
            at = max(0, round(shot.at * 1000))
            if before is not None:
                at = max(at, before[0] + 1)
                yield self._item(*before, at)
            before = (at, shot)
        if before is not None:
            end = max(before[0] + 1, round(self._recorded.seconds * 1000))
            yield self._item(*before, end)
        if skipped:
            self._notes.append(f"{skipped} frames before a key frame could not be shown")

    def _item(self, at: int, shot: Shot, until: int) -> _Item:
        return at / 1000, 1, lambda: self._write(at, shot, until)

    def _write(self, at: int, shot: Shot, until: int) -> None:
        import av

        packet: Any = av.Packet(shot.read(self._recorded.folder))
        packet.stream, packet.time_base = self._stream, _MS
        packet.pts = packet.dts = at
        packet.duration = until - at
        packet.is_keyframe = shot.is_key
        self._sink.mux(packet)

    def finish(self) -> None:
        """Nothing is held back."""


class _Encoded:
    """Pictures drawn on a canvas and encoded."""

    def __init__(self, sink: Sink, recorded: Recorded, options: ContainerOptions, notes: list[str]) -> None:
        self._sink = sink
        self._recorded = recorded
        self._options = options
        self._notes = notes
        self._decoders = Decoders(recorded.folder)
        kinds = ("share", "video") if options.layout == "side" else (options.layout,)
        if options.layout == "side":
            self._places = {"share": (0, 0, *_HALF), "video": (_HALF[0], 0, *_HALF)}
            width, height = 2 * _HALF[0], _HALF[1]
        else:
            sizes = [size[1:] for track in recorded.tracks(options.layout) for size in track.sizes]
            width, height = max(sizes, default=(1280, 720))
            width, height = width + width % 2, height + height % 2
            self._places = {options.layout: (0, 0, width, height)}
        self._kinds = kinds
        self._stream = _encoder(sink, width, height)
        import numpy as np

        self._canvas = np.zeros((height, width, 3), np.uint8)
        self._last = -1
        self._has_drawn = False
        self._packet: Any = None
        """The last one, until it is known how long it stands."""

    def items(self) -> Iterator[_Item]:
        """Each change of the canvas: a picture, or a camera that has gone off."""
        user = self._options.user
        for kind in self._kinds:
            if not self._recorded.tracks(kind):
                self._notes.append(f"there is no {kind}: its half stays black")
        found = (shots(self._recorded, kind, user if kind == "video" else None) for kind in self._kinds)
        before: float | None = None
        for shot in merge(*found, key=lambda shot: shot.at):
            at = max(0.0, shot.at)
            if self._options.blank and before is not None and at - before > _OFF_S:
                yield before + _OFF_S, 1, lambda off=before + _OFF_S: self._clear(off)  # type: ignore[misc]
            yield at, 1, lambda at=at, shot=shot: self._draw(at, shot)  # type: ignore[misc]
            before = at
        if self._options.blank and before is not None and self._recorded.seconds - before > _OFF_S:
            yield before + _OFF_S, 1, lambda: self._clear(before + _OFF_S)

    def _clear(self, at: float) -> None:
        self._canvas[:] = 0
        self._emit(at)

    def _draw(self, at: float, shot: Shot) -> None:
        frame = self._decoders.decode(shot)
        if frame is None:
            return
        self._has_drawn = True
        left, top, width, height = self._places[shot.track.kind]
        scale = min(width / frame.width, height / frame.height)
        wide, high = max(2, int(frame.width * scale)), max(2, int(frame.height * scale))
        picture = frame.reformat(wide, high, "rgb24").to_ndarray()
        x, y = left + (width - wide) // 2, top + (height - high) // 2
        self._canvas[top : top + height, left : left + width] = 0
        self._canvas[y : y + high, x : x + wide] = picture
        self._emit(at)

    def _emit(self, at: float) -> None:
        import av

        stamp = max(round(at * 1000), self._last + 1)
        self._last = stamp
        frame: Any = av.VideoFrame.from_ndarray(self._canvas, format="rgb24")
        frame.pts, frame.time_base = stamp, _MS
        self._write(self._stream.encode(frame))

    def _write(self, packets: Sequence[Any]) -> None:
        """Write packets, each when the next one is known: that is how long it stands."""
        for packet in packets:
            if self._packet is not None:
                self._packet.duration = packet.pts - self._packet.pts
                self._sink.mux(self._packet)
            self._packet = packet

    def finish(self) -> None:
        """Write what the encoder holds back; the last picture stands until the end."""
        self._write(self._stream.encode(None))
        if self._packet is not None:
            self._packet.duration = max(1, round(self._recorded.seconds * 1000) - self._packet.pts)
            self._sink.mux(self._packet)
        if self._decoders.failed and not self._has_drawn:
            raise Problem(
                f"None of the {self._decoders.failed} pictures can be decoded: there is nothing to show.",
                "`rtms inspect` shows what the recording has.",
            )
        if self._decoders.failed:
            self._notes.append(f"{self._decoders.failed} pictures could not be decoded")


def _encoder(sink: Sink, width: int, height: int) -> Any:
    import av

    name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = sink.container.add_stream(name, rate=25)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.time_base = _MS
    if name == "libx264":
        stream.options = {"preset": "veryfast", "crf": "21", "bf": "0"}
    return stream


# Sound, text, chapters.


def _sound(sink: Sink, recorded: Recorded, form: str, progress: Callable[[float], None]) -> Iterator[_Item]:
    mixer = Mixer(recorded, [everybody(recorded)])
    span = Span(0.0, mixer.seconds)
    gain = mixer.gain(span, progress)
    layout = "stereo" if mixer.channels == 2 else "mono"
    rate = 48_000 if form == "mkv" or mixer.rate > 48_000 else mixer.rate
    stream = sink.container.add_stream("libopus" if form == "mkv" else "aac", rate=rate)
    stream.layout = layout
    if form == "mkv":
        stream.bit_rate = opus_bit_rate(mixer.rate, mixer.channels)
    return _sound_items(sink, stream, mixer, span, gain, layout)


class _Given:
    """How much sound the encoder has."""

    samples = 0


def _sound_items(sink: Sink, stream: Any, mixer: Mixer, span: Span, gain: float, layout: str) -> Iterator[_Item]:
    import av
    import numpy as np

    given = _Given()
    resampler: Any = av.AudioResampler(stream.codec_context.format or "fltp", layout, stream.rate)

    def write(block: Any) -> None:
        if block is None:
            frames = resampler.resample(None)
        else:
            data = np.ascontiguousarray(np.clip(block * gain, -1, 1).T, dtype=np.float32)
            frame: Any = av.AudioFrame.from_ndarray(data, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = mixer.rate, Fraction(1, mixer.rate)
            frame.pts = given.samples  # the encoder's delay is made up for only where it knows the time
            given.samples += len(block)
            frames = resampler.resample(frame)
        for one in frames:
            sink.mux(stream.encode(one))
        if block is None:
            sink.mux(stream.encode(None))

    with mixer:
        at = 0.0
        for block in mixer.blocks(span):
            yield at, 0, lambda block=block: write(block)  # type: ignore[misc]
            at += BLOCK_S
        yield at, 0, lambda: write(None)


def _subtitles(sink: Sink, lines: Sequence[tuple[float, float, str, str]], form: str) -> Iterator[_Item]:
    stream = sink.container.add_mux_stream("mov_text" if form == "mp4" else "subrip", time_base=_MS)
    return _subtitle_items(sink, stream, lines, form)


def _subtitle_items(
    sink: Sink, stream: Any, lines: Sequence[tuple[float, float, str, str]], form: str
) -> Iterator[_Item]:
    import av

    def write(start: float, end: float, text: str) -> None:
        data = text.encode("utf-8", "replace")[:60_000]
        packet: Any = av.Packet(len(data).to_bytes(2, "big") + data if form == "mp4" else data)
        packet.stream, packet.time_base = stream, _MS
        packet.pts = packet.dts = round(start * 1000)
        packet.duration = max(1, round((end - start) * 1000))
        sink.mux(packet)

    for start, end, name, text in lines:
        said = f"{name}: {text}" if name else text
        yield start, 2, lambda start=start, end=end, said=said: write(start, end, said)  # type: ignore[misc]


def chapters(recorded: Recorded) -> list[tuple[float, str]]:
    """Where something began: a share, someone who joined, another speaker (at most once a minute)."""
    names, product = recorded.names(), recorded.manifest.product
    marks: list[tuple[float, str]] = []
    spoke = -_CHAPTER_S
    for event in recorded.lines("events"):
        at, kind = event.get("t"), event.get("event")
        if at is None:
            continue
        at = recorded.at(at)
        who = ", ".join(label(product, one.party, one.name or names.get(one.party)) for one in recorded.people(event))
        if kind == "SHARING_START":
            marks.append((at, f"{who} shares"))
        elif kind == "PARTICIPANT_JOIN" and at > 1:
            marks.append((at, f"{who} joins"))
        elif kind == "ACTIVE_SPEAKER_CHANGE" and at - spoke >= _CHAPTER_S:
            spoke = at
            marks.append((at, f"{who} speaks"))
        elif kind == "MARK":
            marks.append((at, str(event.get("text") or "marked")[:_LONGEST_TITLE]))
    return sorted(marks)


def _chapters(marks: Sequence[tuple[float, str]], seconds: float) -> Any:
    found = []
    for number, (at, title) in enumerate(marks):
        end = marks[number + 1][0] if number + 1 < len(marks) else max(seconds, at + 1)
        start_ms, end_ms = max(0, round(at * 1000)), round(end * 1000)
        if end_ms > start_ms:
            found.append(
                {"id": number, "start": start_ms, "end": end_ms, "time_base": _MS, "metadata": {"title": title}}
            )
    return found
