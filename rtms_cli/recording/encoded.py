"""Encoded audio as it came, beside the WAV: Ogg for Opus, the bare packets and an index for the rest."""

from fractions import Fraction

from rtms_cli.protocol.messages import UserId
from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.codecs import RATES_HZ, opus_samples
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import TrackEntry
from rtms_cli.recording.track import ClosedTrackError, Track
from rtms_cli.recording.tracks import PictureTrack

KIND = "encoded"
EXTENSIONS: dict[int, str] = {Codec.OPUS: "opus", Codec.G711: "alaw", Codec.G722: "g722"}
_PAGE_US = "200000"


class OggTrack(Track):
    """One participant's Opus packets in an Ogg file, each where its timestamp says.

    A killed process leaves whole pages: the file opens. Packets that come after later ones can have no place in it;
    they are in the WAV and in the capture. A stream that was closed has its last page: what comes later needs a file
    of its own.
    """

    kind = KIND
    can_reopen = False

    def __init__(self, path: str, user_id: UserId, user_name: str | None, audio_channels: int) -> None:
        import av

        super().__init__(path, user_id, user_name)
        self._pages = _Pages()
        self._next = 0
        options = {"page_duration": _PAGE_US, "fflags": "+bitexact"}
        self._container = av.open(self._pages, "w", format="ogg", options=options)
        rate = RATES_HZ[Codec.OPUS]
        self._stream = self._container.add_stream("libopus", rate=rate)
        self._stream.layout = "stereo" if audio_channels == 2 else "mono"
        self._channels = audio_channels
        self._time_base = Fraction(1, rate)

    @property
    def seconds(self) -> float:
        """Nothing: the WAV beside it shows the length."""
        return 0.0

    @property
    def waiting(self) -> int:
        """Bytes that wait for the next flush."""
        return len(self._pages.waiting)

    def add(self, timestamp: int | None, payload: bytes) -> None:
        """Keep one packet."""
        import av

        if not self.is_open:
            raise ClosedTrackError(self.path)
        start = self._next
        if timestamp is not None:
            if self.first_timestamp is None:
                self.first_timestamp = timestamp
            start = (timestamp - self.first_timestamp) * 48
            if abs(start - self._next) < opus_samples(payload) // 2:
                start = self._next  # jitter
        if start < self._next:
            return
        packet = av.Packet(payload)
        packet.stream, packet.time_base = self._stream, self._time_base
        packet.pts = packet.dts = start
        packet.duration = opus_samples(payload)
        self._container.mux(packet)
        self._next = start + packet.duration
        self.last_timestamp = timestamp
        self.packets += 1
        self.nbytes += len(payload)
        self.dirty = True

    def _complete(self) -> None:
        """Complete the last page."""
        self._container.close()
        self.dirty = True

    def flush(self, files: Files) -> None:
        """Append the pages that are whole.

        :raises OSError: they are lost; a reader finds the next one.
        """
        pages, self._pages.waiting, self.dirty = bytes(self._pages.waiting), bytearray(), False
        if pages:
            files.append(self.path, pages)

    def entry(self, origin_ms: int | None, most_gaps: int) -> TrackEntry:
        """The track's part of the manifest."""
        first = self.first_timestamp
        return TrackEntry(
            kind=self.kind,
            path=self.path,
            user_id=self.user_id,
            user_name=self.user_name,
            channel_id=self.channel_id,
            codec=Codec.OPUS.name,
            rate=RATES_HZ[Codec.OPUS],
            channels=self._channels,
            packets=self.packets,
            bytes=self.nbytes,
            first_timestamp=first,
            last_timestamp=self.last_timestamp,
            duration=round(self._next / RATES_HZ[Codec.OPUS], 6),
            offset=(first - origin_ms) / 1000 if first is not None and origin_ms is not None else None,
        )


class PacketTrack(PictureTrack):
    """One participant's G.711 or G.722 packets, one after the other, with an index as pictures have."""


def encoded_track(path: str, user_id: UserId, user_name: str | None, codec: int, audio_channels: int) -> Track:
    """What keeps the packets of a codec."""
    if codec == Codec.OPUS:
        return OggTrack(path, user_id, user_name, audio_channels)
    return PacketTrack(KIND, path, user_id, user_name, codec)


class _Pages:
    """A file for the muxer: keeps what is written until it is flushed."""

    name = ""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def write(self, data: bytes) -> int:
        self.waiting += data
        return len(data)
