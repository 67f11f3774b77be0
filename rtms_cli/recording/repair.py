"""Finishes recordings whose process died: whatever the capture knows and the other files do not is put there.

The capture is written before the files that are made from it, so it knows at least as much, unless a disk refused it
something. Repair makes everything anew beside the recording, from the capture, and takes over each file that is not
shorter than what is there. Doing it again changes nothing.
"""

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from msgspec import Struct

from rtms_cli.capture import Capture
from rtms_cli.errors import Problem
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import MANIFEST, Manifest, Warned
from rtms_cli.recording.ownership import LOCK, FolderLock, NoLocksError, is_being_recorded
from rtms_cli.recording.recorder import CAPTURE, Recorder

_WORKSHOP = ".repair"
_BATCH = 256


class Repaired(Struct, frozen=True):
    """What became of a recording."""

    folder: Path
    status: str
    changed: tuple[str, ...]
    """Files that were made or replaced."""
    kept: tuple[str, ...]
    """Files that have more than the capture, or that it knows nothing of."""
    problems: tuple[str, ...]
    """What of the capture could not be read."""
    losses: int


class _MediaFiles(Files):
    """Writes all but the capture, which is there already."""

    def append(self, name: str, data: bytes) -> None:
        if name != CAPTURE:
            super().append(name, data)

    def remove(self, name: str) -> None:
        if name != CAPTURE:
            super().remove(name)


def unfinished(parent: Path) -> Iterator[Path]:
    """The recordings in a folder whose process died, wherever it ran."""
    for path in sorted(parent.glob(f"*/{MANIFEST}")):
        try:
            manifest = Manifest.read(path.parent)
        except (OSError, ValueError):
            continue  # no manifest of ours: not our affair
        if manifest.status == "recording" and not is_being_recorded(path.parent):
            yield path.parent


def repair(folder: Path, *, keep_revoked: bool = False, force: bool = False) -> Repaired:
    """Finish a recording; see above.

    :param force: go on where the file system has no locks, so that nobody can tell whether it is being recorded.
    :raises Problem: where it is not a recording, or is being recorded.
    """
    lock = FolderLock(folder)
    try:
        lock.acquire()
    except BlockingIOError:
        raise Problem(f"{folder} is being recorded{_by(folder)}.", "Repair it when that process has ended.") from None
    except NoLocksError:
        if not force:
            raise Problem(
                f"{folder} is on a file system without locks: whether it is being recorded cannot be told.",
                f"When{_by(folder) or ' its process'} has ended: rtms repair --force {folder}",
            ) from None
    except OSError as error:
        raise Problem(f"{folder} could not be repaired: {error.strerror or error}.") from error
    try:
        return _repair(folder, keep_revoked=keep_revoked)
    finally:
        lock.release()


def _by(folder: Path) -> str:
    """Who records, as far as the manifest knows."""
    try:
        process = Manifest.read(folder).process
    except (OSError, ValueError):
        return ""
    return f" by process {process}" if process else ""


def _repair(folder: Path, *, keep_revoked: bool) -> Repaired:
    before = _manifest(folder)
    if before is not None and before.status == "revoked":
        return Repaired(folder, "revoked", (), (), (), len(before.losses))
    capture = Capture(folder)
    workshop = folder / _WORKSHOP
    try:
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(mode=0o700)
        recorder = Recorder(workshop, capture.header, files=_MediaFiles(workshop), keep_revoked=keep_revoked)
        frames = iter(capture)
        while batch := list(islice(frames, _BATCH)):
            recorder.fold(batch)
        recorder.close()
        if (failed := recorder.write_failures()) > 0:
            raise Problem(f"{folder} could not be repaired: {failed} writes failed.", "Is the disk full?")
        return _take_over(folder, workshop, recorder.manifest(), tuple(capture.problems))
    except OSError as error:
        raise Problem(
            f"{folder} could not be repaired: {error.strerror or error}.", "Nothing of it was lost."
        ) from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.read(folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Problem(f"{folder / MANIFEST} cannot be read: {error}.", "Move it away to have a new one made.") from None


def _take_over(folder: Path, workshop: Path, manifest: Manifest, problems: tuple[str, ...]) -> Repaired:
    changed, kept = [], []
    made = _files(workshop) - {MANIFEST}
    there = _files(folder) - {MANIFEST, CAPTURE}
    if manifest.status == "revoked" and not manifest.tracks:
        for name in [*sorted(there), CAPTURE]:
            (folder / name).unlink(missing_ok=True)
            changed.append(name)
        there = set()
    for name in sorted(made):
        old, new = folder / name, workshop / name
        if name in there and old.stat().st_size > new.stat().st_size:
            kept.append(name)
        elif name not in there or not _same(old, new):
            old.parent.mkdir(mode=0o700, exist_ok=True)
            new.replace(old)
            changed.append(name)
    kept += sorted(there - made)
    manifest.warnings += [Warned(f"{name} has more than the capture; it was kept", 1, 0.0) for name in kept]
    content = manifest.encode()
    if not (folder / MANIFEST).exists() or (folder / MANIFEST).read_bytes() != content:
        Files(folder).replace(MANIFEST, content)
        changed.append(MANIFEST)
    return Repaired(folder, manifest.status, tuple(changed), tuple(kept), problems, len(manifest.losses))


def _files(folder: Path) -> set[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(name) for name in names if name.parts[0] not in (_WORKSHOP, LOCK)}


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(1 << 20):
            if chunk != second.read(1 << 20):
                return False
    return True
