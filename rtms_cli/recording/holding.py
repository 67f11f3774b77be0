"""Whether one version of a recording's file holds all that another one does. Nothing is decoded.

A file on disk may lack what a disk refused to take, or the end, where a process was killed: in a WAV silence stands
there; other files lack lines or their tail.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rtms_cli.recording.audio import HEADER_SIZE
from rtms_cli.recording.tracks import without_t

_FORMAT = slice(48, 72)
"""The `fmt ` chunk of the header that `audio.wav_header` makes."""
_BLOCK = slice(68, 70)
"""Bytes of one sample of all channels, in it."""
_RATE = slice(60, 64)
_CHUNK, _SMALL_CHUNK = 1 << 20, 1 << 12
_NEEDLE = 512
_MOST_TRIES = 50


def holds(new: Path, old: Path, most_ms: int | None = None) -> bool:
    """Whether the new file holds all that the old one does.

    WAV: every sample that is not zero, at the same distance from the others, and the length, for silence may have been
    sent; the new file may begin earlier. Lines: every whole line, in order; `t` depends on the recording's zero and
    does not count. All else: the old file is how the new one begins.

    :param most_ms: by how much a new WAV may begin earlier, where that is known: a tone is like itself at many places.
    :raises OSError: if one cannot be read.
    """
    if old.suffix == ".wav":
        return _wav_holds(new, old, most_ms)
    return _lines_hold(new, old) if old.suffix == ".jsonl" else _begins_with(new, old)


def pictures_hold(new: Path, old: Path, index: str) -> bool:
    """Whether the new file holds every picture or packet of the old one, in order, by both files' index lines.

    The old file may lack some in its middle. Where its index does not report all of it, the answer is no.

    :param index: what the index's name has behind the file's.
    :raises OSError: if one cannot be read.
    """
    try:
        there = _spans(new.with_name(new.name + index))
        wanted = _spans(old.with_name(old.name + index))
        with _mapped(new) as longer, _mapped(old) as shorter:
            end = 0
            for start, stop, timestamp in wanted:
                if start != end or stop > len(shorter):
                    return False
                end, picture = stop, shorter[start:stop]
                if not any(when == timestamp and longer[one:other] == picture for one, other, when in there):
                    return False
            return end == len(shorter)
    except msgspec.MsgspecError:
        return False


def _spans(index: Path) -> Iterator[tuple[int, int, int | None]]:
    with index.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                read = _SPAN.decode(line)
                yield read.offset, read.offset + read.length, read.timestamp


class _Span(Struct):
    offset: Annotated[int, Meta(ge=0)]
    length: Annotated[int, Meta(ge=0)]
    timestamp: int | None


_SPAN = msgspec.json.Decoder(_Span)


def same(one: Path, other: Path) -> bool:
    """Whether two files are the same, byte for byte."""
    return one.stat().st_size == other.stat().st_size and _begins_with(one, other)


def _begins_with(new: Path, old: Path) -> bool:
    with new.open("rb") as longer, old.open("rb") as shorter:
        while chunk := shorter.read(_CHUNK):
            if longer.read(len(chunk)) != chunk:
                return False
    return True


def _lines_hold(new: Path, old: Path) -> bool:
    with new.open("rb") as longer, old.open("rb") as shorter:
        there = map(without_t, longer)
        wanted = (without_t(line) for line in shorter if line.endswith(b"\n"))
        return all(any(line == other for other in there) for line in wanted)


def _wav_holds(new: Path, old: Path, most_ms: int | None) -> bool:
    with _mapped(new) as longer, _mapped(old) as shorter:
        if len(shorter) <= HEADER_SIZE:
            return True
        if len(longer) < HEADER_SIZE or longer[_FORMAT] != shorter[_FORMAT]:
            return False
        block = int.from_bytes(shorter[_BLOCK], "little")
        end = len(shorter) - (len(shorter) - HEADER_SIZE) % block
        if len(longer) < end:
            return False
        first = _first_sound(shorter, end)
        if first is None:
            return True
        first -= (first - HEADER_SIZE) % block
        rate_hz = int.from_bytes(shorter[_RATE], "little")
        last = len(longer) if most_ms is None else first + most_ms * rate_hz // 1000 * block
        return any(
            place <= last and _samples_hold(longer, place, shorter, first, end)
            for place in _places(longer, shorter[first : min(end, first + _NEEDLE)], first, block)
        )


def _first_sound(pcm: mmap.mmap | bytes, end: int) -> int | None:
    for start in range(HEADER_SIZE, end, _CHUNK):
        chunk = pcm[start : min(end, start + _CHUNK)]
        if sound := chunk.lstrip(b"\0"):
            return start + len(chunk) - len(sound)
    return None


def _places(pcm: mmap.mmap | bytes, needle: bytes, first: int, block: int) -> Iterator[int]:
    """Where the first sound of the old file may be in the new one: at the same place, or later."""
    yield first
    place = first
    for _ in range(_MOST_TRIES):
        place = pcm.find(needle, place + 1)
        if place < 0:
            return
        if (place - first) % block == 0:
            yield place


def _samples_hold(new: mmap.mmap | bytes, place: int, old: mmap.mmap | bytes, first: int, end: int) -> bool:
    if len(new) - place < end - first:
        return False
    for size in range(0, end - first, _CHUNK):
        stop = min(end, first + size + _CHUNK)
        wanted, there = old[first + size : stop], new[place + size : place + stop - first]
        if wanted != there and not all(
            _few_samples_hold(there[start : start + _SMALL_CHUNK], wanted[start : start + _SMALL_CHUNK])
            for start in range(0, len(wanted), _SMALL_CHUNK)
        ):
            return False
    return True


def _few_samples_hold(there: bytes, wanted: bytes) -> bool:
    if wanted == there or not wanted.strip(b"\0"):
        return True
    samples = zip(memoryview(wanted).cast("h"), memoryview(there).cast("h"), strict=False)
    return all(one in (0, other) for one, other in samples)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    with path.open("rb") as source:
        if path.stat().st_size == 0:
            yield b""  # nothing to map
            return
        with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
