"""Everything but audio: pictures with their index lines; transcript, chat and events as JSON lines (RECORDING)."""

import re
from collections import deque
from hashlib import sha256

import msgspec
from msgspec import Struct

from rtms_cli.protocol.messages import UserId, dumps
from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.codecs import codec_name
from rtms_cli.recording.files import Files
from rtms_cli.recording.h264 import Size
from rtms_cli.recording.manifest import TrackEntry
from rtms_cli.recording.pictures import Picture, read_picture
from rtms_cli.recording.timeline import is_sane
from rtms_cli.recording.track import ClosedTrackError, Track

EXTENSIONS: dict[int | None, str] = {Codec.H264: "h264", Codec.JPG: "mjpeg", Codec.PNG: "pngs"}
"""File extensions by codec; what is not one of these is kept as `.bin`."""

MOST_SIZES = 1_000
"""Changes of resolution that a track lists."""


class _IndexLine(Struct, omit_defaults=True):
    offset: int
    length: int
    timestamp: int | None
    key: bool
    parameter_sets: bool
    """Whether an SPS or PPS is in it (H.264)."""
    at_ms: int | None = None
    """When it came by our clock, where it had no usable timestamp; the timestamp is then about that on Zoom's."""


class PictureTrack(Track):
    """One participant's video or share in one codec: the payloads one after the other, and an index line for each."""

    def __init__(self, kind: str, path: str, user_id: UserId, user_name: str | None, codec: int | None) -> None:
        super().__init__(path, user_id, user_name)
        self.kind = kind
        self.codec = codec
        self.sizes: list[tuple[int | None, int, int]] = []
        self._size: Size | None = None
        self._waiting: list[tuple[int | None, bytes, Picture, int | None]] = []
        self._waiting_nbytes = 0

    @property
    def waiting(self) -> int:
        """Bytes that wait for the next flush."""
        return self._waiting_nbytes

    def add(self, timestamp: int | None, payload: bytes, at_ms: int | None = None) -> None:
        """Keep one picture or access unit.

        :param at_ms: when it came, where the timestamp is not its own.
        """
        if not self.is_open:
            raise ClosedTrackError(self.path)
        self.packets += 1
        self.nbytes += len(payload)
        if at_ms is None:
            self._note(timestamp)
        picture = read_picture(self.codec, payload)
        if picture.size is not None and picture.size != self._size:
            self._size = picture.size
            if len(self.sizes) < MOST_SIZES:
                self.sizes.append((timestamp, *picture.size))
        self._waiting.append((timestamp, payload, picture, at_ms))
        if self.listener is not None:
            self.listener.on_picture(self, timestamp, payload)
        self._waiting_nbytes += len(payload)
        self.dirty = True

    def flush(self, files: Files) -> None:
        """Append what has come since the last flush: the payloads, then their index lines.

        :raises OSError: what was to be appended is lost; the next flush goes on behind the last good frame.
        """
        waiting, self._waiting, self._waiting_nbytes, self.dirty = self._waiting, [], 0, False
        place = files.append(self.path, b"".join(payload for _, payload, _, _ in waiting))
        lines: list[bytes] = []
        for timestamp, payload, picture, at_ms in waiting:
            line = _IndexLine(place, len(payload), timestamp, picture.is_key, picture.has_parameter_sets, at_ms)
            lines.append(_line(line))
            place += len(payload)
        files.append(f"{self.path}.index.jsonl", b"".join(lines))

    def entry(self, origin_ms: int | None, most_gaps: int) -> TrackEntry:
        """The track's part of the manifest; pictures have no gaps, only times (`most_gaps` is for audio)."""
        first = self.first_timestamp
        return TrackEntry(
            kind=self.kind,
            path=self.path,
            user_id=self.user_id,
            user_name=self.user_name,
            channel_id=self.channel_id,
            codec=None if self.codec is None else codec_name(self.codec),
            packets=self.packets,
            bytes=self.nbytes,
            first_timestamp=first,
            last_timestamp=self.last_timestamp,
            duration=self.seconds,
            offset=(first - origin_ms) / 1000 if first is not None and origin_ms is not None else None,
            sizes=self.sizes,
        )


_MOST_RECENT = 1_000
"""Lines of a text that are remembered, in case the next owner of the stream hears them too."""
_START = re.compile(rb'\{"t":(null|-?[\d.e-]+),"timestamp":(null|-?\d+),("t_from":"arrival",)?')


class Moment(Struct, frozen=True, gc=False):
    """When a line was that has no timestamp to go by."""

    ms: int
    is_ours: bool
    """Whether that is on our clock, because no media had come yet, and not on Zoom's."""


