"""Rebuilds a recording from its captures in a separate process, so that other recordings do not wait."""

import asyncio
from pathlib import Path

from rtms_cli.children import program
from rtms_cli.errors import Exit, Problem

_MOST_SHOWN = 300


class Remaker:
    """Repairs and merges recordings one at a time, because each takes a CPU core.

    :param keep_revoked: keep recordings that Zoom requires to be deleted.
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
                *program("rtms_cli"),
                "repair",
                *self._arguments,
                str(folder),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
            )
            said, _ = await process.communicate()
        if process.returncode not in (Exit.OK, Exit.LOSSES):
            lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
            raise Problem(f"{folder} could not be rebuilt: {lines[-1][:_MOST_SHOWN]}")
