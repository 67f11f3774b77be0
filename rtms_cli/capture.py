"""capture.jsonl: every frame, verbatim, one line each (RECORDING.md).

Writing splices the bytes that came over the wire into the line; nothing is parsed or formatted again. What may hold a
secret (handshakes, webhooks, messages that nobody documented) is rebuilt with `"[redacted]"` in its place.
"""

import base64
import codecs
import errno
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from os.path import lexists
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import pybase64
from msgspec import Raw, Struct, structs

from rtms_cli.errors import Problem, reason_of
from rtms_cli.machine import (
    SIGNALING,
    ChannelState,
    Direction,
    Frame,
    Item,
    Packets,
    State,
    Via,
    frame_of,
    state_frame,
)
from rtms_cli.protocol.messages import (
    MAX_TEXT,
    MEDIA_HEADS,
    Audio,
    Share,
    Unreadable,
    Video,
    dumps,
    loads,
    read_packets,
)
from rtms_cli.protocol.saved import encoding_of
from rtms_cli.protocol.secrets import redact, redact_unreadable
from rtms_cli.protocol.strict_json import whole_text
from rtms_cli.protocol.webhooks import UnreadableWebhook
from rtms_cli.untrusted import MOST_LINE, bounded_blocks, is_file, is_folder, open_file, unpacked

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PACKETS = frozenset((Audio, Video, Share))


class Header(Struct, frozen=True, omit_defaults=True):
    """The first line of a capture."""

    rtms_capture: int
    created: str
    generator: str
    product: str = ""
    id: str = ""
    rtms_stream_id: str = ""
    verified: bool = False
    """Whether the webhooks were verified; only a verified one may have a recording deleted."""
    part: int = 1
    """Which file of the recording's this is; a second one begins where someone has deleted or cut the first."""
    epoch: int = 1
    """Which owner of the stream wrote it; a successor counts `at` from the same `created`."""

    def line(self) -> bytes:
        """The line as it is written."""
        return dumps(self) + b"\n"


_HEADER = msgspec.json.Decoder(Header)


def capture_line(frame: Frame) -> bytes:
    """Write a frame as a line of a capture."""
    return b"".join(_pieces(frame))


def capture_lines(items: Iterable[Item]) -> bytes:
    """Write frames and packets as lines of a capture."""
    return b"".join([capture_line(item) if isinstance(item, Frame) else packet_lines(item) for item in items])


def packet_lines(packets: Packets) -> bytes:
    """Write media packets, which hold no secrets, as lines of a capture: those of their frames."""
    if packets.lines:
        return packets.lines
    at_us, raws = packets.at_us, packets.raws
    where = _WHERE_DATA.get((packets.channel, Direction.IN)) or _where_data(packets.channel, Direction.IN)
    for raw in raws:
        if _LF in raw or _CR in raw:
            raws = [_in_one_line(raw) for raw in raws]
            break
    if at_us.count(at_us[0]) == len(at_us):
        start = _at(at_us[0]) + where
        return b"%b%b}\n" % (start, (b"}\n" + start).join(raws))
    return b"".join([piece for at, raw in zip(at_us, raws, strict=True) for piece in (_at(at), where, raw, b"}\n")])


def _at(at_us: int) -> bytes:
    return b'{"at": %d.%06d' % divmod(at_us, 1_000_000)


def _in_one_line(raw: bytes) -> bytes:
    """In valid JSON a literal line break can only be white space."""
    return raw.replace(b"\n", b" ").replace(b"\r", b" ")


def _pieces(frame: Frame) -> tuple[bytes, bytes, bytes, bytes]:
    """A line in pieces: when, where and which way, what, and the end."""
    at = _at(frame.at_us)
    raw, message = frame.raw, frame.message
    if type(message) not in _PACKETS:
        if isinstance(message, Unreadable | UnreadableWebhook):
            return at, _where(frame.channel, frame.direction, frame.via), _unreadable(raw), b"}\n"
        raw = kept_raw(frame)
    if _LF in raw or _CR in raw:  # as numbers: to look for bytes takes five times as long
        raw = _in_one_line(raw)
    if frame.via:
        return at, _where(frame.channel, frame.direction, frame.via) + b'"data": ', raw, b"}\n"
    where = _WHERE_DATA.get((frame.channel, frame.direction)) or _where_data(frame.channel, frame.direction)
    return at, where, raw, b"}\n"


