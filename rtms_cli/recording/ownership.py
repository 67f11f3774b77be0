"""The owner of a recording: a lock that ends with the process that holds it.

The lock is a `flock` on `.lock` in the recording's folder. A process id or a host name would not do: a recorder in a
container has process id 1, and another host name after each start.
"""

import contextlib
import errno
import logging
import os
import socket
import stat
import time  # noqa: TID251  # to wait, not to know what time it is
from pathlib import Path

from rtms_cli.capture import epoch_folders

try:
    import fcntl
except ImportError:  # Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

log = logging.getLogger(__name__)

LOCK = ".lock"
ROOM_NBYTES = 1 << 16
"""What the lock's file holds free for the last word, or more where the manifest grows: it can be written though the
disk is full by then, and no more files can be made."""

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)
"""Opening a pipe that someone has put there doesn't block."""
_MOST_LOOKS, _LOOK_S = 100, 0.001
"""How often a lock is tried that others look at, and how long they have to be done."""
_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL))


class NoLocksError(OSError):
    """The file system has no locks, or the platform has none."""


def this_process() -> str:
    """The process that records, for readers of the manifest: `<process id>@<host>`."""
    return f"{os.getpid()}@{socket.gethostname()}"


class FolderLock:
    """The lock of one recording; it takes one file descriptor while it is held.

    Its file keeps room on the disk, for `become`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; it is held until `release`, or until this process ends.

        :raises BlockingIOError: if another process, or another part of this one, holds it.
        :raises NoLocksError: if there are no locks.
        :raises OSError: if the folder is gone, or cannot be written to.
        """
        if not _HAS_LOCKS:
            self._folder.stat()
            raise NoLocksError(errno.ENOSYS, "this platform has no flock")
        while self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
            try:
                if not _is_own(descriptor):
                    self._path.unlink(missing_ok=True)
                    continue
                _lock_alone(descriptor)
                # Whoever held it may have removed the file in between: then a lock on it says nothing.
                if _is_at(self._path, descriptor):
                    _reserve(descriptor)
                    self._descriptor, descriptor = descriptor, -1
            except NoLocksError:
                self._path.unlink(missing_ok=True)
                raise
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def keep(self, nbytes: int) -> None:
        """See to it that the lock's file is there and has at least this much room, if the disk has it.

        If someone has removed it, or replaced the folder, it is made again.
        """
        held = self._descriptor
        if held is None:
            return
        try:
            if not _is_at(self._path, held):
                self._descriptor = None
                self.acquire()
                os.close(held)
        except OSError as error:
            log.debug("%s is gone, and cannot be taken again yet: %s", self._path, error)
        self._descriptor = self._descriptor or held
        if max(ROOM_NBYTES, nbytes) > os.fstat(self._descriptor).st_size:
            _reserve(self._descriptor, max(ROOM_NBYTES, nbytes))

    def become(self, name: str, content: bytes) -> None:
        """Make the lock's file another file of the folder, in one step; the lock is held on to.

        That takes no room on the disk beyond what was kept, and no new file.

        :raises OSError: if even that failed, or there is no lock.
        """
        if self._descriptor is None or not _is_at(self._path, self._descriptor):
            raise OSError(errno.ENOENT, "The lock is gone")
        position = 0
        while position < len(content):
            position += os.pwrite(self._descriptor, content[position:], position)
        os.ftruncate(self._descriptor, len(content))
        target = self._folder / name
        with contextlib.suppress(OSError):  # none was there: then it is as private as the lock
            os.fchmod(self._descriptor, target.lstat().st_mode & 0o666)
        self._path.replace(target)

    def release(self) -> None:
        """Let go of the lock, and remove its file. Does nothing where it is not held."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            if _is_at(self._path, descriptor):
                self._path.unlink()
        except OSError:
            pass  # the folder is gone, or is read-only now: the file says nothing once it is not locked
        finally:
            os.close(descriptor)


def is_being_recorded(folder: Path) -> bool:
    """Whether a process holds the lock of a recording, or of one of its epochs: one that records or repairs it.

    Where there are no locks, the answer is no. A lock that we may not read is another user's, and the answer is yes.
    """
    return any(map(is_locked, (folder, *epoch_folders(folder).values())))


def is_locked(folder: Path) -> bool:
    """The same for one part alone: that of the folder's own lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | _FLAGS | _AT_ONCE)
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        _lock(descriptor, is_shared=True)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _lock_alone(descriptor: int) -> None:
    """Take the lock, and do not take those for its holder who only look at it (`is_locked`), for a moment each.

    :raises BlockingIOError: if someone holds it.
    """
    for _ in range(_MOST_LOOKS):
        with contextlib.suppress(BlockingIOError):
            _lock(descriptor)
            return
        _lock(descriptor, is_shared=True)  # raises if there is a holder
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_LOOK_S)
    _lock(descriptor)


def _lock(descriptor: int, *, is_shared: bool = False) -> None:
    if not _HAS_LOCKS:
        raise NoLocksError(errno.ENOSYS, "this platform has no flock")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise NoLocksError(error.errno, error.strerror) from None
        raise


def _reserve(descriptor: int, nbytes: int = ROOM_NBYTES) -> None:
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, nbytes)
        else:
            os.pwrite(descriptor, bytes(nbytes), 0)
    except OSError as error:  # a full disk, or a file system that cannot
        log.debug("no room is kept for the last word: %s", error)


def _is_own(descriptor: int) -> bool:
    """Whether it is a file that has no other name: one that someone put there leads to another one's content."""
    found = os.fstat(descriptor)
    return stat.S_ISREG(found.st_mode) and found.st_nlink <= 1


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a file is the one that a path leads to."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
