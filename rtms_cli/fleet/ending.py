"""A worker's work on files when a stream is over: merge the parts of its owners, delete revoked recordings."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from rtms_cli.capture import EPOCHS
from rtms_cli.errors import Problem
from rtms_cli.fleet.dispatch import Claim
from rtms_cli.protocol.endings import Status
from rtms_cli.protocol.webhooks import StreamStop
from rtms_cli.recording.manifest import Manifest
from rtms_cli.station.station import revoke_in
from rtms_cli.store.anew import Remaker


class Ending:
    """See the module.

    :param out: the folder of recordings.
    :param notice: called with a line for the user.
    """

    def __init__(self, out: Path, notice: Callable[[str], None], *, keep_revoked: bool) -> None:
        self._out = out
        self._notice = notice
        self._keep_revoked = keep_revoked
        self._remaker = Remaker(keep_revoked=keep_revoked)

    async def on_over(self, claim: Claim) -> tuple[Path, Manifest] | None:
        """Merge the parts of a recording if several owners have created some here.

        This runs in a separate process, so that other recordings do not wait.

        :returns: the recording, if there was something to merge, or to finish for an owner that died.
        """
        folder = self._out / claim.recording
        if not await asyncio.to_thread(_is_unfinished, folder, claim.epoch):
            return None
        try:
            await self._remaker.remake(folder)
        except Problem as problem:
            self._notice(f"WARNING: its parts are not merged: {problem}")
            return None
        self._notice(f"{folder}: the parts of {claim.epoch} owners are one recording now")
        manifest = await asyncio.to_thread(_manifest, folder)
        return None if manifest is None else (folder, manifest)

    async def revoke(self, claim: Claim, told: StreamStop) -> None:
        """Delete the recording of a stream that is over."""
        if self._keep_revoked:
            return
        for folder in await asyncio.to_thread(revoke_in(self._out), told):
            self._notice(f"stream {claim.stream_id} was revoked: {folder} was deleted")


def _is_unfinished(folder: Path, epoch: int) -> bool:
    """Return whether there are parts to merge, or the last owner died here."""
    if (folder / EPOCHS).is_dir():
        return True
    manifest = _manifest(folder) if epoch > 1 else None
    return manifest is not None and manifest.status == Status.RECORDING


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.read(folder)
    except (OSError, ValueError):
        return None
