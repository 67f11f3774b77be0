"""What was written is opened again: a file that does not play is an error, not a result."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rtms_cli.errors import Problem, reason_of

_DECODED_S = 3.0
_DECODED = 100
"""So much of each stream is decoded, packets or seconds, whichever is less."""


class Sink:
    """A container that counts what is written into it."""

    def __init__(self, container: Any) -> None:
        self.container = container
        self.counts: Counter[int] = Counter()
        """Packets, by the stream's index."""

    def mux(self, packets: Any) -> None:
        """Write a packet, or several."""
        for packet in packets if isinstance(packets, list) else [packets]:
            self.counts[packet.stream.index] += 1
            self.container.mux(packet)


@contextmanager
def muxing(path: Path) -> Iterator[None]:
    """A muxer's or an encoder's own error reports what it was given; that of a disk is left to others.

    :raises Problem: for the former.
    """
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise _broken(path, f"it cannot be written ({reason_of(error)})") from None


def check_streams(path: Path, wrote: Counter[int]) -> list[str]:
    """Count what is in a file, and decode its first seconds.

    :param wrote: how many packets each stream was given.
    :returns: what the user should know.
    :raises Problem: if something is missing, or does not decode.
    """
    import av

    found: Counter[int] = Counter()
    try:
        with av.open(str(path)) as container:
            kinds = {stream.index: stream.type for stream in container.streams}
            for packet in container.demux():
                found[packet.stream.index] += bool(packet.size)
        decoded = {index: _decode(path, index) for index, kind in kinds.items() if kind in ("audio", "video")}
    except av.error.FFmpegError as error:
        raise _broken(path, f"it cannot be read ({reason_of(error)})") from None
    for index, count in wrote.items():
        # A muxer may add texts that say nothing, to fill the time between others.
        if found[index] < count or (found[index] > count and kinds.get(index) != "subtitle"):
            raise _broken(path, f"it has {found[index]} of {count} packets of {kinds.get(index, 'a stream')}")
    notes = []
    for index, (good, bad) in decoded.items():
        what = "pictures" if kinds[index] == "video" else "packets of sound"
        if not good:
            raise _broken(
                path, f"none of its first {max(1, bad)} {what} can be decoded" if bad else f"it has no {what}"
            )
        if bad:
            notes.append(f"{bad} of the first {good + bad} {what} cannot be decoded")
    return notes


def check_sound(path: Path, rate: int, channels: int, samples: int) -> None:
    """Hold a file of PCM against what was written.

    :raises Problem: if it differs.
    """
    import soundfile

    try:
        info = soundfile.info(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise _broken(path, f"it cannot be read ({error.error_string})") from None
    if (info.samplerate, info.channels, info.frames) != (rate, channels, samples):
        raise _broken(path, f"it has {info.frames} of {samples} samples")


def check_picture(path: Path, size: tuple[int, int] | None = None) -> None:
    """Decode a PNG file.

    :param size: its width and height, where they are known.
    :raises Problem: if that fails, or it is another picture.
    """
    import av

    context: Any = av.CodecContext.create("png", "r")
    try:
        frames = [*context.decode(av.Packet(path.read_bytes())), *context.decode(None)]
    except av.error.FFmpegError as error:
        raise _broken(path, f"it cannot be decoded ({reason_of(error)})") from None
    if not frames or size not in (None, (frames[0].width, frames[0].height)):
        raise _broken(path, "it is not the picture that was written")


def check_pages(path: Path, count: int) -> None:
    """Count the pages of a PDF file.

    :raises Problem: if it cannot be read, or some are missing.
    """
    from PIL import PdfParser

    try:
        with PdfParser.PdfParser(str(path)) as document:
            found = len(document.pages)
    except (PdfParser.PdfFormatError, ValueError, KeyError) as error:
        raise _broken(path, f"it cannot be read ({error})") from None
    if found != count:
        raise _broken(path, f"it has {found} of {count} pages")


def check_table(path: Path, columns: int, rows: int) -> None:
    """Count the rows of a CSV or Parquet file.

    :raises Problem: if it cannot be read, or some are missing.
    """
    if path.suffix == ".csv":
        csv.field_size_limit((1 << 31) - 1)
        try:
            with path.open(newline="", encoding="utf-8") as source:
                found = sum(len(row) == columns for row in csv.reader(source)) - 1
        except (csv.Error, UnicodeError) as error:
            raise _broken(path, f"it cannot be read ({error})") from None
    else:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        # A file of Python's, or a thread of Arrow's, could let go of the file while the interpreter ends, and abort it.
        try:
            with arrow.OSFile(os.fsencode(path)) as written, parquet.ParquetFile(written) as table:
                batches = table.iter_batches(use_threads=False)
                found = sum(batch.num_rows for batch in batches if batch.num_columns == columns)
        except arrow.ArrowInvalid as error:
            raise _broken(path, f"it cannot be read ({error})") from None
    if found != rows:
        raise _broken(path, f"it has {found} of {rows} rows")


def _decode(path: Path, index: int) -> tuple[int, int]:
    """How many of a stream's first packets can be decoded, and how many cannot."""
    import av

    good = bad = 0
    with av.open(str(path)) as container:
        stream: Any = container.streams[index]
        stream.codec_context.thread_count = 1
        first: float | None = None
        for number, packet in enumerate(container.demux(stream)):
            at = None if packet.pts is None else float(packet.pts * packet.time_base)
            first = at if first is None else first
            over = at is not None and first is not None and at - first > _DECODED_S
            if number >= _DECODED or (over and good + bad >= 2):
                break
            try:
                good += len(packet.decode())
            except av.error.FFmpegError:
                bad += 1
        if not good or number >= _DECODED or over:
            try:
                good += len(stream.codec_context.decode(None))  # what the decoder holds back
            except av.error.FFmpegError:
                pass
    return good, bad


def _broken(path: Path, why: str) -> Problem:
    return Problem(
        f"The new {path.suffix.lstrip('.')} file does not play, and was not kept: {why}.",
        "`rtms inspect` shows what the recording has; other formats may do.",
    )