_LF, _CR = b"\n\r"
_WHERE_DATA: dict[tuple[str, Direction], bytes] = {}
_MOST_CHANNELS = 1000


def _where_data(channel: str, direction: Direction) -> bytes:
    where = _where(channel, direction) + b'"data": '
    if len(_WHERE_DATA) < _MOST_CHANNELS:
        _WHERE_DATA[channel, direction] = where
    return where


def _where(channel: str, direction: Direction, via: str = "") -> bytes:
    where = b', "ch": "%b", "dir": "%b", ' % (channel.encode(), direction.encode())
    return where + b'"via": "%b", ' % via.encode() if via else where


def kept_raw(frame: Frame) -> bytes:
    """A frame's bytes as the capture gives them back: redacted, but for media packets, which hold no such keys."""
    if type(frame.message) in _PACKETS:
        return frame.raw
    if isinstance(frame.message, Unreadable | UnreadableWebhook):
        return redact_unreadable(frame.raw)[0]
    return redact(frame.raw)


_TAIL = 1 << 16
"""Bytes of a file's end that hold its last line: the end of a session is not a media packet."""


_PART = re.compile(r"capture(?:\.(?P<number>[1-9]\d{0,5}))?\.jsonl(?:\.zst|\.gz)?")


def part_name(part: int) -> str:
    """A file of a capture by its number: `capture.jsonl`, `capture.2.jsonl`, …"""
    return "capture.jsonl" if part == 1 else f"capture.{part}.jsonl"


def part_of(name: str) -> int | None:
    """Which part of a capture a file is, by its name; `None` if it is not one."""
    found = _PART.fullmatch(name)
    return None if found is None else int(found["number"] or 1)


EPOCHS = "epochs"
"""The folder in a recording's folder that holds the parts of its later owners, each in a folder of its own."""
_EPOCH = re.compile(r"E(?P<epoch>[0-9]{4,6})")
_WHOLE = re.compile(r"W(?P<epoch>[0-9]{4,6})")


def epoch_name(epoch: int) -> str:
    """The folder of a later owner's part, in `epochs`: `E0002`, …"""
    return f"E{epoch:04d}"


def whole_name(epoch: int) -> str:
    """The folder, in `epochs`, of a recording that was made of all parts up to an epoch and has not moved yet."""
    return f"W{epoch:04d}"


def epoch_folders(folder: Path) -> dict[int, Path]:
    """Where the parts of a recording's later owners are, by epoch, in order; no links are followed."""
    return _numbered(folder / EPOCHS, _EPOCH)


def whole_folder(folder: Path) -> tuple[int, Path] | None:
    """The recording that was made of parts and is about to take their place: its last epoch, and where it is."""
    found = _numbered(folder / EPOCHS, _WHOLE)
    return next(reversed(found.items())) if found else None


def _numbered(parent: Path, name: re.Pattern[str]) -> dict[int, Path]:
    if parent.is_symlink() or not is_folder(parent):
        return {}
    found: dict[int, Path] = {}
    for path in sorted(parent.iterdir()):
        match = name.fullmatch(path.name)
        if match is not None and is_folder(path) and not path.is_symlink():
            found.setdefault(int(match["epoch"]), path)
    return dict(sorted(found.items()))


