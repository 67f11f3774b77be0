"""Reading what may come from someone else: no link is followed, only files are opened, and what is read is bounded.

A recording can be sent to people, and so can a trap. A manifest can name any path, a folder can hold links and pipes,
and a small file can unpack to a large one.
"""

import errno
import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

MOST_LINE = 200 << 20
"""The longest line that is read: a message of 32 MiB, every byte of which became an escape."""
MOST_RATIO, _FREE_NBYTES = 500, 32 << 20
"""What a compressed file may unpack to: this many times its size, once it is past this many bytes."""

JOINERS = re.compile("(?<=[^\\x00-\\x7f\\u200c\\u200d])[\\u200c\\u200d](?=[^\\x00-\\x7f\\u200c\\u200d])")
"""What joins letters, as in Persian, and pictures, as in an emoji of a family: it is part of what people write."""

_LEAST_RATE, _MOST_RATE, _MOST_CHANNELS = 1_000, 384_000, 8
"""What a recording's sound can be."""
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_BUFFER = 1 << 18
_CHUNK = 1 << 16
_PIECE = 512
"""Compressed bytes that are unpacked at once: at most some 16 MiB come of them."""


def open_inside(folder: Path, name: str | Path) -> io.BufferedReader:
    """Open a file by its relative name, which a stranger may have chosen, for reading.

    :param folder: may be a link itself, for it is the user who names it.
    :raises OSError: if there is none, it is not a file, or it lies outside of the folder or behind a link.
    """
    parts = PurePosixPath(name).parts
    path = folder / name
    if not parts or ".." in parts or Path(name).is_absolute():
        raise OSError(errno.EINVAL, "it lies outside of the folder", str(path))
    try:
        for count in range(1, len(parts)):
            if folder.joinpath(*parts[:count]).is_symlink():
                raise OSError(errno.ELOOP, "it lies behind a symbolic link", str(path))
        return open_file(path)
    except ValueError:  # NUL, or what the file system's encoding does not have
        raise OSError(errno.EINVAL, "it is not a name of a file", ascii(name)) from None


def open_file(path: Path, *, follows: bool = False) -> io.BufferedReader:
    """Open a file for reading, if it is one: no pipe, device or folder.

    :param follows: whether it may be a symbolic link, because the user named it.
    :raises OSError: if that is not so.
    """
    if not follows and path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    flags = _FLAGS & ~getattr(os, "O_NOFOLLOW", 0) if follows else _FLAGS
    source: io.BufferedReader = io.BufferedReader(
        _Named(path, opener=lambda name, mode: os.open(name, mode | flags)), _BUFFER
    )
    if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        source.close()
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    return source


class _Named(io.FileIO):
    """A file whose errors while it is read name it, as those of opening it do."""

    def readinto(self, buffer: "Buffer") -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            error.filename = self.name
            raise

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            error.filename = self.name
            raise


def is_file(path: Path) -> bool:
    """Whether it is a file, or a link to one. What cannot be looked at, for whatever reason, is not one."""
    return os.path.isfile(path)  # noqa: PTH113  # Path.is_file raises where it may not look


