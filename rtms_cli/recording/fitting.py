"""Does what comes fit what was granted? Packets and their timestamps tell; no file, no clock of ours.

A server that grants 16 kHz may send 48 kHz. Each packet has three times as much sound, then, as its timestamps have
time for. From a few packets the form follows that does fit. Where none does, or where a timestamp stands for several
packets, the sound is kept whole, one packet after the other.

What is missing proves nothing: a participant who is muted sends no packets. So too little sound counts only where it
is so with every packet alike, and where the packets are not as long as they should be.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median_high

from msgspec import Struct

from rtms_cli.protocol.numbers import Codec, ContentType
from rtms_cli.recording.audio import AudioForm
from rtms_cli.recording.codecs import RATES_HZ, DecodeError, new_decoder, opus_samples

LOOSE_MS = 300
"""How far a time that is only roughly known may be ahead of the sound before that is a gap."""
MOST_PACKETS = 256
MOST_NBYTES = 1 << 18
"""How much one sender's packets may wait for a judgement."""
_STEPS = 6
_FEW = 3
_MANY = 10
"""No network sends a packet so many times."""
_LONG_MS = 2_500
_TOLERANCE = 0.2
_FORM_TOLERANCE = 0.12
_RATES_HZ = (8_000, 16_000, 32_000, 48_000)
_SAMPLES = 4_000


class Packet(Struct):
    """One packet that waits for a judgement."""

    timestamp: int
    payload: bytes
    at_us: int
    is_placed: bool = False
    """Whether it has its place already, and is here as evidence only."""


class Fit(Struct, frozen=True):
    """What packets are, and how they are to be placed."""

    form: AudioForm
    loose_ms: int = 0
    """Up to so much ahead of the sound, a packet stands right behind the one before it; 0 where its time is exact."""
    why: str = ""
    """What was assumed, for people; empty where nothing was."""


class _Group(Struct):
    """The packets of one timestamp."""

    timestamp: int
    payloads: list[bytes]
    """Those that differ."""
    count: int
    samples: int
    own_samples: int
    """Of those that differ."""


def fit(
    packets: Sequence[Packet],
    form: AudioForm,
    usual: set[int],
    count: Callable[[bytes], int],
    *,
    granted: AudioForm,
    final: bool,
) -> Fit | None:
    """Judge packets by the form in which they are read.

    :param usual: lengths in bytes that fit the form by themselves: that of the send rate, and those that have fitted.
    :param count: how many samples of one channel a packet has in that form.
    :param granted: what they should be: it is preferred where two forms fit.
    :param final: judge by what is there.
    :returns: `None` where more packets are needed.
    """
    groups = _grouped(packets, count)
    steps = [(one, after.timestamp - one.timestamp) for one, after in pairwise(groups)]
    per_ms = form.rate_hz / 1000
    known = all(len(packet.payload) in usual for packet in packets)
    if len(steps) >= (1 if known else 3) and all(_fits(group, step, per_ms, usual) for group, step in steps):
        return Fit(form)
    span = groups[-1].timestamp - groups[0].timestamp
    nbytes = sum(len(packet.payload) for packet in packets)
    enough = len(steps) >= _STEPS or (len(steps) >= 2 and span >= _LONG_MS)
    if not (enough or final or len(packets) >= MOST_PACKETS or nbytes >= MOST_NBYTES):
        return None
    if not steps:
        if len(groups[0].payloads) < 4:
            return Fit(form)
        return Fit(form, LOOSE_MS, "its timestamps stand still; packets stand one after the other")
    return _judged(packets, steps, form, usual, count, granted)


