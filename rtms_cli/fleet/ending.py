"""What a worker does with files when a stream is over: merges the parts of its owners, deletes what was revoked."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from rtms_cli.capture import EPOCHS
from rtms_cli.errors import Exit
from rtms_cli.fleet.dispatch import Claim
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.webhooks import StreamStop
from rtms_cli.recording.manifest import Manifest
from rtms_cli.station.station import revoke_in

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

    async def on_over(self, claim: Claim) -> tuple[Path, Manifest] | None:
        """Merge the parts of a recording, where several owners have made some here.

        It is done in a process of its own: what is recorded meanwhile must not wait.

        :returns: the whole, where there was something to merge, or to finish for an owner that died.
        """
        folder = self._out / claim.recording
        if not await asyncio.to_thread(_is_unfinished, folder, claim.epoch):
            return None
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
            return None
        self._notice(f"{folder}: the parts of {claim.epoch} owners are one recording now")
        manifest = await asyncio.to_thread(_manifest, folder)
        return None if manifest is None else (folder, manifest)

    async def revoke(self, claim: Claim, told: StreamStop) -> None:
        """Delete what was recorded of a stream that is over."""
        if self._keep_revoked:
            return
        for folder in await asyncio.to_thread(revoke_in(self._out), told):
            self._notice(f"stream {claim.stream_id} was revoked: {folder} was deleted")


def _is_unfinished(folder: Path, epoch: int) -> bool:
    """Whether there are parts to merge, or a former owner has died here, and nobody has recorded after it."""
    if (folder / EPOCHS).is_dir():
        return True
    manifest = _manifest(folder) if epoch > 1 else None
    return manifest is not None and manifest.status == Status.RECORDING


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.read(folder)
    except (OSError, ValueError):
        return None
