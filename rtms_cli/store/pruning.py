"""Deletes recordings in a store; see `recording.pruning`.

A manifest that says `deleted` is written first, on the condition that nobody has changed the one that was found: from
then on nothing that is half there looks whole, and what a prune that is killed leaves, the next one deletes. In a
bucket that keeps versions, the old ones stay as long as its own rules say.
"""

from collections.abc import Iterator

import msgspec

from rtms_cli.recording.manifest import MANIFEST, Manifest
from rtms_cli.recording.pruning import LEFTOVER, Candidate, Left
from rtms_cli.store.finishing import StoreEntry
from rtms_cli.store.objects import Objects, StoreError
from rtms_cli.store.reading import finished, segments_in


class StorePlace:
    """A prefix in a store with recordings below it."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def find(self) -> Iterator[Candidate | Left]:
        """See `recording.pruning.Place`. What has neither a manifest nor segments is not a recording.

        :raises StoreError: if the store does not answer.
        """
        for name in sorted(self._objects.folders_now()):
            try:
                stored = finished(self._objects, f"{name}/")
            except ValueError as error:
                yield Left(name, f"its manifest cannot be read: {error}")
                continue
            if stored is None:
                if segments_in(self._objects, f"{name}/"):
                    yield Left(name, "it is not finished: `rtms repair` finishes it, if nobody records it")
                continue
            manifest = stored.manifest
            nbytes = sum(info.nbytes for info in self._objects.listed_now(name))
            yield Candidate(name, manifest.status, manifest.started_at, manifest.ended_at or "", nbytes, stored.etag)

    def delete(self, candidate: Candidate) -> str:
        """See `recording.pruning.Place`."""
        name = candidate.name
        try:
            stored = finished(self._objects, f"{name}/")
            if stored is None or stored.etag != candidate.mark:
                return "it has changed since"
            if candidate.status != LEFTOVER:
                self._objects.put_now(f"{name}/{MANIFEST}", _deleted(stored.manifest, stored.entry), stored.etag)
            keys = [info.key for info in self._objects.listed_now(name) if info.key != f"{name}/{MANIFEST}"]
            self._objects.delete_now(keys)
            self._objects.delete_now([f"{name}/{MANIFEST}"])
        except ValueError:
            return "it has changed since"
        except StoreError as error:
            return error.what.rstrip(".")
        return ""


def _deleted(manifest: Manifest, entry: StoreEntry) -> bytes:
    manifest.status, manifest.title = LEFTOVER, None
    manifest.tracks, manifest.participants, manifest.warnings, manifest.losses = [], [], [], []
    return msgspec.json.encode({**msgspec.to_builtins(manifest), "store": StoreEntry(entry.epoch)})
