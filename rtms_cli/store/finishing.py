"""The last steps of a recording in a store: its finished files, then the manifest that confirms them.

The stored manifest is the local one with `store`: whose epoch wrote it, the files with their keys, lengths and SHA-256,
and the segments. It is written last, on the condition that nobody has changed it since it was read.
"""

import asyncio
import contextlib
import hashlib
import logging
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from rtms_cli.capture import part_name
from rtms_cli.errors import Problem
from rtms_cli.recording.manifest import MANIFEST, Loss
from rtms_cli.store.anew import Remaker
from rtms_cli.store.objects import ConditionError, Info, NoObjectError, Objects, StoreError
from rtms_cli.store.revoking import delete_all
from rtms_cli.store.segments import epoch_and_number, segment_name, unpacked_segment, without_header
from rtms_cli.store.spool import EPOCHS, STATES, Shipped, SpoolPart, files_of

log = logging.getLogger(__name__)

_MOST_MANIFEST = 64 << 20


class FencedError(Exception):
    """A later owner has the recording. Nothing more is written."""


class StoredFile(Struct, frozen=True):
    """A finished file in a store."""

    path: str
    key: str
    """Key below the recording."""
    nbytes: int
    sha256: str


class StoreEntry(Struct, frozen=True):
    """`store` in a stored manifest."""

    epoch: int
    """The epoch of the valid files."""
    files: list[StoredFile] = []
    segments: list[str] = []
    """Their keys, below the recording, in order."""


class _Stored(Struct):
    status: str = ""
    store: StoreEntry = StoreEntry(0)


_stored = msgspec.json.Decoder(_Stored)


