"""What a service manager is told: a real socket stands for systemd's, and real processes tell it."""

import asyncio
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import CREDENTIALS, running

from rtms_cli.station.notify_systemd import tell_systemd, watchdog_period_s


class Manager:
    """A service manager's socket."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path.replace("@", "\0"))
        self._socket.settimeout(30)
        self.told: list[str] = []

    def hears(self, text: str) -> str:
        """Wait for a message that begins so."""
        while True:
            said = self._socket.recv(4096).decode()
            self.told.append(said)
            if said.startswith(text):
                return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="rtms-notify-") as folder:
        one = Manager(f"{folder}/s")
        yield one
        one.close()


def test_without_a_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not tell_systemd("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/no/such/socket")
    assert not tell_systemd("READY=1")


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manager = Manager(f"@rtms-test-{tmp_path.name}-{id(tmp_path)}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.path)
    assert tell_systemd("READY=1", "STATUS=x")
    assert manager.hears("READY") == "READY=1\nSTATUS=x"
    manager.close()


@pytest.mark.parametrize(
    ("usec", "pid", "period_s"),
    [("", "", None), ("0", "", None), ("x", "", None), ("2000000", "", 2), ("9", "1", None)],
)
def test_the_watchdog(monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, period_s: float | None) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_period_s() == period_s


async def test_a_service_is_ready_reloads_lives_and_stops(manager: Manager, tmp_path: Path) -> None:
    settings = {**CREDENTIALS, "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"}
    async with running("listen", "--port", "0", "--plain", cwd=tmp_path, settings=settings) as listen:
        await asyncio.to_thread(manager.hears, "READY=1")
        await listen.line_with("listening on")  # it was said before
        await asyncio.to_thread(manager.hears, "WATCHDOG=1")
        await asyncio.to_thread(manager.hears, "WATCHDOG=1")
        listen.process.send_signal(signal.SIGUSR1)
        reloading = await asyncio.to_thread(manager.hears, "RELOADING=1")
        assert reloading.partition("MONOTONIC_USEC=")[2].isdecimal()
        await asyncio.to_thread(manager.hears, "READY=1")
        listen.process.terminate()
        await asyncio.to_thread(manager.hears, "STOPPING=1")
        assert await listen.exit_code() == 0
