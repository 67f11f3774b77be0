"""What audio payloads are, by themselves: the codec, the wrapping, the channels. No timestamps, no file."""

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from rtms_cli.protocol.numbers import Codec
from rtms_cli.recording.codecs import RATES_HZ, DecodeError, new_decoder, opus_samples

_SAMPLES = 4_000
_FEW_SAMPLES = 320
_MOST_LOST = 50
_LONGEST_FRAME = 1275
ALIKE = (Codec.G711, Codec.G722)
"""Codecs whose packets are as long as each other's: only their sound tells."""


def is_rtp(payloads: Sequence[bytes]) -> bool | None:
    """Whether payloads have RTP headers: one source, whose numbers go up; `None` if that is not clear."""
    if len(payloads) < 3:
        return None
    heads = [
        (one[0] >> 6, one[1] & 0x7F, one[8:12], int.from_bytes(one[2:4], "big")) for one in payloads if len(one) > 11
    ]
    good = sum(
        one[0] == 2 and one[:3] == after[:3] and 0 < (after[3] - one[3] & 0xFFFF) <= _MOST_LOST
        for one, after in pairwise(heads)
    )
    if good * 2 >= len(payloads):
        return True
    return False if good * 10 <= len(payloads) else None


def is_opus_packet(packet: bytes) -> bool:
    """Whether a packet can be Opus by what RFC 6716, 3.2 and 3.4, want of its length."""
    if not opus_samples(packet):
        return False
    code, size = packet[0] & 3, len(packet) - 1
    if code == 0:
        return size <= _LONGEST_FRAME
    if code == 1:
        return size % 2 == 0 and size // 2 <= _LONGEST_FRAME
    if code == 2:
        if not size:
            return False
        first, extra = (packet[1], 1) if packet[1] < 252 or size < 2 else (packet[1] + 4 * packet[2], 2)
        return extra + first <= size and size - extra - first <= _LONGEST_FRAME
    return bool(packet[1] & 0x80) or bool(packet[1] & 0x40) or (size - 1) % (packet[1] & 0x3F) == 0


def may_be_opus(packets: Sequence[bytes]) -> bool:
    """Whether packets can be Opus: nearly all are well made, and most of them as long as each other."""
    found = Counter(opus_samples(packet) for packet in packets if is_opus_packet(packet))
    return 4 * found.total() >= 3 * len(packets) and 2 * max(found.values(), default=0) >= len(packets)


def is_opus(packets: Sequence[bytes], steps_ms: Sequence[int]) -> bool:
    """Whether packets can hardly be anything but Opus: they all begin alike, and are as long as their times say."""
    if len({packet[0] & 0xFC for packet in packets if packet}) != 1 or not may_be_opus(packets):
        return False
    if all(packet.count(packet[:1]) == len(packet) for packet in packets):
        return False  # silence, of any codec
    fitting = sum(opus_samples(packet) == step * 48 for packet, step in zip(packets, steps_ms, strict=True))
    return fitting * 4 >= 3 * len(packets)


def has_sides(packets: Sequence[bytes]) -> bool:
    """Whether most packets of Opus have two channels."""
    return 2 * sum(packet[0] >> 2 & 1 for packet in packets if is_opus_packet(packet)) > len(packets)


class _Sound(NamedTuple):
    """What sound is like: what is decoded wrongly is noise, and loud."""

    roughness_hz: float
    loudness: float


def _sound(codec: int, payloads: Sequence[bytes]) -> _Sound:
    decoder, pcm = new_decoder(codec, 1), []
    for payload in payloads:
        try:
            pcm.append(decoder.decode(payload))
        except DecodeError:
            continue
    samples = array("h", b"".join(pcm))
    change, total = sum(abs(a - b) for a, b in pairwise(samples)), sum(map(abs, samples))
    return _Sound(change * RATES_HZ[codec] / (1 + total), total / max(1, len(samples)))


def of_8_kbyte(payloads: Sequence[bytes], granted: int) -> int | None:
    """Which of the codecs of 64 kbit/s packets are of; `None` if that is unclear.

    :param granted: what to stay with where that is possible; nothing of both otherwise.
    """
    sounds = {codec: _sound(codec, payloads) for codec in ALIKE}
    g711, g722 = sounds[Codec.G711], sounds[Codec.G722]
    if granted not in ALIKE:
        return min(ALIKE, key=lambda codec: sounds[codec].roughness_hz)
    if g711.loudness > 1500 and g711.roughness_hz > max(11_000, 2.5 * g722.roughness_hz):
        return Codec.G722
    if g722.loudness > 500 and g722.roughness_hz > max(6_000, 3 * g711.roughness_hz):
        return Codec.G711
    return None if max(g711.loudness, g722.loudness) < 500 else granted


def is_stereo(payloads: Sequence[bytes]) -> bool | None:
    """Whether 16-bit samples are of two channels in turn; `None` if that is unclear.

    In one channel, neighbours are most alike, the more so the closer they are. In two, every other one is.
    """
    joined = b"".join(payloads)[: 2 * _SAMPLES]
    samples = array("h", joined[: len(joined) // 4 * 4])
    pairs = sum(abs(a - b) for a, b in zip(samples[::2], samples[1::2], strict=False))
    between = sum(abs(a - b) for a, b in zip(samples[1::2], samples[2::2], strict=False))
    second = sum(abs(a - b) for a, b in zip(samples, samples[2:], strict=False))
    if 2 * pairs < between or 2 * between < pairs:
        return True
    if 5 * second < 4 * (pairs + between):
        return True
    return False if 5 * (pairs + between) < 4 * second else None


def is_smoother(one: bytes, other: bytes, audio_channels: int) -> bool | None:
    """Whether bytes are rather 16-bit samples than other ones are; `None` if that is not clear."""
    first, second = _steps(one, audio_channels), _steps(other, audio_channels)
    if 4 * first < second:
        return True
    return False if 4 * second < first else None


def _steps(pcm: bytes, audio_channels: int) -> int:
    """How far neighbouring samples are from each other."""
    samples = array("h", pcm[: min(len(pcm) // 2, _FEW_SAMPLES) * 2])
    return sum(abs(a - b) for a, b in zip(samples, samples[audio_channels:], strict=False))
