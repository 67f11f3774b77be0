"""Tells a service manager that we are ready, reload, stop, and still live: systemd's `sd_notify`, without its library.

A message is one datagram to the Unix socket that `NOTIFY_SOCKET` names. Where there is none, nothing is done.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)


def tell_systemd(*assignments: str) -> bool:
    """Send assignments such as `READY=1` to the service manager that started us, if one did. It never waits.

    :returns: whether it was sent.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    address = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            sending.sendto("\n".join(assignments).encode(), address)
    except (OSError, ValueError) as error:
        log.debug("the service manager was not told %s: %s", assignments, error)
        return False
    return True


def watchdog_period_s() -> float | None:
    """How often the service manager wants to hear that we live; `None` if it does not."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1_000_000


@asynccontextmanager
async def heeding_systemd(reload: Callable[[], str]) -> AsyncIterator[None]:
    """Reload on SIGUSR1, and show the watchdog that the event loop turns, for as long as it is entered.

    SIGHUP is not the signal for it: a terminal that closes sends that, and it asks for the end.

    :param reload: gives a line that says what it did. Must not wait.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, _reload, reload)
    period_s = watchdog_period_s()
    watching = None if period_s is None else asyncio.create_task(_watch(period_s / 2), name="watchdog")
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()
        loop.remove_signal_handler(signal.SIGUSR1)


def _reload(reload: Callable[[], str]) -> None:
    tell_systemd("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        log.info("reload: %s", reload())
    finally:
        tell_systemd("READY=1")  # or else the manager waits for it


async def _watch(every_s: float) -> None:
    while True:
        tell_systemd("WATCHDOG=1")
        await asyncio.sleep(every_s)
