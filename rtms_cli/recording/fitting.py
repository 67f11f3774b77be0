"""Does what comes fit what was granted? Packets and their timestamps tell; no file, no clock of ours.

A server that grants 16 kHz may send 48 kHz. Each packet has three times as much sound, then, as its timestamps have
time for. From a few packets the form follows that does fit. Where none does, or where a timestamp stands for several
packets, the sound is kept whole, one packet after the other.

What is missing proves nothing: a participant who is muted sends no packets. So too little sound counts only where it
is so with every packet alike, and where the packets are not as long as they should be.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median_high

from msgspec import Struct, structs

from rtms_cli.protocol.numbers import Codec, ContentType
from rtms_cli.recording.audio import AudioForm, body_of, samples_in
from rtms_cli.recording.codecs import RATES_HZ, count_samples
from rtms_cli.recording.sniffing import (
    ALIKE,
    has_sides,
    is_opus,
    is_opus_packet,
    is_rtp,
    is_stereo,
    may_be_opus,
    of_8_kbyte,
)

LOOSE_MS = 300
"""How far a time that is only roughly known may be ahead of the sound before that is a gap."""
MOST_PACKETS = 256
MOST_NBYTES = 1 << 18
"""How much one sender's packets may wait for a judgement."""
_STEPS = 6
_FEW = 3
_MANY = 10
"""No network sends a packet this many times."""
_LONG_MS = 2_500
_TOLERANCE = 0.2
_FORM_TOLERANCE = 0.12
_RATES_HZ = (8_000, 16_000, 32_000, 48_000)
_PROOF = 64
"""After how many packets to listen to it."""


class Packet(Struct):
    """One packet that waits for a judgement."""

    timestamp: int
    payload: bytes
    at_us: int
    size: int
    """See `size_in`."""
    is_placed: bool = False
    """Whether it has its place already, and is here as evidence only."""


class Fit(Struct, frozen=True):
    """What packets are, and how they are to be placed."""

    form: AudioForm
    loose_ms: int = 0
    """Up to this much ahead of the sound, a packet stands right behind the one before it; 0 where its time is exact."""
    why: str = ""
    """What was assumed, for people; empty if nothing was."""


class _Group(Struct):
    """The packets of one timestamp."""

    timestamp: int
    payloads: list[bytes]
    """Those that differ."""
    size: int
    """That of the first one."""
    count: int
    samples: int
    own_samples: int
    """Of those that differ."""


def size_in(form: AudioForm, payload: bytes) -> int:
    """How long a packet is, to be held against others: bytes of raw L16, samples of all else; 0 if it is not one."""
    if form.is_plain:
        return len(payload) - len(payload) % form.block
    body = body_of(form, payload)
    if not body:
        return 0
    if form.codec == Codec.OPUS and (not is_opus_packet(body) or (form.audio_channels == 1 and body[0] & 4)):
        return 0
    return count_samples(form.codec, form.audio_channels, body)


def is_proven(form: AudioForm) -> bool:
    """Whether packets of the right length are enough to know that it is this form."""
    return form.codec not in (*ALIKE, Codec.OPUS)


def fit(
    packets: Sequence[Packet], form: AudioForm, usual: set[int], *, granted: AudioForm, proven: bool, final: bool
) -> Fit | None:
    """Judge packets by the form in which they are read.

    :param usual: sizes that fit the form by themselves: that of the send rate, and those that have fitted.
    :param granted: what they should be: it is preferred where two forms fit.
    :param proven: whether the form is known to be right so far.
    :param final: judge by what is there.
    :returns: `None` if more packets are needed.
    """
    if not proven and not final and len(packets) % _PROOF and len(packets) < MOST_PACKETS:
        return None
    groups = _grouped(packets, form)
    steps = [(one, after.timestamp - one.timestamp) for one, after in pairwise(groups)]
    per_ms = form.rate_hz / 1000
    known = all(packet.size in usual for packet in packets)
    has_rtp = is_rtp([packet.payload for packet in packets])
    if has_rtp is not None and has_rtp is not (form.content_type == ContentType.RTP):
        return _unwrapped(packets, form, granted, proven=proven, final=final)
    if proven and len(steps) >= (1 if known else 3) and all(_fits(group, step, per_ms, usual) for group, step in steps):
        return Fit(form)
    span = groups[-1].timestamp - groups[0].timestamp
    nbytes = sum(len(packet.payload) for packet in packets)
    enough = len(steps) >= _STEPS or (len(steps) >= 2 and span >= _LONG_MS)
    is_full = final or len(packets) >= MOST_PACKETS or nbytes >= MOST_NBYTES
    if not (enough or is_full):
        return None
    if not steps:
        if len(groups[0].payloads) < 4:
            return Fit(form)
        return Fit(form, LOOSE_MS, "its timestamps do not change; packets follow one another")
    return _judged(packets, steps, form, usual, granted, proven=proven or is_full)


