"""Messages with H.264 → access units, whatever a message holds: a part of one, one, or several.

Where one ends is told by the NAL units alone (ITU-T H.264, 7.4.1.2.3 and 7.4.1.2.4): the messages and their timestamps
only say when it is to be seen. Parameter sets go with the picture that follows them.
"""

from collections.abc import Iterable, Iterator
from typing import IO

from msgspec import Struct

from rtms_cli.recording.h264 import IDR, MOST_UNITS, PPS, SLICE_HEADER, SPS, ParameterSets, Slice, read_slice

_SEI, _DELIMITER, _MOST_KINDS = 6, 9, 18
_RECOVERY_POINT = 6

Part = tuple[int, int]
"""Where in the file: offset, length."""


class Message(Struct, frozen=True):
    """One payload of a picture file."""

    offset: int
    length: int
    timestamp: int


class Unit(Struct):
    """One access unit."""

    timestamp: int
    """Of the message in which its first slice begins."""
    is_key: bool
    parts: list[Part]
    prefix: bytes = b""
    """The parameter sets that a player needs before it: those of a key frame that has none with it."""


class _Nal(Struct):
    kind: int
    part: Part
    timestamp: int
    start: bytes


class _Group(Struct):
    """An access unit that grows."""

    nals: list[_Nal]
    slices: list[Slice | None]
    first_slice: _Nal


def access_units(source: IO[bytes], messages: Iterable[Message]) -> Iterator[Unit]:
    """The access units of a file, in its order."""
    sets = ParameterSets()
    before: list[_Nal] = []
    group: _Group | None = None
    in_force = b""
    for nal in _nals(source, messages):
        if nal.kind in (SPS, PPS):
            sets.take(nal.start)
        if not 1 <= nal.kind <= IDR:
            ends = _SEI <= nal.kind <= _DELIMITER or 14 <= nal.kind <= _MOST_KINDS
            if group is not None and not ends and not before:
                group.nals.append(nal)  # the end of a sequence, filler
            else:
                before.append(nal)
            continue
        slice_ = read_slice(nal.start, sets) if nal.kind in (1, 2, IDR) else None
        if group is None or _begins(group, before, nal, slice_):
            if group is not None:
                yield _unit(group, in_force)
            group = _Group([*before, nal], [slice_], nal)
            in_force = sets.written()
        else:
            group.nals += [*before, nal]
            group.slices.append(slice_)
        before = []
    if group is not None:
        yield _unit(group, in_force)


def _begins(group: _Group, before: list[_Nal], nal: _Nal, slice_: Slice | None) -> bool:
    """Whether a slice is of another picture than those before it."""
    if nal.kind in (3, 4):
        return False
    if any(one.kind == _DELIMITER for one in before):
        return True
    last = next((one for one in reversed(group.slices) if one is not None), None)
    if slice_ is None or last is None:
        return nal.timestamp != group.first_slice.timestamp or bool(before)
    if slice_.picture and last.picture and slice_.picture != last.picture:
        return True
    return any(one is not None and one.first_block == slice_.first_block for one in group.slices)


def _unit(group: _Group, sets: bytes) -> Unit:
    nals = group.nals
    is_key = (
        group.first_slice.kind == IDR
        or all(one is not None and one.is_intra for one in group.slices)
        or any(nal.kind == _SEI and nal.start[1:2] == bytes([_RECOVERY_POINT]) for nal in nals)
    )
    parts: list[Part] = []
    for nal in nals:
        offset, length = nal.part
        if parts and sum(parts[-1]) == offset:
            parts[-1] = (parts[-1][0], parts[-1][1] + length)
        else:
            parts.append(nal.part)
    has_sets = any(nal.kind == SPS for nal in nals)
    return Unit(group.first_slice.timestamp, is_key, parts, sets if is_key and not has_sets else b"")


def _nals(source: IO[bytes], messages: Iterable[Message]) -> Iterator[_Nal]:
    """The NAL units, each with the start code before it; what a message begins with belongs to the one before."""
    waiting: _Nal | None = None
    for message in messages:
        source.seek(message.offset)
        payload = source.read(message.length)
        starts = list(_starts(payload))
        head = starts[0][0] if starts else len(payload)
        if waiting is not None:
            if head and message.offset == sum(waiting.part):
                waiting.part = (waiting.part[0], message.offset + head - waiting.part[0])
                if waiting.kind in (SPS, PPS):
                    waiting.start += payload[:head]
            yield waiting
            waiting = None
        for number, (begin, body) in enumerate(starts):
            end = starts[number + 1][0] if number + 1 < len(starts) else len(payload)
            header = payload[body]
            kept = end if header & 0x1F in (SPS, PPS) else min(end, body + SLICE_HEADER)
            nal = _Nal(
                header & 0x1F,
                (message.offset + begin, end - begin),
                message.timestamp,
                payload[body:kept],
            )
            if number + 1 < len(starts):
                yield nal
            else:
                waiting = nal
    if waiting is not None:
        yield waiting


def _starts(payload: bytes) -> Iterator[tuple[int, int]]:
    """Where each start code and the byte behind it are."""
    position = 0
    for _ in range(MOST_UNITS):
        found = payload.find(b"\0\0\1", position)
        if found < 0 or found + 3 >= len(payload):
            return
        begin = found
        while begin > position and payload[begin - 1] == 0:
            begin -= 1
        yield begin, found + 3
        position = found + 3
