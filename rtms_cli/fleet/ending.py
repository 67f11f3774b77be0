"""What a worker does with files when a stream is over: merges the parts of its owners, deletes what was revoked."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from rtms_cli.capture import EPOCHS
from rtms_cli.errors import Exit
from rtms_cli.fleet.dispatch import Claim
from rtms_cli.protocol.webhooks import StreamStop
from rtms_cli.station.station import Outcome, revoke_in

MERGES_AT_ONCE = 1
"""Merging reads all of a recording: more at once would only take cores from what is being recorded."""
_MOST_SHOWN = 300


class Ending:
    """See the module.

    :param out: where recordings are.
    :param notice: tells people, in a line.
    """

    def __init__(self, out: Path, notice: Callable[[str], None], *, keep_revoked: bool) -> None:
        self._out = out
        self._notice = notice
        self._keep_revoked = keep_revoked
        self._turn = asyncio.Semaphore(MERGES_AT_ONCE)

    async def on_over(self, claim: Claim, outcome: Outcome | None) -> None:
        """Merge the parts of a recording, where several owners have made some here.

        It is done in a process of its own: what is recorded meanwhile must not wait.
        """
        folder = self._out / claim.recording
        if not await asyncio.to_thread((folder / EPOCHS).is_dir):
            return
        arguments = ["--keep-revoked"] if self._keep_revoked else []
        async with self._turn:
            merging = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "rtms_cli", "repair", *arguments, str(folder)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
            )
            said, _ = await merging.communicate()
        if merging.returncode not in (Exit.OK, Exit.LOSSES):
            lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {merging.returncode}"]
            self._notice(f"WARNING: the parts of {folder} were not merged: {lines[-1][:_MOST_SHOWN]}")
        else:
            self._notice(f"{folder}: the parts of {claim.epoch} owners are one recording now")

    async def revoke(self, claim: Claim, told: StreamStop) -> None:
        """Delete what was recorded of a stream that is over."""
        if self._keep_revoked:
            return
        for folder in await asyncio.to_thread(revoke_in(self._out), told):
            self._notice(f"stream {claim.stream_id} was revoked: {folder} was deleted")
