"""Where the sockets of this user's feeds are: a folder that only the user may enter."""

import os
import re
import socket
import stat
import tempfile
from pathlib import Path

from rtms_cli.errors import Problem, reason_of

_NAME = re.compile(r"(\d{1,10})\.(?:sock|worker)")
_LONGEST = 100
"""Bytes of a socket's path: systems allow 103 or 107."""
FOLDER_VARIABLE = "RTMS_RUNTIME_DIR"
"""The variable with another folder for sockets."""


def runtime_folder() -> Path:
    """The folder for this user's sockets, which may not exist yet."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(session) / "rtms"
        if Path(session).is_dir() and len(os.fsencode(folder)) + 20 <= _LONGEST:
            return folder
    return Path(tempfile.gettempdir()) / f"rtms-{os.getuid()}"


def make_place(pid: int) -> Path:
    """The path of a process's socket, in a folder that is made for it.

    Sockets of processes that are gone are removed.

    :raises Problem: if there cannot be one.
    """
    folder = runtime_folder()
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise Problem(f"{folder} belongs to someone else.", f"Set {FOLDER_VARIABLE} to a folder of your own.")
        if found.st_mode & 0o077:
            raise Problem(
                f"Others may enter {folder}.", f"Run chmod 700 {folder}, or set {FOLDER_VARIABLE} to another folder."
            )
        for path, other in _sockets(folder):
            if other == pid or not _is_served(path):
                path.unlink(missing_ok=True)
    except OSError as error:
        what = f"Cannot use {folder}: {reason_of(error)}."
        raise Problem(what, f"Set {FOLDER_VARIABLE} to a folder of your own.") from None
    path = folder / f"{pid}.sock"
    if len(os.fsencode(path)) > _LONGEST:
        raise Problem(f"The path {path} is too long for a socket.", f"Set {FOLDER_VARIABLE} to a shorter folder.")
    return path


def worker_place(pid: int) -> Path:
    """The path of the socket of a worker, which only the process that it works for looks for."""
    return runtime_folder() / f"{pid}.worker"


def feeds() -> list[tuple[int, Path]]:
    """The processes of this user on this machine that have a feed, and their sockets; the newest first."""
    found = []
    for path, pid in _sockets(runtime_folder()):
        if path.suffix != ".sock":
            continue
        try:
            made = path.lstat()
        except OSError:
            continue
        if made.st_uid == os.getuid() and stat.S_ISSOCK(made.st_mode) and _is_served(path):
            found.append((made.st_mtime_ns, pid, path))
    return [(pid, path) for _, pid, path in sorted(found, reverse=True)]


def _sockets(folder: Path) -> list[tuple[Path, int]]:
    try:
        names = os.listdir(folder)  # noqa: PTH208  # which raises before it yields
    except OSError:
        return []
    return [(folder / name, int(found[1])) for name in names if (found := _NAME.fullmatch(name)) is not None]


def _is_served(path: Path) -> bool:
    """Whether someone accepts connections at a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
    return True