class Capture:
    """A capture file, opened for reading. Iterate it to get its frames in order, as often as you like; `items` yields
    the same, with media in runs.

    If the capture was deleted or truncated while it grew, all remaining parts are read, in order. A line that cannot
    be read is left out, and named in `problems`. Iterating raises a `Problem` only if a file is gone.

    The captures of a recording with several owners are read as one, epoch by epoch, with an `EPOCH` state between two
    of them. Its time is the last sign of the previous owner; frames of the next owner that are older, because the two
    overlapped, get that time.

    :param path: a file (also `.zst` or `.gz`), or a recording's folder; for several files, the first one.
    :raises Problem: if the file cannot be read or is not a capture.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        self._named = path
        self._source: IO[bytes] | None = None
        self._nbytes_before = 0
        self.problems: list[str] = []
        """What the last iteration could not read, with line numbers. A torn last line does not count."""
        self.gaps: list[str] = []
        """The missing pieces of the capture, if the recording itself cannot know of them."""
        self._lacking: list[str] = []
        """What is wrong with parts as a whole."""
        parts = _parts(path)
        whole: dict[Path, Header] = {}
        for (epoch, _), part in parts.items():
            try:
                header = _read_header(part, follows=part == path)
            except Problem as problem:
                if len(parts) == 1:
                    raise
                self._lacking.append(problem.what.rstrip("."))
                continue
            if epoch not in (0, header.epoch) or any(not belong_together(header, one) for one in whole.values()):
                self._lacking.append(f"{part} belongs to another recording")
            else:
                whole[part] = header
        if not whole:
            raise Problem(f"{path} has no capture that can be read: {'; '.join(self._lacking)}.")
        if (0, 1) in parts or is_folder(path):
            self._lacking += _lost(parts)
        self.paths = list(whole)
        self._headers = whole
        self._last = max(parts)[1]
        self.path, first = next(iter(whole.items()))
        self.header = structs.replace(first, verified=all(header.verified for header in whole.values()))

    def __iter__(self) -> Iterator[Frame]:
        return self._joined(self._frames_in)

    def items(self) -> Iterator[Item]:
        """The same frames in fewer pieces: media lines that follow each other come as packets, which were read.

        Only lines of a channel that are byte for byte as `packet_lines` writes them, and packets as documented, are
        taken together; others are frames.
        """
        return self._joined(self._items_in)

    def _joined(self, read: "Callable[[Path, str], Iterator[_Item]]") -> "Iterator[_Item | Frame]":
        """What one function reads of each file, one after the other, with what stands between epochs."""
        epoch, latest_us, floor_us = self.header.epoch, 0, 0
        is_one = len({self._epoch_of(path) for path in self.paths}) == 1
        for path, where in self._files():
            if is_one:
                yield from read(path, where)
                continue
            if (header := self._headers[path]).epoch != epoch:
                epoch, floor_us = header.epoch, latest_us
                change = ChannelState(State.EPOCH, epoch, header.generator)
                yield state_frame(floor_us, SIGNALING, change)
            for item in read(path, where):
                later = _not_before(item, floor_us)
                latest_us = max(latest_us, later.at_us if isinstance(later, Frame) else later.at_us[-1])
                yield later

    def _epoch_of(self, path: Path) -> int:
        return self._headers[path].epoch

    def _frames_in(self, path: Path, where: str) -> Iterator[Frame]:
        number = 2
        for block in self._blocks(path, where):
            for line in _lines(block):
                frame = self._frame(number, line, where)
                number += 1
                if frame is not None:
                    yield frame

    def _items_in(self, path: Path, where: str) -> Iterator[Item]:
        number = 2
        for block in self._blocks(path, where):
            for piece in _in_runs(block):
                if isinstance(piece, Packets):
                    yield piece
                    number += len(piece.raws)
                    continue
                for line in piece:
                    frame = self._frame(number, line, where)
                    number += 1
                    if frame is not None:
                        yield frame

    def _files(self) -> Iterator[tuple[Path, str]]:
        """The files, and how a problem in one begins."""
        self.problems = list(self._lacking)
        self._nbytes_before = 0
        for path in self.paths:
            yield path, f"{_called(path)}: " if len(self.paths) > 1 else ""
            self._nbytes_before += self._nbytes_of(path)

    def _open(self, path: Path) -> io.BufferedReader:
        """One of `paths`, as it is stored."""
        return _opened(path, follows=path == self._named)

    def _nbytes_of(self, path: Path) -> int:
        """How long one of `paths` is."""
        return path.stat().st_size

    def _blocks(self, path: Path, where: str) -> Iterator[bytes | None]:
        """A file's lines behind the header, many at once; `None` stands for one that is too long."""
        with self._open(path) as source, as_utf8(unpacked(source, path.suffix)) as content:
            self._source = source
            content.readline(_LONGEST_HEADER)
            blocks = bounded_blocks(content)
            while True:
                try:
                    block = next(blocks)
                except StopIteration:
                    return
                except (EOFError, OSError) as error:
                    self.problems.append(f"{where}the file ends early: {reason_of(error)}")
                    return
                yield block

    def _frame(self, number: int, line: bytes | None, where: str) -> Frame | None:
        """Return the frame on a line, or note a problem and return `None`. A torn last line is not a problem."""
        if line is None:
            self.problems.append(f"{where}line {number} is longer than {MOST_LINE >> 20} MiB")
            return None
        frame = read_line(line)
        if frame is None and line.endswith(b"\n"):  # else the writer was killed here
            self.problems.append(f"{where}line {number} is not a capture line")
        return frame

    def end_us(self) -> int | None:
        """When the last frame was; `None` if that takes reading all of the file, or the tail is damaged."""
        if self.paths[-1].suffix in (".gz", ".zst"):
            return None
        with self.opened(-1) as source:
            source.seek(max(0, source.seek(0, io.SEEK_END) - _TAIL))
            lines = source.read().splitlines(keepends=True)
        frame = read_line(lines.pop()) if lines else None
        if frame is None and lines:
            frame = read_line(lines[-1])  # the last one was torn
        return None if frame is None else frame.at_us

    def opened(self, place: int) -> IO[bytes]:
        """One of `paths`, as it is on the disk."""
        return self._open(self.paths[place])

    def goes_on_behind(self, place: int) -> bool:
        """Whether there is another file behind one of `paths`; one that has been begun since is added to them."""
        if place == len(self.paths) - 1:
            for number in count(self._last + 1):
                following = self.paths[place].with_name(part_name(number))
                if not lexists(following):
                    break
                with suppress(Problem):  # someone else's file: the recorder has passed over it
                    self._headers[following] = _read_header(following, follows=False)
                    self.paths.append(following)
                    self._last = number
                    break
        return place < len(self.paths) - 1

    @property
    def shown(self) -> str:
        """What to call it when people are told of it."""
        return str(self.path)

    @property
    def nbytes(self) -> int:
        """The length of the files."""
        return sum(map(self._nbytes_of, self.paths))

    @property
    def position(self) -> int:
        """How many bytes of the files the last iteration has read (compressed bytes for compressed files)."""
        if self._source is None:
            return 0
        return self._nbytes_before if self._source.closed else self._nbytes_before + self._source.tell()


