"""The only code that touches the disk: small operations that leave a file whole whenever the process dies.

Files are opened for each operation and closed again, so a thousand streams need no thousand descriptors. A symbolic
link in a file's place is not followed. Every error is an `OSError`; what to do about it is the caller's affair.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20


def folder_mode(file_mode: int) -> int:
    """The permissions of a folder: entered by whoever may read its files."""
    return file_mode | (file_mode & 0o444) >> 2


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder and the parents that it lacks, all with the same permissions, less what the umask takes away.

    :raises OSError: where that fails, or something else has the name.
    """
    missing = takewhile(lambda place: not place.exists(), (folder, *folder.parents))
    for place in reversed(list(missing)):
        place.mkdir(mode=mode, exist_ok=True)
    folder.mkdir(exist_ok=True)


@contextmanager
def atomic_path(target: Path, mode: int = 0o600) -> Iterator[Path]:
    """A new, empty file to write to by its path, which takes the target's name if the block succeeds.

    For what is written outside a recording, which is as private: the file has its mode from the beginning.

    :raises OSError: where the target cannot be written, or is a symbolic link.
    """
    if target.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(target))
    temporary = target.with_name(f".{target.stem}.part{target.suffix}")
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode))
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(target: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a whole file outside a recording, or into a device, a pipe or a stream that has the name (`/dev/stdout`).

    :raises OSError: as `atomic_path` does.
    """
    if str(target) == "/dev/stdout":
        _write(1, data)  # which may be a file: opened anew, it would be overwritten by what is printed next
        return
    if _is_stream(target):
        with target.open("wb") as sink:
            sink.write(data)
        return
    with atomic_path(target, mode) as temporary:
        temporary.write_bytes(data)


def _is_stream(path: Path) -> bool:
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(kind) or stat.S_ISFIFO(kind)


def free_space(folder: Path) -> int | None:
    """Bytes that are free where recordings go."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


class Files:
    """The files of one folder, by their relative names (`audio/mixed.wav`). Folders are made as needed.

    :param folder: exists.
    :param mode: the permissions of files that are made; who may read a file may enter its folder. The user's umask
        still takes some away.
    """

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        self.folder = folder
        self._root = f"{folder}{os.sep}"
        self._mode = mode
        self._made = {"."}

    def append(self, name: str, data: bytes) -> None:
        """Append all of the data, or none of it.

        :raises OSError: the file is as it was before, unless even that failed.
        """
        descriptor = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            written = os.write(descriptor, data)
            if written < len(data):
                size = os.fstat(descriptor).st_size - written
                try:
                    _write(descriptor, memoryview(data)[written:])
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise
        finally:
            os.close(descriptor)

    def write_at(self, name: str, parts: list[tuple[int, bytes]]) -> None:
        """Write into a file that exists, in the order given; what lies between and was never written reads as zeros.

        :raises OSError: the parts before the one that failed are written.
        """
        descriptor = self._open(name, os.O_WRONLY)
        try:
            for position, data in parts:
                written = os.pwrite(descriptor, data, position)
                if written < len(data):
                    os.lseek(descriptor, position + written, os.SEEK_SET)
                    _write(descriptor, memoryview(data)[written:])
        finally:
            os.close(descriptor)

    def replace(self, name: str, data: bytes) -> None:
        """Put a whole file in the place of another, or where there was none, in one step."""
        with _Replacement(self, name) as descriptor:
            _write(descriptor, data)

    def insert_zeros(self, name: str, head: bytes, count: int) -> None:
        """Put a new head over the old one (of the same length) and zeros behind it, in one step."""
        source = self._open(name, os.O_RDONLY)
        try:
            with _Replacement(self, name) as descriptor:
                _write(descriptor, head)
                os.lseek(source, len(head), os.SEEK_SET)
                os.lseek(descriptor, len(head) + count, os.SEEK_SET)
                while chunk := os.read(source, _CHUNK):
                    _write(descriptor, chunk)
        finally:
            os.close(source)

    def read(self, name: str) -> bytes:
        """The whole of a file."""
        descriptor = self._open(name, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as source:
            return source.read()

    def remove(self, name: str) -> None:
        """Take a file away, if it is there, and its folder with the last one."""
        (self.folder / name).unlink(missing_ok=True)
        parent, _, _ = name.rpartition("/")
        if parent and parent in self._made and not any((self.folder / parent).iterdir()):
            (self.folder / parent).rmdir()
            self._made.discard(parent)

    def _open(self, name: str, flags: int) -> int:
        parent, _, _ = name.rpartition("/")
        if parent and parent not in self._made:
            (self.folder / parent).mkdir(mode=folder_mode(self._mode), exist_ok=True)
            self._made.add(parent)
        return os.open(self._root + name, flags | _FLAGS, self._mode)


class _Replacement:
    """A file under a passing name; takes its real name if nothing went wrong."""

    def __init__(self, files: Files, name: str) -> None:
        self._files, self._name, self._passing = files, name, f"{name}.part"

    def __enter__(self) -> int:
        self._descriptor = self._files._open(self._passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        return self._descriptor

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        os.close(self._descriptor)
        passing = self._files.folder / self._passing
        if kind is None:
            passing.replace(self._files.folder / self._name)
        else:
            passing.unlink(missing_ok=True)


def _write(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it: the system may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
