"""A process with `rtms` imported that forks for each command: a test of a command does not wait for imports.

What runs is what `python -m rtms_cli` runs, in a process of its own, with standard streams, folder and environment of
its own, and it ends as an interpreter ends. Only what is decided while one starts is the zygote's; `processes` starts
a real one for that.

A request is a byte with four file descriptors (standard streams, and a socket for news), a length, and JSON: arguments,
folder, environment. The news are lines: the process's number, and its exit code. Its number stays its own until the
other side closes the socket.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request until the other side closes.

    :returns: the request, in a process that has to be what it asks for; `None` at the end.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        _, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
        if not descriptors:
            return None
        size = int.from_bytes(requests.recv(4, socket.MSG_WAITALL))
        request: dict[str, Any] = json.loads(requests.recv(size, socket.MSG_WAITALL))
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            if _keep(descriptors):
                return request
            os._exit(0)
        for number in descriptors:
            os.close(number)


def _keep(descriptors: list[int]) -> bool:
    """Fork once more, and tell of the process that it makes.

    :returns: whether this is that process.
    """
    *streams, last = descriptors
    news = socket.socket(fileno=last)
    process = os.fork()
    if process == 0:
        news.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return True
    for stream in [*streams, 0, 1, 2]:
        os.close(stream)
    news.sendall(b"%d\n" % process)
    ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    with contextlib.suppress(ConnectionError):  # nobody wants to know
        news.sendall(b"%d\n" % code)
        news.recv(1)
    return False


def _reopen_streams() -> None:
    """Have Python's standard streams be what its descriptors are now, without a buffer.

    The originals in `sys` are `Final` to a type checker; here they are another process's.
    """
    sys.stdin = sys.__stdin__ = open(0, encoding=sys.stdin.encoding, closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _written(1, sys.stdout.encoding, "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _written(2, sys.stderr.encoding, "backslashreplace")  # type: ignore[misc]


def _written(number: int, encoding: str, errors: str) -> io.TextIOWrapper:
    raw = open(number, "wb", 0, closefd=False)
    return io.TextIOWrapper(raw, encoding, errors, write_through=True)


def main() -> None:
    """Import what commands need, and serve."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    package = importlib.import_module("rtms_cli")
    for module in pkgutil.walk_packages(package.__path__, "rtms_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("av", "numpy", "soundfile", "h11"):  # imported late
        importlib.import_module(name)
    gc.freeze()  # so that a collection in a fork does not copy what all of them share
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return
    _reopen_streams()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["rtms", *request["arguments"]]
    runpy.run_module("rtms_cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