class PipedCapture(Capture):
    """A capture that comes through a pipe. It is kept in a temporary file, for it may be read several times.

    :param source: the whole capture, also compressed as `.gz` or `.zst`.
    :raises Problem: if it cannot be read or is not a capture.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="rtms-")
        head = source.read(len(_ZSTD))
        suffix = ".gz" if head.startswith(_GZIP) else ".zst" if head == _ZSTD else ""
        path = Path(self._kept.name) / f"standard-input.jsonl{suffix}"
        try:
            with path.open("wb") as target:
                target.write(head)
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise Problem(f"The capture on standard input cannot be kept: {reason_of(error)}.") from None
        if not head:
            raise Problem("Standard input is empty.", "Pipe a capture.jsonl in, also as .gz or .zst.")
        try:
            super().__init__(path)
        except Problem as problem:  # the temporary file is nothing that people know
            what = problem.what.replace(str(path), "Standard input", 1)
            raise Problem(what, problem.remedy) from None

    @property
    def shown(self) -> str:
        """What to call it when people are told of it."""
        return "standard input"


_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""What compressed files begin with."""


_LONGEST_HEADER = 1 << 20
_Item = TypeVar("_Item", Frame, Item)


def _not_before(item: _Item, at_us: int) -> _Item:
    """Something no earlier than a moment."""
    if isinstance(item, Frame):
        return item if item.at_us >= at_us else structs.replace(item, at_us=at_us)
    if min(item.at_us) >= at_us:
        return item
    return structs.replace(item, at_us=[max(one, at_us) for one in item.at_us], lines=b"")


