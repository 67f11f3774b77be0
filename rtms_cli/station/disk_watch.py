"""How full the disk for recordings is, without ever waiting for it: a disk that hangs must not hang the event loop."""

import asyncio
import shutil
from pathlib import Path

from rtms_cli.errors import reason_of
from rtms_cli.wire.clock import Clock

SILENT_US = 30_000_000
"""A disk that has not answered for this long is said to hang."""


class DiskWatch:
    """Knows how many bytes were free when someone asked last. Each question starts the next look, in a thread.

    :param out: the folder for recordings.
    :param hour_nbytes: what an hour of one stream may take: with less than that, no stream should be taken.
    """

    def __init__(self, out: Path, free_nbytes: int, hour_nbytes: int) -> None:
        self._out = out
        self._free_nbytes = free_nbytes
        self._hour_nbytes = hour_nbytes
        self._why = ""
        self._clock = Clock()
        self._asked_us = 0
        self._looking: asyncio.Task[None] | None = None

    def health(self) -> dict[str, object]:
        """For `GET /healthz`."""
        self._look()
        state = self._problem() or "ok"
        return {"state": state, "free_bytes": self._free_nbytes, "hour_bytes": self._hour_nbytes}

    def not_ready(self) -> str | None:
        """For `GET /readyz`."""
        self._look()
        return self._problem()

    def _problem(self) -> str | None:
        if self._looking is not None and self._clock.now_us() - self._asked_us > SILENT_US:
            return "the disk for recordings does not answer"
        if self._why:
            return f"the disk for recordings cannot be used: {self._why}"
        if self._free_nbytes < self._hour_nbytes:
            return f"the disk is short: {self._free_nbytes} bytes are free, an hour may take {self._hour_nbytes}"
        return None

    def _look(self) -> None:
        if self._looking is None:
            self._asked_us = self._clock.now_us()
            self._looking = asyncio.create_task(self._measure(), name="how full the disk is")

    async def _measure(self) -> None:
        try:
            self._free_nbytes = (await asyncio.to_thread(shutil.disk_usage, self._out)).free
            self._why = ""
        except OSError as error:
            self._why = reason_of(error)
        finally:
            self._looking = None
