"""Makes a recording again from its captures, in a process of its own: what is recorded meanwhile must not wait."""

import asyncio
import sys
from pathlib import Path

from rtms_cli.errors import Exit, Problem

_MOST_SHOWN = 300


class Remaker:
    """Repairs and merges recordings, one after the other: each reads all of it, and needs a core for that.

    :param keep_revoked: keep what Zoom wants deleted.
    """

    def __init__(self, *, keep_revoked: bool) -> None:
        self._arguments = ["--keep-revoked"] if keep_revoked else []
        self._turn = asyncio.Semaphore(1)

    async def remake(self, folder: Path) -> None:
        """Repair or merge a recording.

        :raises Problem: if that fails.
        """
        async with self._turn:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rtms_cli", "repair", *self._arguments, str(folder)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
            )
            said, _ = await process.communicate()
        if process.returncode not in (Exit.OK, Exit.LOSSES):
            lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            raise Problem(f"{folder} could not be rebuilt: {lines[-1][:_MOST_SHOWN]}")
