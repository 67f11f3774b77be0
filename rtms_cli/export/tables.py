"""Packets → a table for whoever plots: one row a media message, as it arrived."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.export.checking import check_table
from rtms_cli.machine import Direction
from rtms_cli.protocol.media import MEDIA_NAMES
from rtms_cli.protocol.messages import Chat, EventUpdate, Media, Transcript
from rtms_cli.protocol.parties import BY_CHANNEL, name_of, party_of
from rtms_cli.recording.people import People

FORMATS = ("csv", "parquet")
COLUMNS = ("at", "channel", "kind", "user_id", "user_name", "bytes", "timestamp", "t", "delay_ms")
"""The participant: in Contact Center and Phone the `channel_id`, and the name by events. Arrival in seconds on the
capture's clock; payload bytes; Zoom's timestamp in ms, and in seconds since the first one; how much later than the
first packet it came, relative to its timestamp."""
_KINDS = ("float", "text", "text", "text", "text", "number", "number", "float", "float")
_ROWS = 50_000


def rows(capture: Capture) -> Iterator[tuple[object, ...]]:
    """Every media message that came in, in order."""
    first: tuple[int, int] | None = None
    product = capture.header.product
    people = People(product, lambda _: None)
    for frame in capture:
        message = frame.message
        if isinstance(message, EventUpdate):
            people.take(message, frame.at_us)
        if frame.direction is not Direction.IN or not isinstance(message, Media | Transcript | Chat):
            continue
        if isinstance(message, Media):
            nbytes = len(message.payload() or b"")
        else:
            nbytes = len((message.text or "").encode("utf-8", "replace"))
        stamp = message.timestamp
        t = delay = None
        if stamp is not None and 0 < stamp < 1 << 62:
            first = first or (stamp, frame.at_us)
            t = (stamp - first[0]) / 1000
            delay = (frame.at_us - first[1]) / 1000 - (stamp - first[0])
        else:
            stamp = None
        people.hear(message, frame.at_us)
        whose = party_of(message, product) if isinstance(message, Media) else people.parties.party_of(message)
        user = message.user_id if whose is None else whose
        user = None if user is None else str(user)
        name = name_of(message, product) or (people.name(whose) if product in BY_CHANNEL else None)
        kind = MEDIA_NAMES[message.media_type]
        yield (
            frame.at_us / 1_000_000,
            frame.channel,
            kind,
            user,
            name,
            nbytes,
            stamp,
            t,
            delay,
        )


_MOST_TOLD = 20


def write_table(path: Path | Capture, target: Path, progress: Callable[[float], None] = lambda _: None) -> list[str]:
    """Write the table of a capture, by the target's extension.

    :returns: what could not be read.
    :raises Problem: if a library is missing.
    """
    capture = path if isinstance(path, Capture) else Capture(path)
    end_us = capture.end_us() or 0
    write, close = open_table(target, COLUMNS, _KINDS)
    count = 0
    batch: list[tuple[object, ...]] = []
    try:
        for row in rows(capture):
            batch.append(row)
            count += 1
            if len(batch) == _ROWS:
                write(batch)
                batch = []
                progress(min(1.0, float(row[0]) * 1_000_000 / end_us) if end_us else 0.0)  # type: ignore[arg-type]
        write(batch)
    finally:
        close()
    check_table(target, len(COLUMNS), count)
    more = len(capture.problems) - _MOST_TOLD
    told = [*capture.problems[:_MOST_TOLD], *([f"{more} more like these"] if more > 0 else [])]
    return [f"{capture.path.name}: {problem}" for problem in told]


def open_table(target: Path, columns: Sequence[str], kinds: Sequence[str]) -> tuple["_Take", Callable[[], object]]:
    """Begin a table, by the target's extension.

    :param kinds: what is in each column: `float`, `text`, `number` or `flag`.
    :returns: what takes rows, and what completes the file.
    :raises Problem: if a library is missing.
    """
    return _csv(target, columns) if target.suffix == ".csv" else _parquet(target, columns, kinds)


_Take = Callable[[list[tuple[object, ...]]], object]


def _csv(target: Path, columns: Sequence[str]) -> tuple[_Take, Callable[[], object]]:
    sink = target.open("w", newline="", encoding="utf-8", errors="replace")
    writer = csv.writer(sink)
    writer.writerow(columns)

    def take(batch: list[tuple[object, ...]]) -> None:
        # A cell that begins so is a formula to a spreadsheet, and names come from outside.
        writer.writerows(
            [f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell for cell in row]
            for row in batch
        )

    return take, sink.close


def _parquet(target: Path, columns: Sequence[str], kinds: Sequence[str]) -> tuple[_Take, Callable[[], object]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise Problem("parquet needs pyarrow.", "pip install 'rtms-cli[export]'") from None
    types = {"float": arrow.float64(), "text": arrow.string(), "number": arrow.int64(), "flag": arrow.bool_()}
    schema: Any = arrow.schema([(name, types[kind]) for name, kind in zip(columns, kinds, strict=True)])
    sink = target.open("wb")  # by its name, pyarrow opens only what is UTF-8
    writer: Any = parquet.ParquetWriter(sink, schema)

    def take(batch: list[tuple[object, ...]]) -> None:
        found = list(zip(*batch, strict=True)) or [()] * len(columns)
        arrays = [arrow.array(list(column), types[kind]) for column, kind in zip(found, kinds, strict=True)]
        writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))

    def close() -> None:
        with sink:
            writer.close()

    return take, close
