"""The only code that touches the disk: small operations that leave a file whole whenever the process dies.

Files are opened for each operation and closed again, so a thousand streams need no thousand descriptors. A symbolic
link in a file's place is not followed, and nothing but a file is written to: a pipe would hold up the writing thread.
Every error is an `OSError`; what to do about it is the caller's affair.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from rtms_cli.capture import EPOCHS

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""To open a pipe without a reader, or a terminal, fails or does nothing, instead of waiting."""
_CHUNK = 1 << 20

SEARCH_INDEX = ".search.sqlite"
"""The cache that `rtms search` keeps in the folder that recordings are in."""

Mark = tuple[int, int, int]
"""Of a file: which it is, its size, and when it was written to last."""


def folder_mode(file_mode: int) -> int:
    """The permissions of a folder: entered by whoever may read its files."""
    return file_mode | (file_mode & 0o444) >> 2


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder and the parents that it lacks, all with the same permissions, less what the umask takes away.

    :raises OSError: if that fails, or something else has the name.
    """
    missing = takewhile(lambda place: not place.exists(), (folder, *folder.parents))
    for place in reversed(list(missing)):
        place.mkdir(mode=mode, exist_ok=True)
    folder.mkdir(exist_ok=True)


@contextmanager
def atomic_path(target: Path, mode: int = 0o600, suffix: str = "") -> Iterator[Path]:
    """A new, empty file to write to by its path, which takes the target's name if the block succeeds.

    For what is written outside a recording, which is as private: the file has its mode from the beginning. Processes
    that write the same target at once do not get in each other's way: the last one's file stays.

    :param suffix: what the new file's name ends with, where that is not the target's suffix: `.mp4`.
    :raises OSError: if the target cannot be written, or is a symbolic link.
    """
    if target.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(target))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{suffix or target.suffix}")
    temporary.unlink(missing_ok=True)
    try:  # from here on: a signal may end the process right behind the opening
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode))
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(target: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a whole file outside a recording, or into a device, a pipe or a stream that has the name (`/dev/stdout`).

    :raises OSError: as `atomic_path` does.
    """
    if str(target) == "/dev/stdout":
        write_all(1, data)  # which may be a file: opened again, it would be overwritten by what is printed next
        return
    if is_stream(target):
        with target.open("wb") as sink:
            sink.write(data)
        return
    with atomic_path(target, mode) as temporary:
        temporary.write_bytes(data)