class Finisher:
    """See the module.

    :param spool: the folder where recordings are rebuilt.
    """

    def __init__(self, objects: Objects, spool: Path, *, keep_revoked: bool) -> None:
        self._objects = objects
        self._spool = spool
        self._keep_revoked = keep_revoked
        self._remaker = Remaker(keep_revoked=keep_revoked)

    async def claim(self, part: SpoolPart) -> None:
        """Write into the manifest that this epoch writes the recording, unless it already says so.

        :raises FencedError: if a later one does.
        """
        while True:
            known, etag = await self._known(part.recording)
            if known is not None and known.store.epoch > part.epoch:
                raise FencedError
            if known is not None and known.store.epoch == part.epoch:
                return
            manifest = await asyncio.to_thread(_manifest, part.folder)
            if await self._put_manifest(part.recording, manifest, StoreEntry(part.epoch), etag):
                return

    async def is_surely_over(self, recording: str) -> bool:
        """Return whether a recording is finished in the store; false if that is unknown now."""
        with contextlib.suppress(StoreError):
            known, _ = await self._known(recording)
            return known is not None and known.status not in ("", "recording")
        return False

    async def has_to_be_made_anew(self, part: SpoolPart) -> bool:
        """Return whether its process died or some of its files were deleted to free space. A repair takes its lock."""
        state, local = await asyncio.to_thread(lambda: (part.state(), _manifest(part.folder)))
        return bool(state.dropped) or local.get("status") == "recording"

    async def finish(self, part: SpoolPart, *, revoked: bool) -> str:
        """Finish a recording whose last owner is here; all its segments are stored.

        :returns: how it ended.
        :raises FencedError: if a later owner has it.
        :raises Problem: if it cannot be finished.
        """
        if revoked and not self._keep_revoked:
            await self.delete(part)
            return "revoked"
        segments = await self._segments(part.recording)
        state = await asyncio.to_thread(part.state)
        await self._verify(part, state, segments.get(part.epoch, {}))
        if any(epoch != part.epoch for epoch in segments):
            return await self.finish_from_segments(part.recording, part.epoch)
        if await self.has_to_be_made_anew(part):
            await self._remaker.remake(part.folder)
        return await self._store(part.recording, part.epoch, part.folder, segments, [])

    async def finish_again(self, recording: str) -> str:
        """Finish a recording again after it was finished without all of its segments."""
        known, _ = await self._known(recording)
        if known is not None and self._is_gone(known):
            raise FencedError
        return await self.finish_from_segments(recording, 1 if known is None else known.store.epoch)

    async def is_gone(self, recording: str) -> bool:
        """Return whether a recording was revoked, so that nothing of it may be stored again."""
        known, _ = await self._known(recording)
        return known is not None and self._is_gone(known)

    def _is_gone(self, known: _Stored) -> bool:
        return known.status == "revoked" and not self._keep_revoked

    async def finish_from_segments(self, recording: str, epoch: int) -> str:
        """Finish a recording of several owners from its data in the store.

        :raises NoObjectError: if it has nothing.
        """
        segments = await self._segments(recording)
        if not segments:
            raise NoObjectError(f"{self._objects.url}/{recording} has no segments.")
        workshop = self._spool / STATES / f"build-{recording}-{epoch}"
        try:
            await asyncio.to_thread(shutil.rmtree, workshop, ignore_errors=True)
            lost = []
            for number, owner in enumerate(sorted(segments)):
                folder = workshop if number == 0 else workshop / EPOCHS / f"E{owner:04d}"
                lost += await self._fetch(folder, segments[owner])
            await self._remaker.remake(workshop)
            return await self._store(recording, epoch, workshop, segments, lost)
        finally:
            await asyncio.to_thread(shutil.rmtree, workshop, ignore_errors=True)

    async def delete(self, part: SpoolPart) -> None:
        """Delete a revoked recording from the store. The manifest stays and says so."""
        manifest = await asyncio.to_thread(_manifest, part.folder)
        while True:
            known, etag = await self._known(part.recording)
            if known is not None and known.store.epoch > part.epoch:
                raise FencedError
            with contextlib.suppress(ConditionError):  # it was changed in between
                entry = msgspec.to_builtins(StoreEntry(part.epoch))
                why = await delete_all(self._objects, part.recording, {**manifest, "store": entry}, etag)
                if why:
                    log.warning("%s/%s was revoked: %s", self._objects.url, part.recording, why)
                return

    async def _known(self, recording: str) -> tuple[_Stored | None, str]:
        key = f"{recording}/{MANIFEST}"
        try:
            data, etag = await self._objects.get(key)
        except NoObjectError:
            return None, ""
        try:
            known = _stored.decode(data[:_MOST_MANIFEST])
        except msgspec.MsgspecError as error:
            raise Problem(f"{self._objects.url}/{key} is not a manifest: {error}.", "Move it away.") from None
        if not etag:
            raise Problem(f"{self._objects.url} does not send ETags.", "Choose a store with conditional writes.")
        return known, etag

    async def _put_manifest(self, recording: str, manifest: dict[str, Any], entry: StoreEntry, etag: str) -> bool:
        """Write the manifest, unless someone else has in between."""
        data = msgspec.json.encode({**manifest, "store": entry})
        try:
            await self._objects.put(f"{recording}/{MANIFEST}", data, is_new=not etag, etag=etag)
        except ConditionError:
            return False
        return True

    async def _segments(self, recording: str) -> dict[int, dict[int, Info]]:
        """A recording's segments, by epoch and number."""
        found: defaultdict[int, dict[int, Info]] = defaultdict(dict)
        async for info in self._objects.listed(f"{recording}/capture"):
            which = epoch_and_number(info.key)
            if which is not None and info.key == f"{recording}/{segment_name(*which)}":
                found[which[0]][which[1]] = info
        return dict(found)

    async def _verify(self, part: SpoolPart, state: Shipped, there: dict[int, Info]) -> None:
        """Check that the store has every confirmed segment completely.

        :raises StoreError: if not. Then they are shipped again.
        """
        sizes = {number: info.nbytes for number, info in there.items()}
        wrong = [one.number for one in state.segments if sizes.get(one.number) != one.nbytes]
        if wrong:
            first = min(wrong)
            await self._objects.delete([info.key for number, info in there.items() if number >= first])
            kept = [one for one in state.segments if one.number < first]
            lost = next(one for one in state.segments if one.number == first)
            mark = structs.replace(state.mark, part=lost.part, offset=lost.start)
            await asyncio.to_thread(part.remember, structs.replace(state, segments=kept, mark=mark))
            where = f"{self._objects.url}/{part.recording}"
            raise StoreError(f"{where} lacks {len(wrong)} segments; they are stored again.")

    async def _fetch(self, folder: Path, segments: dict[int, Info]) -> list[Loss]:
        """Assemble an owner's segments into a capture."""
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        lost = max(segments) - len(segments)
        losses = [Loss("segments that the store does not have", part_name(1), lost)] if lost else []
        path, has_header = folder / part_name(1), False
        for number in sorted(segments):
            data, _ = await self._objects.get(segments[number].key)
            try:
                lines = await asyncio.to_thread(unpacked_segment, data)
            except ValueError as error:
                losses.append(Loss("a segment that cannot be read", segments[number].key, 1, first_error=str(error)))
                continue
            await asyncio.to_thread(_append, path, without_header(lines) if has_header else lines)
            has_header = True
        return losses

    async def _store(
        self, recording: str, epoch: int, folder: Path, segments: dict[int, dict[int, Info]], losses: list[Loss]
    ) -> str:
        """Store the finished files, and then the manifest."""
        files = []
        for name in await asyncio.to_thread(files_of, folder):
            digest = await asyncio.to_thread(_sha256, folder / name)
            info = await self._objects.put_file(f"{recording}/E{epoch:04d}/{name}", folder / name)
            files.append(StoredFile(name, f"E{epoch:04d}/{name}", info.nbytes, digest))
        manifest = await asyncio.to_thread(_manifest, folder)
        if losses:
            manifest["losses"] = [*manifest.get("losses", []), *msgspec.to_builtins(losses)]
        keys = [
            info.key.removeprefix(f"{recording}/")
            for owner in sorted(segments)
            for _, info in sorted(segments[owner].items())
        ]
        while True:
            known, etag = await self._known(recording)
            if known is not None and (known.store.epoch > epoch or self._is_gone(known)):
                raise FencedError
            if await self._put_manifest(recording, manifest, StoreEntry(epoch, files, keys), etag):
                return str(manifest.get("status", ""))


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return {"status": "recording"}
    except msgspec.MsgspecError as error:
        raise Problem(f"{folder / MANIFEST} is not a manifest: {error}.") from None
    if not isinstance(found, dict):
        raise Problem(f"{folder / MANIFEST} is not a manifest.")
    return found


def _append(path: Path, lines: bytes) -> None:
    with path.open("ab") as capture:
        capture.write(lines)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
