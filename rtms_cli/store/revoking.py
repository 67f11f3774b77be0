"""Deletes a revoked stream (stop reason 8) from a store: everything except the manifest, in all versions."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rtms_cli.recording.manifest import MANIFEST
from rtms_cli.recording.names import folder_name
from rtms_cli.store.deaf import DeafObserver
from rtms_cli.store.objects import ConditionError, NoObjectError, Objects, StoreError
from rtms_cli.store.versions import CannotSeeVersionsError, Version, Versions

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
_CLOCKS_MS = 60_000
"""How far our clock may be ahead of Zoom's."""
_FREED = ("tracks", "participants", "losses", "taps", "epochs", "store")
"""Parts of the manifest that reveal content or participants."""


async def delete_all(objects: Objects, recording: str, manifest: Mapping[str, Any], etag: str) -> str:
    """Delete a recording from a store. The manifest is updated first and stays.

    :returns: why old versions could not be deleted, if so.
    :raises ConditionError: if someone else has written the manifest.
    """
    data = msgspec.json.encode(manifest)
    await objects.put(f"{recording}/{MANIFEST}", data, is_new=not etag, etag=etag)
    kept = f"{recording}/{MANIFEST}"
    await objects.delete([info.key async for info in objects.listed(recording) if info.key != kept])

    def is_wanted(one: Version) -> bool:
        return not (one.is_latest and one.key.endswith(kept))

    try:
        await Versions(objects.url, objects.endpoint).delete(recording, is_wanted)
    except CannotSeeVersionsError:
        return "whether the bucket keeps old versions cannot be seen: look at its versioning or soft delete"
    return ""


class Revoking(DeafObserver):
    """Observes a station for streams that are revoked after their end.

    :param tell: reports to scripts and users; see `Observer.on_event`.
    """

    def __init__(self, objects: Objects, tell: Callable[[str, Mapping[str, object], str], None]) -> None:
        self._objects = objects
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""
        stream_id, event_ts = fields.get("stream_id"), fields.get("event_ts")
        if name == "revoked" and isinstance(stream_id, str):
            work = self._delete(stream_id, event_ts if isinstance(event_ts, int) else None)
            task = asyncio.create_task(work, name=f"revoke {stream_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until everything is deleted."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Stop, and report what was not deleted."""
        for task in self._tasks:
            self._tell(
                "store", {"state": "failed"}, f"WARNING: not done because the store was unreachable: {task.get_name()}"
            )
            task.cancel()
        await self.idle()

    async def _delete(self, stream_id: str, event_ts: int | None) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                for recording in await asyncio.to_thread(self._recordings, stream_id):
                    await self._delete_one(recording, stream_id, event_ts)
                return
            except (StoreError, ConditionError) as error:
                log.warning("stream %s was revoked, and is not deleted yet: %s", stream_id, error)
                await asyncio.sleep(wait_s)
                wait_s = min(LONGEST_WAIT_S, 2 * wait_s)

    def _recordings(self, stream_id: str) -> list[str]:
        """The recordings whose names fit a stream."""
        tail = folder_name("", "", stream_id).rpartition("_")[2]
        return [name for name in self._objects.folders_now() if tail in name]

    async def _delete_one(self, recording: str, stream_id: str, event_ts: int | None) -> None:
        try:
            data, etag = await self._objects.get(f"{recording}/{MANIFEST}")
            known = msgspec.json.decode(data)
        except (NoObjectError, msgspec.MsgspecError):
            return  # not one of ours
        if not isinstance(known, dict) or known.get("rtms_stream_id") != stream_id:
            return
        if known.get("status") in ("recording", "revoked") or _is_after(known.get("started_at"), event_ts):
            return  # the process that records it handles this
        text = "the stream was revoked: its recording was deleted"
        emptied = {**known, **{name: [] for name in _FREED if name in known}, "status": "revoked"}
        emptied["stop"] = {"reason": 8, "name": "STOP_BC_STREAM_REVOKED", "said_by": "a stop webhook"}
        emptied["warnings"] = [{"text": text, "count": 1, "first_at": 0.0}]
        emptied["store"] = {"epoch": _epoch_of(known)}
        why = await delete_all(self._objects, recording, emptied, etag)
        url = f"{self._objects.url}/{recording}"
        said = f"stream {stream_id} was revoked: {url} was deleted{'; ' + why if why else ''}"
        self._tell("store", {"state": "revoked", "recording": recording, "url": url}, said)


def _epoch_of(known: dict[str, Any]) -> int:
    entry = known.get("store")
    epoch = entry.get("epoch") if isinstance(entry, dict) else None
    return epoch if isinstance(epoch, int) else 0


def _is_after(started_at: object, event_ts: int | None) -> bool:
    try:
        started = datetime.fromisoformat(str(started_at)).timestamp() * 1000
    except (ValueError, OverflowError):
        return False
    return event_ts is not None and started > event_ts + _CLOCKS_MS