def belong_together(one: Header, other: Header) -> bool:
    """Whether captures are of one recording; another owner may be another version, with other webhooks."""
    if one.epoch != other.epoch:
        one = structs.replace(one, epoch=other.epoch, generator=other.generator, verified=other.verified)
    return structs.replace(one, part=1) == structs.replace(other, part=1)


def _called(path: Path) -> str:
    """A file of a capture, for people who know which recording it belongs to."""
    return "/".join(path.parts[-3:]) if path.parent.parent.name == EPOCHS else path.name


def _lost(parts: dict[tuple[int, int], Path]) -> list[str]:
    """Which parts are missing between those that are there."""
    lost = []
    for epoch in dict.fromkeys((0, *(epoch for epoch, _ in parts))):
        last = max((number for one, number in parts if one == epoch), default=2)
        missing = [number for number in range(1, last) if (epoch, number) not in parts]
        where = f"{EPOCHS}/{epoch_name(epoch)}/" if epoch else ""
        lost += [f"{where}{part_name(number)} is not there any more" for number in missing]
    return lost


def _read_header(path: Path, *, follows: bool) -> Header:
    return read_header(_opened(path, follows=follows), path)


def read_header(source: io.BufferedReader, path: Path) -> Header:
    """A capture's first line; closes the source.

    :param source: the file, or its beginning, as it is stored.
    :raises Problem: if it is not valid.
    """
    try:
        with source, as_utf8(unpacked(source, path.suffix)) as lines:
            header = _HEADER.decode(lines.readline(_LONGEST_HEADER))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, EOFError, OSError):
        raise Problem(
            f"{path} is not a capture: its first line is not a header.",
            'A capture starts with {"rtms_capture": 1, …}; `rtms demo` makes one.',
        ) from None
    if header.rtms_capture != 1:
        raise Problem(
            f"{path} is a capture of version {header.rtms_capture}; this rtms reads version 1.",
            "A newer rtms reads it: pip install --upgrade rtms-cli",
        )
    return header


def _opened(path: Path, *, follows: bool) -> io.BufferedReader:
    try:
        return open_file(path, follows=follows)
    except (OSError, ValueError) as error:
        raise Problem(
            f"Cannot read {path}: {reason_of(error)}.",
            "Give a capture.jsonl (also .gz or .zst) or a recording's folder.",
        ) from None


def as_utf8(source: io.BufferedReader) -> io.BufferedReader:
    """A text as it was before an editor or PowerShell put a byte order mark in front, or made UTF-16 of it."""
    head = source.peek(64)[:64]
    encoding, _, mark = encoding_of(head)
    source.read(mark)
    return source if encoding == "utf-8" else io.BufferedReader(_Recoded(source, encoding), 1 << 16)


class _Recoded(io.RawIOBase):
    """A text file's bytes in UTF-8."""

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        while not self._ready:
            chunk = self._source.read(1 << 14)
            try:
                self._ready = self._decoder.decode(chunk).encode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise OSError(errno.EILSEQ, f"it is not {error.encoding}") from None
            if not chunk:
                break
        view = memoryview(buffer).cast("B")
        taken, self._ready = self._ready[: len(view)], self._ready[len(view) :]
        view[: len(taken)] = taken
        return len(taken)


def _parts(path: Path) -> dict[tuple[int, int], Path]:
    """The files that a path stands for, by their epochs and numbers: those of a recording, or one that is not a first
    part. The folder's own have epoch 0 here.
    """
    folder = path if is_folder(path) else path.parent
    if path != folder and part_of(path.name) != 1:
        return {(0, 1): path}
    found: dict[tuple[int, int], Path] = {} if path == folder else {(0, 1): path}
    whole = whole_folder(folder)
    last, own = (0, folder) if whole is None or not lexists(whole[1] / part_name(1)) else whole
    if last:
        found.clear()
    _find_parts(own, 0, found)
    for epoch, place in epoch_folders(folder).items():
        if epoch > last:
            _find_parts(place, epoch, found)
    return dict(sorted(found.items())) or {(0, 1): folder / part_name(1)}


