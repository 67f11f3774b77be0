"""The index of a picture file: which frame lies where in it, and when it came."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rtms_cli.errors import Problem, reason_of
from rtms_cli.untrusted import bounded_lines, open_file


class Indexed(Struct):
    """One line of an index."""

    offset: Annotated[int, Meta(ge=0)]
    length: Annotated[int, Meta(ge=0)]
    timestamp: Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)] | None
    key: bool
    parameter_sets: bool = False
    at_ms: Annotated[int, Meta(ge=0, le=1 << 62)] | None = None

    def time_ms(self, origin_ms: int) -> int | None:
        """When it is to be seen: by its timestamp, or by its arrival where nothing else was known."""
        if self.timestamp is not None:
            return self.timestamp
        return None if self.at_ms is None else origin_ms + self.at_ms


_INDEXED = msgspec.json.Decoder(Indexed)


def indexed(path: Path) -> Iterator[Indexed]:
    """A picture file's index; a torn last line is left out, and what lies behind the file's end.

    :raises Problem: if a line is damaged, or repeats an earlier one.
    """
    size = path.stat().st_size
    index = path.with_name(f"{path.name}.index.jsonl")
    try:
        source = open_file(index)
    except OSError as error:
        raise Problem(f"Cannot read {index}: {reason_of(error)}.", "`rtms repair` may restore it.") from None
    end = 0
    with source:
        for number, line in enumerate(bounded_lines(source), 1):
            if line is not None and not line.endswith(b"\n"):
                return
            try:
                one = _INDEXED.decode(line or b"")
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                raise _damaged(index, number) from None
            if one.offset < end:
                raise _damaged(index, number)
            end = one.offset + one.length
            if end <= size:
                yield one


def _damaged(index: Path, number: int) -> Problem:
    return Problem(f"{index}:{number} is damaged.", "`rtms repair` may restore it.")