class TextTrack(Track):
    """One JSONL file. `t` depends on the origin: lines on disk get a new one when that becomes known or moves."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind}.jsonl")
        self.kind = kind
        self.origin_ms: int | None = None
        """The recording's zero; set by who knows it, before `catch_up`."""
        self.zero_at_ms = 0
        """The same on our clock."""
        self._waiting: list[tuple[int | None, Moment | None, bytes]] = []
        self._exists = False
        self._disk_origin_ms: int | None = None
        self._duplicates = 0
        self._recent: deque[bytes] = deque(maxlen=_MOST_RECENT)
        """What the last lines were."""
        self._before: frozenset[bytes] = frozenset()
        """The same, as another owner of the stream left it."""

    def begin_epoch(self) -> None:
        """Another owner of the stream recorded what comes now; what both of them received is kept once.

        That is a line with a timestamp of its own, all of which is the same.
        """
        self._before = frozenset(self._recent)

    @property
    def waiting(self) -> int:
        """Bytes that wait for the next flush."""
        return sum(len(rest) for _, _, rest in self._waiting)

    def add(self, timestamp: int | None, fields: dict[str, object], arrival: Moment | None = None) -> None:
        """Keep one line; `fields` are what follows `t` and `timestamp`.

        :param arrival: when it came, where its timestamp does not tell when it was.
        """
        if not self.is_open:
            raise ClosedTrackError(self.path)
        rest = dumps(fields)[1:] + b"\n"
        if arrival is None and timestamp is not None and self._came_before(b"%d,%b" % (timestamp, rest)):
            self._duplicates += 1
            return
        self.packets += 1
        self.nbytes += len(rest)
        if arrival is None:
            self._note(timestamp)
        self._waiting.append((timestamp, arrival, rest))
        if self.listener is not None:
            self.listener.on_line(self, self._start(timestamp, arrival) + rest)
        self.dirty = True

    def _came_before(self, line: bytes) -> bool:
        """Whether the stream's former owner had the same line; else the next one may."""
        digest = sha256(line).digest()
        if digest in self._before:
            return True
        self._recent.append(digest)
        return False

    def catch_up(self) -> None:
        """Take note of an origin that has become known or moved."""
        if self._exists and self.origin_ms != self._disk_origin_ms:
            self.dirty = True

    def flush(self, files: Files) -> None:
        """Append what has come since the last flush, and renew every `t` where the origin has changed.

        :raises OSError: the new lines are lost; the file is as it was.
        """
        waiting, self._waiting, self.dirty = self._waiting, [], False
        lines = b"".join(self._start(timestamp, arrival) + rest for timestamp, arrival, rest in waiting)
        if self._exists and self.origin_ms != self._disk_origin_ms:
            self.dirty = True  # until that has worked
            files.replace(self.path, self._retimed(files.read(self.path)) + lines)
            self.dirty = False
        elif lines:
            files.append(self.path, lines)
        self._exists = True
        self._disk_origin_ms = self.origin_ms

    def entry(self, origin_ms: int | None, most_gaps: int) -> TrackEntry:
        """The track's part of the manifest."""
        return TrackEntry(
            kind=self.kind,
            path=self.path,
            packets=self.packets,
            bytes=self.nbytes,
            first_timestamp=self.first_timestamp,
            last_timestamp=self.last_timestamp,
            duplicates=self._duplicates,
        )

    def _start(self, timestamp: int | None, arrival: Moment | None) -> bytes:
        if arrival is None:
            since_ms = None
            if timestamp is not None and self.origin_ms is not None and is_sane(timestamp):
                since_ms = timestamp - self.origin_ms
            return _start(since_ms, timestamp)
        zero_ms = self.zero_at_ms if arrival.is_ours else self.origin_ms or 0
        return _start(arrival.ms - zero_ms, timestamp, b'"t_from":"arrival",')

    def _retimed(self, content: bytes) -> bytes:
        # Before there was an origin, arrivals were on our clock.
        before_ms, now_ms = self._disk_origin_ms, self.origin_ms or 0
        shift_ms = -self.zero_at_ms if before_ms is None else before_ms - now_ms
        return b"".join(self._retimed_line(line, shift_ms) for line in content.splitlines(keepends=True))

    def _retimed_line(self, line: bytes, shift_ms: int) -> bytes:
        start = _START.match(line)
        if start is None:
            return line
        timestamp = None if start[2] == b"null" else int(start[2])
        if start[3]:
            return _start(round(float(start[1]) * 1000) + shift_ms, timestamp, start[3]) + line[start.end() :]
        return self._start(timestamp, None) + line[start.end() :]


def _start(since_ms: int | None, timestamp: int | None, source: bytes = b"") -> bytes:
    t = b"null" if since_ms is None else msgspec.json.encode(since_ms / 1000)
    return b'{"t":%b,"timestamp":%b,%b' % (t, b"null" if timestamp is None else b"%d" % timestamp, source)


def without_t(line: bytes) -> bytes:
    """A line of a text track without its `t`, which depends on the recording's zero; any other line as it is."""
    start = _START.match(line)
    return line if start is None else b'{"timestamp":' + line[start.start(2) :]


def _line(value: Struct) -> bytes:
    return dumps(value) + b"\n"