def is_stream(path: Path) -> bool:
    """Whether a path leads to a device or a pipe, which takes what is written and keeps its name."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False  # whoever opens it hears the reason
    return stat.S_ISCHR(kind) or stat.S_ISFIFO(kind)


def forget_search(place: Path) -> None:
    """Delete the search index of a folder with recordings: something in it was deleted, which nobody may find now.

    :raises OSError: if that fails.
    """
    for name in (SEARCH_INDEX, f"{SEARCH_INDEX}-journal", f"{SEARCH_INDEX}-wal", f"{SEARCH_INDEX}-shm"):
        (place / name).unlink(missing_ok=True)


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder; links are not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:
                continue  # it has gone meanwhile
    return total


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

    It knows how long each file is that it has written. Where someone else has deleted, cut or replaced one, writing
    goes on in its place, what is gone reads as zeros but for lines, and `changed` reports it.

    :param folder: exists.
    :param mode: the permissions of files that are made; who may read a file may enter its folder. The user's umask
        still takes some away.
    """

    is_kept = True
    """Whether what is written can be read again."""

    def __init__(self, folder: Path, mode: int = 0o600) -> None:
        self.folder = folder
        self.changed: dict[str, int] = {}
        """Files that were found not to be as they were left, and how many of their bytes are gone."""
        self._root = f"{folder}{os.sep}"
        self._mode = mode
        self._made = {"."}
        self._sizes: dict[str, int] = {}

    def marks(self, names: Iterable[str]) -> tuple[Mark | None, ...]:
        """What shows whether anyone has changed some files in between; `None` of one that is not there."""
        found: list[Mark | None] = []
        for name in names:
            try:
                known = (self.folder / name).stat()
            except OSError:
                found.append(None)
            else:
                found.append((known.st_ino, known.st_size, known.st_mtime_ns))
        return tuple(found)

    def missing_nbytes(self, name: str) -> int | None:
        """How many bytes of a file are gone that were written; `None` if it is as it was left.

        A folder that is not there any more says nothing about its files.
        """
        known = self._sizes.get(name)
        if known is None:
            return None
        try:
            size = os.lstat(self._root + name).st_size
        except FileNotFoundError:
            return known if self.folder.is_dir() else None
        except OSError:
            return None  # writing to it will tell
        return None if size == known else max(0, known - size)

    def append(self, name: str, data: bytes) -> int:
        """Append all of the data, or none of it.

        :returns: where in the file it begins.
        :raises OSError: the file is as it was before, unless even that failed.
        """
        descriptor, size = self._open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            known = self._notice(name, size)
            if size != known and name.endswith(".jsonl"):
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data  # behind a torn line
            elif size < known:
                os.ftruncate(descriptor, known)  # an index has places in it
                size = known
            self._sizes[name] = size
            written = os.write(descriptor, data)
            if written < len(data):
                try:
                    write_all(descriptor, memoryview(data)[written:])
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise
            self._sizes[name] = size + len(data)
        finally:
            os.close(descriptor)
        return size

    def write_at(self, name: str, parts: list[tuple[int, bytes]]) -> None:
        """Write into a file, in the order given; what lies between and was never written reads as zeros.

        :raises OSError: the parts before the one that failed are written.
        """
        descriptor, size = self._open(name, os.O_WRONLY | os.O_CREAT)
        try:
            self._notice(name, size)
            self._sizes.pop(name, None)  # of a write that fails, a part may be done
            for position, data in parts:
                written = os.pwrite(descriptor, data, position)
                if written < len(data):
                    os.lseek(descriptor, position + written, os.SEEK_SET)
                    write_all(descriptor, memoryview(data)[written:])
                size = max(size, position + len(data))
            self._sizes[name] = size
        finally:
            os.close(descriptor)

    def replace(self, name: str, data: bytes) -> None:
        """Put a whole file in the place of another, or if there was none, in one step."""
        with _Replacement(self, name) as descriptor:
            write_all(descriptor, data)
        self._sizes[name] = len(data)

    def insert_zeros(self, name: str, head: bytes, count: int) -> None:
        """Put a new head over the old one (of the same length) and zeros behind it, in one step."""
        source, size = self._open(name, os.O_RDWR | os.O_CREAT)
        try:
            self._notice(name, size)
            with _Replacement(self, name) as descriptor:
                write_all(descriptor, head)
                os.lseek(source, len(head), os.SEEK_SET)
                os.lseek(descriptor, len(head) + count, os.SEEK_SET)
                while chunk := os.read(source, _CHUNK):
                    write_all(descriptor, chunk)
            self._sizes[name] = max(size + count, len(head))
        finally:
            os.close(source)

    def read(self, name: str) -> bytes:
        """The whole of a file; of one that is gone, nothing."""
        descriptor, size = self._open(name, os.O_RDWR | os.O_CREAT)
        with os.fdopen(descriptor, "rb") as source:
            self._notice(name, size)
            return source.read()

    def remove(self, name: str) -> None:
        """Take a file away, if it is there, and its folder with the last one."""
        (self.folder / name).unlink(missing_ok=True)
        self._sizes.pop(name, None)
        parent, _, _ = name.rpartition("/")
        if parent and parent in self._made and not any((self.folder / parent).iterdir()):
            (self.folder / parent).rmdir()
            self._made.discard(parent)

    def remove_all(self, names: Iterable[str]) -> Iterator[tuple[str, OSError]]:
        """Take files away, and the search index that may have what was said in them.

        :returns: what could not be removed, and why.
        """
        for name in names:
            try:
                self.remove(name)
            except OSError as error:
                yield name, error
        place = self.folder.parent
        try:
            forget_search(place.parent.parent if place.name == EPOCHS else place)
        except OSError as error:
            yield SEARCH_INDEX, error

    def _notice(self, name: str, size: int) -> int:
        """Take note of a file that is not as it was left.

        :returns: how long it was.
        """
        known = self._sizes.get(name, size)
        if size != known:
            self.changed[name] = self.changed.get(name, 0) + max(0, known - size)
        return known

    def _open(self, name: str, flags: int) -> tuple[int, int]:
        """Open a file.

        :returns: a descriptor, and the file's size.
        :raises OSError: also where something else than a file has the name.
        """
        parent, _, _ = name.rpartition("/")
        if parent and parent not in self._made:
            self._make(parent)
        try:
            descriptor = os.open(self._root + name, flags | _FLAGS | _AT_ONCE, self._mode)
        except FileNotFoundError:
            if not parent or not flags & os.O_CREAT:
                raise
            self._make(parent)  # again: someone has deleted it
            descriptor = os.open(self._root + name, flags | _FLAGS | _AT_ONCE, self._mode)
        except OSError as error:
            raise _no_file() if error.errno == errno.ENXIO else error from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise _no_file()
        return descriptor, found.st_size

    def _make(self, parent: str) -> None:
        (self.folder / parent).mkdir(mode=folder_mode(self._mode), exist_ok=True)
        if (self.folder / parent).is_symlink():
            raise OSError(errno.ELOOP, "Its folder is a symbolic link")
        self._made.add(parent)


class NoFiles(Files):
    """Nothing is kept: a recorder that only notifies its listener."""

    is_kept = False

    def __init__(self) -> None:
        super().__init__(Path())

    def marks(self, names: Iterable[str]) -> tuple[Mark | None, ...]:
        """See `Files`: nobody can touch what is not there."""
        return tuple((0, 0, 0) for _ in names)

    def missing_nbytes(self, name: str) -> int | None:
        """See `Files`."""
        return None

    def append(self, name: str, data: bytes) -> int:
        """See `Files`."""
        size = self._sizes.get(name, 0)
        self._sizes[name] = size + len(data)
        return size

    def write_at(self, name: str, parts: list[tuple[int, bytes]]) -> None:
        """See `Files`."""

    def replace(self, name: str, data: bytes) -> None:
        """See `Files`."""

    def insert_zeros(self, name: str, head: bytes, count: int) -> None:
        """See `Files`."""

    def read(self, name: str) -> bytes:
        """See `Files`."""
        return b""

    def remove(self, name: str) -> None:
        """See `Files`."""

    def remove_all(self, names: Iterable[str]) -> Iterator[tuple[str, OSError]]:
        """See `Files`."""
        return iter(())


def _no_file() -> OSError:
    return OSError(errno.EINVAL, "Something that is not a file has its name")


class _Replacement:
    """A file under a temporary name; takes its real name if nothing went wrong."""

    def __init__(self, files: Files, name: str) -> None:
        self._files, self._name, self._temporary = files, name, f"{name}.part"

    def __enter__(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._descriptor, _ = self._files._open(self._temporary, flags)
        except FileExistsError:  # a process was killed here, or it was put there
            (self._files.folder / self._temporary).unlink()
            self._descriptor, _ = self._files._open(self._temporary, flags)
        return self._descriptor

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        os.close(self._descriptor)
        temporary = self._files.folder / self._temporary
        try:
            if kind is None:
                temporary.replace(self._files.folder / self._name)
        finally:
            temporary.unlink(missing_ok=True)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it: the system may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