def _find_parts(folder: Path, epoch: int, found: dict[tuple[int, int], Path]) -> None:
    for file in sorted(folder.glob("capture*.jsonl*"), key=lambda file: len(file.name)):
        number = part_of(file.name)
        if number is not None and is_file(file):
            found.setdefault((epoch, number), file)


def _lines(block: bytes | None) -> Sequence[bytes | None]:
    """The lines of a block, with their ends; the last one may lack it. `None` is one that is too long."""
    if block is None:
        return [None]
    *lines, rest = block.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def _in_runs(block: bytes | None) -> Iterator[Packets | Sequence[bytes | None]]:
    """The lines of a block, with their ends: those together that are media of one channel, byte for byte as
    `packet_lines` writes them; others are to be read one by one.
    """
    end = 0 if block is None else block.rfind(b"\n") + 1
    if block is None or b"\r" in block or not end:
        yield _lines(block)
        return
    found = _Found(*zip(*_EVERY_LINE.findall(block, 0, end), strict=True))
    start = first = 0
    for edge in (*[place for place, channel in enumerate(found.channels) if not channel], len(found.channels)):
        while first < edge:
            last = min(edge, first + _MOST_IN_RUN)
            stop = start + found.nbytes(first, last)
            yield from _read_run(block[start:stop], found.part(first, last))
            start, first = stop, last
        if edge < len(found.channels):
            other = found.others[edge] + b"\n"
            yield [other]
            start, first = start + len(other), edge + 1
    if end < len(block):
        yield [block[end:]]


class _Found(NamedTuple):
    """What a pattern has found in lines: of each the pieces that it has."""

    seconds: Sequence[bytes]
    micros: Sequence[bytes]
    channels: Sequence[bytes]
    raws: Sequence[bytes]
    others: Sequence[bytes]
    """Lines that are not media, without their ends."""

    def part(self, start: int, stop: int) -> "_Found":
        """Some of the lines."""
        return _Found(*(pieces[start:stop] for pieces in self))

    def nbytes(self, start: int, stop: int) -> int:
        """How long some lines are together, all of which are media."""
        pieces = sum(sum(map(len, pieces[start:stop])) for pieces in (self.seconds, self.channels, self.raws))
        return pieces + (stop - start) * _AROUND_PIECES


def _read_run(text: bytes, found: _Found) -> Iterator[Packets | Sequence[bytes | None]]:
    """The packets of lines, those of one channel together; the lines where one of them is not as documented."""
    read = read_packets(found.raws, whole=True)
    if read is None:
        yield _lines(text)
        return
    at_us = [int(seconds + micros) for seconds, micros in zip(found.seconds, found.micros, strict=True)]
    channels, count = found.channels, len(found.channels)
    start = begin = 0
    while start < count:
        channel, stop = channels[start], count
        if channels[start:].count(channel) < count - start:
            stop = next(place for place in range(start, count) if channels[place] != channel)
        end = begin + found.nbytes(start, stop)
        raws = list(found.raws[start:stop])
        yield Packets(channel.decode(), at_us[start:stop], raws, sum(map(len, raws)), text[begin:end], read[start:stop])
        start, begin = stop, end


_EVERY_LINE = re.compile(
    rb'(?:\{"at": (0|[1-9][0-9]{0,8})\.([0-9]{6}), "ch": "(media(?:\.[a-z]{1,20})?)", "dir": "in", "data": '
    rb"((?:%b).*)\}|(.*))\n" % b"|".join(map(re.escape, MEDIA_HEADS))
)
"""Any line: one of media in its pieces, or another one. More than nine digits of seconds are more than a float can tell
apart."""
_AROUND_PIECES = len(b'{"at": .000000, "ch": "", "dir": "in", "data": }\n')
_MOST_IN_RUN = 256


