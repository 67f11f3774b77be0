"""Ports for servers of tests: each is given once, and to one process of all that run on this machine."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FIRST, _BEYOND = 20_000, 32_000
"""Below the ports that the system hands out on its own, so that the two never clash."""
_BLOCK = 50


def _blocks() -> Iterator[int]:
    """The first ports of blocks that are this process's until it ends: a lock says so, not who was faster."""
    folder = Path(tempfile.gettempdir()) / f"rtms-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    places = list(range(_FIRST, _BEYOND, _BLOCK))
    from_ = os.getpid() % len(places)
    for first in places[from_:] + places[:from_]:
        lock = os.open(folder / str(first), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        yield first
    raise RuntimeError("no port is free")


def _ports() -> Iterator[int]:
    for first in _blocks():
        for port in range(first, first + _BLOCK):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:  # something else on this machine has it
                    continue
            yield port


_given = _ports()


def free_port() -> int:
    """A port that no other test gets, also while nothing listens there: a server can be stopped and started again."""
    return next(_given)