def _unwrapped(
    packets: Sequence[Packet], form: AudioForm, granted: AudioForm, *, proven: bool, final: bool
) -> Fit | None:
    """Judge packets that have RTP headers though they should not, or the reverse."""
    content_type = ContentType.RAW_AUDIO if form.content_type == ContentType.RTP else ContentType.RTP
    other = structs.replace(form, content_type=content_type)
    read = [structs.replace(packet, size=size_in(other, packet.payload)) for packet in packets]
    verdict = fit(read, other, set(), granted=granted, proven=proven, final=final)
    if verdict is None or verdict.form != other:
        return verdict
    return structs.replace(verdict, why=_misfit(granted, other, verdict.why))


def _misfit(granted: AudioForm, other: AudioForm, more: str) -> str:
    return f"packets do not fit {granted}, and were read as {other}" + (f"; {more}" if more else "")


def _judged(
    packets: Sequence[Packet],
    steps: list[tuple[_Group, int]],
    form: AudioForm,
    usual: set[int],
    granted: AudioForm,
    *,
    proven: bool,
) -> Fit | None:
    per_ms = form.rate_hz / 1000
    step_ms = median_high(step for _, step in steps)
    ratio = median_high(group.own_samples / (step * per_ms) for group, step in steps)
    whole = median_high(group.samples / (step * per_ms) for group, step in steps)
    several = median_high(len(group.payloads) for group, _ in steps)
    repeats = all(group.samples > group.own_samples for group, _ in steps)
    loose_ms = max(LOOSE_MS, step_ms * 3 // 2) if several > 1 else 0
    why = f"{several} packets have one timestamp; they follow one another" if several > 1 else ""
    bodies = [body_of(form, group.payloads[0]) or b"" for group, _ in steps]
    steps_ms = [step for _, step in steps]
    wanted = _wanted_codec(form, bodies, steps_ms)
    if wanted is None and not proven:
        return None
    sounds_right = wanted in (None, form.codec) and not _has_sides(form, bodies)
    if sounds_right and abs(ratio - 1) <= _TOLERANCE:
        return Fit(form, loose_ms, why)
    many = median_high(group.count for group, _ in steps)
    if sounds_right and repeats and (len(steps) >= _STEPS or many >= _MANY) and abs(whole - 1) <= _TOLERANCE:
        why = f"{many} packets have one timestamp; they follow one another"
        return Fit(form, max(LOOSE_MS, step_ms * 3 // 2), why)
    other = None
    if not sounds_right or (form.codec != Codec.OPUS and not _fits_arrival(packets, form)):
        regular = sum(abs(step - step_ms) * 4 <= step_ms for step in steps_ms) * 4 >= len(steps) * 3
        sizes = {packet.size for packet in packets[1:]}  # the first may be from before a change
        unusual = regular and not sizes & usual and len(steps) >= _FEW
        if ratio > 1 or unusual or not sounds_right:
            other = _other(packets, steps, bodies, form, granted)
    if other is not None and other != form:
        return Fit(other, loose_ms, _misfit(granted, other, why))
    if ratio > 1:
        return Fit(
            form,
            max(1000, loose_ms),
            f"packets have {ratio:.2g} times as much sound as their timestamps say; they follow one another",
        )
    return Fit(form)


def _wanted_codec(form: AudioForm, bodies: Sequence[bytes], steps_ms: Sequence[int]) -> int | None:
    """The codec that packets of an encoded form have; -1 where it is another one, `None` if that is unclear."""
    if form.codec == Codec.OPUS:
        return Codec.OPUS if may_be_opus(bodies) else -1
    if form.codec not in ALIKE and len(set(map(len, bodies))) < _FEW:
        return form.codec  # a tone may begin each packet alike, but all of them are as long
    if is_opus(bodies, steps_ms):
        return Codec.OPUS
    return of_8_kbyte(bodies, form.codec) if form.codec in ALIKE else form.codec


def _has_sides(form: AudioForm, bodies: Sequence[bytes]) -> bool:
    """Whether packets of Opus have two channels, though they should have one."""
    return form.codec == Codec.OPUS and form.audio_channels == 1 and has_sides(bodies)


def _other(
    packets: Sequence[Packet],
    steps: Sequence[tuple[_Group, int]],
    bodies: Sequence[bytes],
    form: AudioForm,
    granted: AudioForm,
) -> AudioForm | None:
    """The form that fits, where there is one."""
    if is_opus(bodies, [step for _, step in steps]) or (form.codec == Codec.OPUS and may_be_opus(bodies)):
        channels = 2 if has_sides(bodies) else 1
        return AudioForm(Codec.OPUS, RATES_HZ[Codec.OPUS], channels, form.content_type)
    per_ms = median_high(
        sum(len(body_of(form, payload) or b"") for payload in group.payloads) / step for group, step in steps
    )
    if (other := _form_of(per_ms, packets, form, granted)) is not None:
        return other
    if all(bodies) and abs(per_ms / 8 - 1) <= _FORM_TOLERANCE:
        codec = of_8_kbyte(bodies, form.codec)
        return None if codec is None else AudioForm(codec, RATES_HZ[codec], 1, form.content_type)
    return None


def _fits_arrival(packets: Sequence[Packet], form: AudioForm) -> bool:
    """Whether packets come as fast as they sound, so that it is their timestamps that are wrong."""
    passed_ms = (packets[-1].at_us - packets[0].at_us) / 1000
    samples = sum(samples_in(form, packet.payload) for packet in packets[:-1])
    return passed_ms > 0 and abs(samples / (passed_ms * form.rate_hz / 1000) - 1) <= _TOLERANCE


def _grouped(packets: Sequence[Packet], form: AudioForm) -> list[_Group]:
    groups: list[_Group] = []
    for packet in packets:
        samples = samples_in(form, packet.payload)
        if groups and packet.timestamp == groups[-1].timestamp:
            group = groups[-1]
            if packet.payload not in group.payloads:
                group.own_samples += samples
                group.payloads.append(packet.payload)
            group.samples += samples
            group.count += 1
        elif not groups or packet.timestamp > groups[-1].timestamp:
            groups.append(_Group(packet.timestamp, [packet.payload], packet.size, 1, samples, samples))
    return groups


def _fits(group: _Group, step: int, per_ms: float, usual: set[int]) -> bool:
    """Whether a packet alone has about as much sound as its timestamp says, or is followed by a gap."""
    if group.samples > group.own_samples or len(group.payloads) > 1 or not group.size:
        return False
    ratio = group.samples / (step * per_ms)
    return abs(ratio - 1) <= _TOLERANCE or (ratio < 1 and group.size in usual)


def _form_of(bytes_per_ms: float, packets: Sequence[Packet], form: AudioForm, granted: AudioForm) -> AudioForm | None:
    """The form that has this many bytes in a millisecond: the one that is nearest to what was granted."""
    found = [
        AudioForm(Codec.L16, rate_hz, channels, form.content_type)
        for rate_hz in _RATES_HZ
        for channels in (1, 2)
        if abs(rate_hz * 2 * channels / 1000 / (bytes_per_ms or 1) - 1) <= _FORM_TOLERANCE
    ]
    if len(found) > 1:
        stereo = is_stereo([body_of(form, packet.payload) or b"" for packet in packets[1:]])
        found = [form for form in found if stereo is None or (form.audio_channels == 2) is stereo] or found
    return min(
        found,
        key=lambda form: (form.rate_hz != granted.rate_hz, form.audio_channels != granted.audio_channels),
        default=None,
    )