class _Line(Struct):
    at: float
    ch: str
    dir: str
    via: object = None
    data: Raw = Raw(b"")  # a union with Raw is something that msgspec does not decode; empty is none
    text: str | None = None
    base64: str | None = None


_LINE = msgspec.json.Decoder(_Line)
_MOST_AT_S = 1e10
"""Three hundred years: what is said to come later was not."""
_DATA = b'"data": '
_BLANKS = b" \t\r"
_DIRECTIONS = {direction.value: direction for direction in Direction}
_SPLICED = re.compile(
    rb'\{"at": (?P<s>\d{1,10})\.(?P<us>\d{6}), "ch": "(?P<ch>[^"\\]*)", "dir": "(?P<dir>in|out|state)", '
    rb'(?:"via": "(?P<via>[a-z]{1,20})", )?"data": (?P<data>.*)\}\n?'
)


def read_line(line: bytes) -> Frame | None:
    """Read one line of a capture; `None` if it is not valid."""
    try:
        parts = _LINE.decode(line)
        direction = _DIRECTIONS[parts.dir]
        raw = bytes(parts.data)
        if parts.text is not None:
            raw = parts.text.encode("utf-8", "surrogatepass")
        elif parts.base64 is not None:
            raw = base64.b64decode(parts.base64, validate=True)
        elif not raw:
            return None
        elif line[line.find(_DATA) + len(_DATA)] in _BLANKS or line[-3] in _BLANKS:
            raw = _with_blanks(line, raw)
        if not 0 <= parts.at <= _MOST_AT_S:
            return None
        at_us = round(parts.at * 1_000_000)
    except (msgspec.MsgspecError, ValueError, KeyError, RecursionError, OverflowError):
        return _read_spliced(line)
    return frame_of(at_us, parts.ch, direction, raw, _via(parts.via))


def _via(given: object) -> str:
    """By which way a webhook came; empty if a line does not say, or nothing that we know."""
    return given if isinstance(given, str) and given in _VIAS else ""


_VIAS = frozenset(Via)


def _with_blanks(line: bytes, raw: bytes) -> bytes:
    """What came, with the white space around it, which was counted too."""
    parts = _SPLICED.fullmatch(line)
    return parts["data"] if parts is not None and parts["data"].strip() == raw else raw


def _read_spliced(line: bytes) -> Frame | None:
    """Read a line as `capture_line` writes it whose data the fast parser refuses: lone surrogates, in most cases."""
    parts = _SPLICED.fullmatch(line)
    if parts is None:
        return _read_rewritten(line)
    try:
        loads(parts["data"])
        channel = parts["ch"].decode()
    except ValueError:
        return None
    at_us = int(parts["s"]) * 1_000_000 + int(parts["us"])
    return frame_of(
        at_us, channel, Direction(parts["dir"].decode()), parts["data"], _via((parts["via"] or b"").decode())
    )


def _read_rewritten(line: bytes) -> Frame | None:
    """Read such a line where someone else has written it, with other blanks or in another order."""
    try:
        given: Any = loads(line, lone=True)
        at, channel, direction = given["at"], given["ch"], Direction(given["dir"])
        if not isinstance(channel, str) or not 0 <= at <= _MOST_AT_S:
            return None
        channel = str(whole_text(channel, names=True))
        raw = dumps(given["data"], lone=True)
        return frame_of(round(at * 1_000_000), channel, direction, raw, _via(given.get("via")))
    except (ValueError, KeyError, TypeError):
        return None


def _unreadable(raw: bytes) -> bytes:
    """What is not a message: as data if it is JSON anyway, else as text or bytes."""
    kept, is_json = redact_unreadable(raw)
    if is_json:
        return b'"data": ' + kept.replace(b"\n", b" ").replace(b"\r", b" ")
    if len(raw) <= MAX_TEXT:  # of a large one, every byte may become an escape
        try:
            return b'"text": ' + msgspec.json.encode(kept.decode())
        except UnicodeDecodeError:
            pass
    return b'"base64": "' + pybase64.b64encode(kept) + b'"'
