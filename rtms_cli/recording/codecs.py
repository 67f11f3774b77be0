"""Packets → PCM: what L16 does not need, and every other audio codec of PROTOCOL §5 does.

FFmpeg (PyAV) decodes. Only what is written in a packet's own header is read here: how many samples it holds, which must
be known before it is decoded, so that a duplicate never disturbs a decoder; and the RTP header, which the payload
follows.
"""

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from rtms_cli.errors import reason_of
from rtms_cli.protocol.numbers import Codec

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

_DECODERS: dict[int, str] = {Codec.G711: "pcm_alaw", Codec.G722: "g722", Codec.OPUS: "libopus"}
RATES_HZ: dict[int, int] = {Codec.G711: 8_000, Codec.G722: 16_000, Codec.OPUS: 48_000}
"""The one rate that these codecs have in RTMS, whatever a server says."""
_LONGEST_OPUS = 5760
"""Samples in 120 ms, more than which no Opus packet may hold (RFC 6716, 3.4)."""


def codec_name(codec: int | None) -> str:
    """`L16`, `JPG`, …"""
    known = Codec.member(codec) if codec is not None else None
    return known.name if isinstance(known, Codec) else f"codec {codec}"


class DecodeError(ValueError):
    """A packet that its codec cannot have made."""


class Decoder(Protocol):
    """One track's decoder; it remembers what came before."""

    def decode(self, payload: bytes) -> bytes:
        """The packet's interleaved 16-bit PCM, little-endian.

        :raises DecodeError: if it cannot be decoded.
        """

    def conceal(self, count: int) -> bytes:
        """PCM for `count` samples that were lost, as the codec guesses them; empty if it cannot."""


def decodes(codec: int) -> bool:
    """Whether there is a decoder for a codec here."""
    return codec in _DECODERS


def new_decoder(codec: int, audio_channels: int) -> Decoder:
    """A decoder for one track of a codec that `decodes` knows."""
    context = _context(_DECODERS[codec], RATES_HZ[codec], audio_channels)
    if codec == Codec.OPUS:
        return _OpusDecoder(context, audio_channels)
    return _PlainDecoder(context, audio_channels)


def count_samples(codec: int, audio_channels: int, payload: bytes) -> int:
    """How many samples of one channel a packet holds; 0 where it holds none."""
    if codec == Codec.OPUS:
        return opus_samples(payload)
    if codec == Codec.G722:
        return 2 * len(payload) // audio_channels
    return len(payload) // (audio_channels if codec == Codec.G711 else 2 * audio_channels)


def _context(name: str, rate_hz: int, audio_channels: int) -> "AudioCodecContext":
    import av

    context: AudioCodecContext = av.CodecContext.create(name, "r")  # type: ignore[assignment]
    context.sample_rate = rate_hz
    context.layout = "stereo" if audio_channels == 2 else "mono"
    return context


class _PlainDecoder:
    """A codec whose packets are as long as they sound."""

    def __init__(self, context: "AudioCodecContext", audio_channels: int) -> None:
        self._context = context
        self._block = 2 * audio_channels

    def decode(self, payload: bytes) -> bytes:
        import av

        try:
            frames = self._context.decode(av.Packet(payload))
        except av.error.FFmpegError as error:
            raise DecodeError(reason_of(error)) from None
        return b"".join(bytes(frame.planes[0])[: frame.samples * self._block] for frame in frames)

    def conceal(self, count: int) -> bytes:
        return b""


class _OpusDecoder(_PlainDecoder):
    """Opus: a packet's first byte tells its length, and a packet of that byte alone stands for a lost one."""

    def __init__(self, context: "AudioCodecContext", audio_channels: int) -> None:
        super().__init__(context, audio_channels)
        self._toc: int | None = None

    def decode(self, payload: bytes) -> bytes:
        pcm = super().decode(payload)
        self._toc = payload[0]
        return pcm

    def conceal(self, count: int) -> bytes:
        if self._toc is None:
            return b""
        lost = bytes((self._toc & 0xFC,))  # one frame of no length: libopus conceals it (RFC 6716, 3.1 and 4.6)
        each = opus_samples(lost)
        return b"".join(super(_OpusDecoder, self).decode(lost) for _ in range(count // each))[: count * self._block]


def opus_samples(packet: bytes) -> int:
    """Samples of one channel, at 48 kHz, in an Opus packet (RFC 6716, 3.1); 0 where it cannot be one."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    if code == 3:
        frames = packet[1] & 0x3F if len(packet) > 1 else 0
    else:
        frames = 1 if code == 0 else 2
    return frame * frames if frame * frames <= _LONGEST_OPUS else 0


class RtpPacket(Struct, frozen=True):
    """What is used of an RTP packet (RFC 3550, 5.1)."""

    sequence: int
    payload: bytes


def read_rtp(packet: bytes) -> RtpPacket | None:
    """Take the header, extensions and padding off; `None` if it is not an RTP packet."""
    if len(packet) < 12 or packet[0] >> 6 != 2:
        return None
    start, end = 12 + 4 * (packet[0] & 0x0F), len(packet)
    if packet[0] & 0x10:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    if packet[0] & 0x20:
        end -= packet[-1]
    if start > end:
        return None
    return RtpPacket(int.from_bytes(packet[2:4], "big"), packet[start:end])


class SequenceCount:
    """How many RTP packets are missing by their sequence numbers (RFC 3550, A.1 and A.3)."""

    MOST_AHEAD = 3000
    """A number further on than this is not a loss: the sender has begun again."""

    def __init__(self) -> None:
        self._first = self._latest = self._received = 0
        self._before = 0

    def add(self, sequence: int) -> None:
        """Take a packet's number."""
        if not self._received:
            self._first = self._latest = sequence
        ahead = (sequence - self._latest + 0x8000 & 0xFFFF) - 0x8000
        if abs(ahead) > self.MOST_AHEAD:
            self._before = self.lost
            self._first = self._latest = sequence
            self._received = 0
        elif ahead > 0:
            self._latest += ahead
        self._received += 1

    @property
    def lost(self) -> int:
        """Packets that never came; those that came twice are not counted against it."""
        expected = self._latest - self._first + 1 if self._received else 0
        return self._before + max(0, expected - self._received)
