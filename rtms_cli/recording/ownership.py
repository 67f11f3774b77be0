"""Who works on a recording: a lock that ends with the process that holds it.

The lock is a `flock` on `.lock` in the recording's folder. A process id or a host name would not do: a recorder in a
container has process id 1, and another host name after each start.
"""

import errno
import logging
import os
import socket
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

log = logging.getLogger(__name__)

LOCK = ".lock"
ROOM_NBYTES = 1 << 16
"""What the lock's file holds free for the last word: a manifest can be written when the disk is full by then."""

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL))


class NoLocksError(OSError):
    """The file system has no locks, or the platform has none."""


def this_process() -> str:
    """Who records, for people who read the manifest: `<process id>@<host>`."""
    return f"{os.getpid()}@{socket.gethostname()}"


class FolderLock:
    """The lock of one recording; it takes one file descriptor while it is held.

    Its file keeps room on the disk, which `give_room` gives back.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; it is held until `release`, or until this process ends.

        :raises BlockingIOError: where another process, or another part of this one, holds it.
        :raises NoLocksError: where there are no locks.
        :raises OSError: where the folder is gone, or cannot be written to.
        """
        if not _HAS_LOCKS:
            self._folder.stat()
            raise NoLocksError(errno.ENOSYS, "this platform has no flock")
        while self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
            try:
                _lock(descriptor)
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

    def give_room(self) -> bool:
        """Give back the room on the disk.

        :returns: whether there was any.
        """
        if self._descriptor is None or os.fstat(self._descriptor).st_size == 0:
            return False
        os.ftruncate(self._descriptor, 0)
        return True

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
    """Whether a process holds the lock of a recording: one that records or repairs it.

    Where there are no locks, the answer is no. A lock that we may not read is another user's, and the answer is yes.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | _FLAGS)
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


def _reserve(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, ROOM_NBYTES)
    except (AttributeError, OSError) as error:  # a platform or a file system without it, or a full disk
        log.debug("no room is kept for the last word: %s", error)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a file is the one that a path leads to."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))
