"""A capture in immutable segments, which are stored while the file still grows.

Each segment begins with the capture's header and contains complete lines, so that it is a capture itself. Segments are
numbered without gaps within an epoch. All of them, sorted by epoch and number, form the capture.
"""

import re
from pathlib import Path

import zstandard
from msgspec import Struct

from rtms_cli.capture import part_name

SEGMENT_NBYTES = 5 << 20
"""Bytes of lines after which a segment is closed."""
SEGMENT_S = 10.0
"""A segment is closed after this long at the latest. This is how much a lost machine may lose."""
MOST_SEGMENT_NBYTES = 256 << 20
"""Size limit of a segment with a long line."""
_LEVEL = 3
_KEY = re.compile(r"E(\d{4,6})-(\d{6,9})\.jsonl\.zst")


class Mark(Struct, frozen=True):
    """The position up to which a capture was segmented: file and offset."""

    part: int = 1
    offset: int = 0


def segment_name(epoch: int, number: int) -> str:
    """The key of a segment, below its recording."""
    return f"capture/E{epoch:04d}-{number:06d}.jsonl.zst"


def epoch_and_number(key: str) -> tuple[int, int] | None:
    """Parse a segment's key; `None` if it is not one."""
    found = _KEY.fullmatch(key.rpartition("/")[2])
    return None if found is None else (int(found[1]), int(found[2]))


def waiting_nbytes(folder: Path, mark: Mark) -> int:
    """Return approximately how much of a capture is not segmented yet."""
    total, part = -mark.offset, mark.part
    while True:
        try:
            total += (folder / part_name(part)).stat().st_size
        except OSError:
            return max(0, total)
        part += 1


def next_segment(folder: Path, mark: Mark, most: int = SEGMENT_NBYTES) -> tuple[bytes, Mark] | None:
    """Cut the next segment, or return `None` if there is no complete line after the mark.

    :raises OSError: if the capture cannot be read.
    """
    while True:
        lines, end = _lines_behind(folder / part_name(mark.part), mark.offset, most)
        if lines:
            return lines, Mark(mark.part, end)
        if not (folder / part_name(mark.part + 1)).exists():
            return None
        mark = Mark(mark.part + 1)


def packed(lines: bytes) -> bytes:
    """Compress a segment for the store."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(lines)


def unpacked_segment(data: bytes) -> bytes:
    """A segment's lines.

    :raises ValueError: if it is damaged or too large.
    """
    try:
        nbytes = zstandard.get_frame_parameters(data).content_size
        if nbytes > MOST_SEGMENT_NBYTES:
            raise ValueError("it is too large")
        lines: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=MOST_SEGMENT_NBYTES)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    return lines


def without_header(lines: bytes) -> bytes:
    """Return the lines of a segment without the header."""
    return lines.partition(b"\n")[2]


def _lines_behind(path: Path, offset: int, most: int) -> tuple[bytes, int]:
    """Return the header and complete lines from an offset on, and where they end."""
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return b"", offset
    with source:
        header = source.readline(1 << 20)
        if not header.endswith(b"\n"):
            return b"", offset
        start = max(offset, len(header))
        while True:
            source.seek(start)
            content = source.read(most)
            end = content.rfind(b"\n") + 1
            if end or len(content) < most or most >= MOST_SEGMENT_NBYTES:
                break
            most *= 2  # one line is longer
        return (header + content[:end], start + end) if end else (b"", offset)