def _judged(
    packets: Sequence[Packet],
    steps: list[tuple[_Group, int]],
    form: AudioForm,
    usual: set[int],
    count: Callable[[bytes], int],
    granted: AudioForm,
) -> Fit:
    per_ms = form.rate_hz / 1000
    step_ms = median_high(step for _, step in steps)
    ratio = median_high(group.own_samples / (step * per_ms) for group, step in steps)
    whole = median_high(group.samples / (step * per_ms) for group, step in steps)
    several = median_high(len(group.payloads) for group, _ in steps)
    repeats = all(group.samples > group.own_samples for group, _ in steps)
    loose_ms = max(LOOSE_MS, step_ms * 3 // 2) if several > 1 else 0
    why = f"{several} packets have one timestamp; they stand one after the other" if several > 1 else ""
    if abs(ratio - 1) <= _TOLERANCE:
        return Fit(form, loose_ms, why)
    many = median_high(group.count for group, _ in steps)
    if repeats and (len(steps) >= _STEPS or many >= _MANY) and abs(whole - 1) <= _TOLERANCE:
        why = f"{many} packets have one timestamp; they stand one after the other"
        return Fit(form, max(LOOSE_MS, step_ms * 3 // 2), why)
    if form.codec != Codec.OPUS and not _fits_arrival(packets, form, count):
        regular = sum(abs(step - step_ms) * 4 <= step_ms for _, step in steps) * 4 >= len(steps) * 3
        lengths = {len(packet.payload) for packet in packets[1:]}  # the first may be from before a change
        if ratio > 1 or (regular and form.codec == Codec.L16 and not lengths & usual and len(steps) >= _FEW):
            nbytes = median_high(sum(map(len, group.payloads)) / step for group, step in steps)
            other = _form_of(nbytes, packets, granted) or (None if ratio > 1 else _encoded_form(steps, granted))
            if other is not None and other != form:
                more = f"; {why}" if why else ""
                return Fit(other, loose_ms, f"packets do not fit {granted}, and were read as {other}{more}")
    if ratio > 1:
        return Fit(
            form,
            max(1000, loose_ms),
            f"packets have {ratio:.2g} times as much sound as their timestamps say; they stand one after the other",
        )
    return Fit(form)


def _fits_arrival(packets: Sequence[Packet], form: AudioForm, count: Callable[[bytes], int]) -> bool:
    """Whether packets come as fast as they sound, so that it is their timestamps that are wrong."""
    passed_ms = (packets[-1].at_us - packets[0].at_us) / 1000
    samples = sum(count(packet.payload) for packet in packets[:-1])
    return passed_ms > 0 and abs(samples / (passed_ms * form.rate_hz / 1000) - 1) <= _TOLERANCE


def _grouped(packets: Sequence[Packet], count: Callable[[bytes], int]) -> list[_Group]:
    groups: list[_Group] = []
    for packet in packets:
        samples = count(packet.payload)
        if groups and packet.timestamp == groups[-1].timestamp:
            group = groups[-1]
            if packet.payload not in group.payloads:
                group.own_samples += samples
                group.payloads.append(packet.payload)
            group.samples += samples
            group.count += 1
        elif not groups or packet.timestamp > groups[-1].timestamp:
            groups.append(_Group(packet.timestamp, [packet.payload], 1, samples, samples))
    return groups


def _fits(group: _Group, step: int, per_ms: float, usual: set[int]) -> bool:
    """Whether a packet alone has about as much sound as its timestamp says, or is followed by a gap."""
    if group.samples > group.own_samples or len(group.payloads) > 1:
        return False
    ratio = group.samples / (step * per_ms)
    return abs(ratio - 1) <= _TOLERANCE or (ratio < 1 and len(group.payloads[0]) in usual)


def _form_of(bytes_per_ms: float, packets: Sequence[Packet], granted: AudioForm) -> AudioForm | None:
    """The form that has so many bytes in a millisecond: the one that is nearest to what was granted."""
    found = [
        AudioForm(Codec.L16, rate_hz, channels, ContentType.RAW_AUDIO)
        for rate_hz in _RATES_HZ
        for channels in (1, 2)
        if abs(rate_hz * 2 * channels / 1000 / bytes_per_ms - 1) <= _FORM_TOLERANCE
    ]
    if len(found) > 1:
        stereo = is_stereo([packet.payload for packet in packets[1:]])
        found = [form for form in found if stereo is None or (form.audio_channels == 2) is stereo] or found
    return min(
        found,
        key=lambda form: (form.rate_hz != granted.rate_hz, form.audio_channels != granted.audio_channels),
        default=None,
    )


def _encoded_form(steps: Sequence[tuple[_Group, int]], granted: AudioForm) -> AudioForm | None:
    """The codec that packets are of that are too short for PCM."""
    first = [group.payloads[0] for group, _ in steps]
    if any(not payload for payload in first):
        return None
    fitting = sum(opus_samples(group.payloads[0]) == step * 48 for group, step in steps)
    if len({payload[0] & 0xFC for payload in first}) == 1 and fitting * 4 >= 3 * len(steps):
        return AudioForm(Codec.OPUS, RATES_HZ[Codec.OPUS], 2 if first[0][0] & 4 else 1, granted.content_type)
    if abs(median_high(len(group.payloads[0]) / step for group, step in steps) / 8 - 1) > _FORM_TOLERANCE:
        return None
    codec = min((Codec.G711, Codec.G722), key=lambda codec: _roughness(codec, first))
    return AudioForm(codec, RATES_HZ[codec], 1, granted.content_type)


def _roughness(codec: int, payloads: Sequence[bytes]) -> float:
    """How little neighbouring samples are alike, decoded: what is decoded wrongly is noise."""
    decoder = new_decoder(codec, 1)
    try:
        samples = array("h", b"".join(map(decoder.decode, payloads)))
    except DecodeError:
        return math.inf
    change = sum(abs(a - b) for a, b in pairwise(samples))
    return change * RATES_HZ[codec] / (1 + sum(map(abs, samples)))


def is_stereo(payloads: Sequence[bytes]) -> bool | None:
    """Whether 16-bit samples are of two channels in turn; `None` where they do not tell.

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