def is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link to one. What cannot be looked at, for whatever reason, is not one."""
    return os.path.isdir(path)  # noqa: PTH112


def open_sound(folder: Path, name: str) -> Any:
    """Open a sound file as `open_inside` does, as a `soundfile.SoundFile` that is what a recording may hold.

    :raises OSError: if that is not so.
    """
    import soundfile

    with open_inside(folder, name) as source:
        try:
            sound = soundfile.SoundFile(os.dup(source.fileno()))  # which closes it, whatever happens
        except soundfile.LibsndfileError as error:
            raise OSError(errno.EINVAL, str(error.error_string).rstrip("."), source.name) from None
    if not _LEAST_RATE <= sound.samplerate <= _MOST_RATE or sound.channels > _MOST_CHANNELS:
        sound.close()
        raise OSError(errno.EINVAL, f"it says {sound.channels} channels at {sound.samplerate} Hz", source.name)
    return sound


def read_bounded(source: IO[bytes], most: int) -> bytes:
    """The whole of a file.

    :raises ValueError: if it is larger.
    """
    with source:
        content = source.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most >> 20} MiB")
    return content


def bounded_lines(source: IO[bytes], most: int = MOST_LINE) -> Iterator[bytes | None]:
    """The lines of a file, with their ends; the last one may lack it. `None` stands for one that is too long."""
    while line := source.readline(most):
        if len(line) < most or line.endswith(b"\n"):
            yield line
            continue
        while (rest := source.readline(_CHUNK)) and not rest.endswith(b"\n"):
            pass
        yield None


def bounded_blocks(source: io.BufferedReader, most: int = MOST_LINE) -> Iterator[bytes | None]:
    """A file's lines, with their ends, many at once; the last one may lack its end. `None` stands for a line that is
    too long, between blocks.

    :param most: not less than is read at once.

    What was read before an error is given before that is raised.
    """
    waiting: list[bytes] = []  # the beginning of a line
    nbytes = 0
    while block := source.read1(_BUFFER):
        first, last = block.find(b"\n") + 1, block.rfind(b"\n") + 1
        if first and nbytes + first > most:
            yield None
            waiting, nbytes = [], 0
            block, last = block[first:], last - first
        if last > 0:
            yield b"".join((*waiting, block[:last]))
            waiting, nbytes = [], 0
            block = block[last:]
        nbytes += len(block)
        if nbytes < most:
            waiting.append(block)
        else:
            waiting.clear()
    if nbytes >= most:
        yield None
    elif nbytes:
        yield b"".join(waiting)


def unpacked(source: io.BufferedReader, suffix: str) -> io.BufferedReader:
    """A file as it was before it was compressed to `.gz` or `.zst`; any other is what it is.

    Reading raises an `OSError` where it is damaged or unpacks to far too much, and an `EOFError` where it was cut.
    """
    if suffix == ".gz":
        return io.BufferedReader(_Unpacked(source, lambda: zlib.decompressobj(wbits=31), zlib.error), _CHUNK)
    if suffix == ".zst":
        import zstandard

        make = zstandard.ZstdDecompressor().decompressobj
        return io.BufferedReader(_Unpacked(source, make, zstandard.ZstdError), _CHUNK)
    return source


class _Unpacked(io.RawIOBase):
    """A compressed file, read as it is unpacked; unlike the libraries' own readers it knows bounds."""

    def __init__(self, source: IO[bytes], make: Callable[[], Any], error: type[Exception]) -> None:
        self._source, self._make, self._error = source, make, error
        self._unpack = make()
        self._begun = False
        self._waiting = b""
        self._ready = memoryview(b"")
        self._unpacked_nbytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready:
            if not self._waiting and not (chunk := self._source.read(_CHUNK)):
                if self._begun:
                    raise EOFError("it was cut")
                return 0
            self._waiting = self._waiting or chunk
            self._take()
        taken = self._ready[: len(view)]
        self._ready = self._ready[len(taken) :]
        view[: len(taken)] = taken
        return len(taken)

    def _take(self) -> None:
        """Unpack the next piece."""
        if not self._begun:  # a file may be made of several, and end with zeros
            self._waiting = self._waiting.lstrip(b"\0") if self._unpacked_nbytes else self._waiting
            if not self._waiting:
                return
            self._unpack = self._make()
        piece, self._waiting = self._waiting[:_PIECE], self._waiting[_PIECE:]
        try:
            self._ready = memoryview(self._unpack.decompress(piece))
        except self._error as error:
            raise OSError(str(error)) from None
        self._begun = not self._unpack.eof
        if self._unpack.eof:
            self._waiting = self._unpack.unused_data + self._waiting
        self._unpacked_nbytes += len(self._ready)
        if self._unpacked_nbytes > max(_FREE_NBYTES, MOST_RATIO * self._source.tell()):
            raise OSError(errno.EFBIG, f"it unpacks to more than {MOST_RATIO} times its size")
