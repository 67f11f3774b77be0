"""Which recordings are old enough to be deleted, and how they are: a dry run and a run choose in the same way.

Only a finished recording is ever chosen: a folder with a manifest that can be read, whose lock nobody holds, and whose
parts are merged. Right before it is deleted, that is looked at again. One rename takes it out of sight; what a prune
that is killed leaves, the next one deletes.
"""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from rtms_cli.capture import epoch_folders, part_of
from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.endings import Status
from rtms_cli.recording.files import folder_size, forget_search
from rtms_cli.recording.manifest import MANIFEST, Manifest
from rtms_cli.recording.merging import has_parts
from rtms_cli.recording.ownership import FolderLock, NoLocksError, is_being_recorded, is_locked
from rtms_cli.untrusted import is_folder

_GONE = ".pruned-"
"""How the name of a folder begins that is being deleted."""
SPOOL_STATES = ".store"
"""What a spool has in it; the same as in `store.spool`, which is a floor above."""
LEFTOVER = "deleted"
"""The status of what an earlier prune has begun to delete."""
_NOT_FINISHED = "it is not finished: `rtms repair` finishes it, if nobody records it"


class Candidate(Struct, frozen=True):
    """A finished recording."""

    name: str
    status: str
    """`deleted` is what an earlier prune has left."""
    started_at: str
    ended_at: str
    nbytes: int
    mark: str = ""
    """What shows whether it has changed since."""

    def ended(self) -> datetime | None:
        """When it ended; `None` if that is not a time."""
        try:
            read = datetime.fromisoformat(self.ended_at or self.started_at)
        except ValueError:
            return None
        return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


class Left(Struct, frozen=True):
    """What is not touched, though it looks like a recording."""

    name: str
    why: str


class Place(Protocol):
    """Where recordings are."""

    def find(self) -> Iterator[Candidate | Left]:
        """Every recording, by name."""

    def delete(self, candidate: Candidate) -> str:
        """Delete a recording, unless it has changed since it was found.

        :returns: why not; empty if it was deleted.
        """


class Plan(Struct, frozen=True):
    """What to delete."""

    chosen: list[Candidate]
    left: list[Left]

    @property
    def nbytes(self) -> int:
        """How much that is."""
        return sum(candidate.nbytes for candidate in self.chosen)


def plan(
    found: Iterable[Candidate | Left], now: datetime, older_than_s: float, statuses: Collection[str], keep: int
) -> Plan:
    """Choose what to delete.

    :param older_than_s: since the recording ended.
    :param statuses: only those that ended so; empty are all.
    :param keep: this many of the newest recordings stay, whatever their age.
    """
    left, dated, chosen = list[Left](), list[tuple[datetime, Candidate]](), list[Candidate]()
    for one in found:
        if isinstance(one, Left):
            left.append(one)
        elif one.status == LEFTOVER:
            chosen.append(one)
        elif (ended := one.ended()) is None:
            left.append(Left(one.name, "its manifest does not say when it was"))
        else:
            dated.append((ended, one))
    dated.sort(key=lambda pair: (pair[0], pair[1].name), reverse=True)
    for ended, one in dated[keep:]:
        if (now - ended).total_seconds() >= older_than_s and (not statuses or one.status in statuses):
            chosen.append(one)
    return Plan(sorted(chosen, key=lambda one: one.name), left)


class Folder:
    """A folder with recordings in it.

    :raises Problem: if there is none.
    """

    def __init__(self, folder: Path) -> None:
        if not is_folder(folder):
            raise Problem(f"{folder} is not a folder.", "Give the folder that recordings are in.")
        if (folder / MANIFEST).exists():
            raise Problem(f"{folder} is a recording itself.", "Give the folder that recordings are in.")
        if (folder / SPOOL_STATES).exists():
            raise Problem(
                f"{folder} is a spool: the store may not have all that is in it.",
                "What the store has is removed from it without your doing; give the store's URL.",
            )
        self._folder = folder

    def find(self) -> Iterator[Candidate | Left]:
        """See `Place`. Folders without a manifest or a capture are none, and links are not followed."""
        for path in sorted(self._folder.iterdir()):
            if path.is_symlink() or not path.is_dir():
                continue
            if path.name.startswith(_GONE):
                yield Candidate(path.name, LEFTOVER, "", "", folder_size(path))
            elif (found := self._look_at(path)) is not None:
                yield found

    def delete(self, candidate: Candidate) -> str:
        """See `Place`."""
        folder = self._folder / candidate.name
        if candidate.status == LEFTOVER:
            return _remove(folder)

        def is_same() -> bool:
            now = self._look_at(folder, is_ours=True)
            return isinstance(now, Candidate) and now.mark == candidate.mark

        return delete_recording(folder, is_same)

    def _look_at(self, folder: Path, *, is_ours: bool = False) -> Candidate | Left | None:
        """A folder as it stands; `None` if it is not a recording.

        :param is_ours: whether we hold its lock.
        """
        try:
            manifest = Manifest.read(folder)
            mark = (folder / MANIFEST).stat()
        except FileNotFoundError:
            has_capture = any(part_of(path.name) is not None for path in folder.iterdir())
            return Left(folder.name, "it has no manifest") if has_capture else None
        except (OSError, ValueError) as error:
            return Left(folder.name, f"its manifest cannot be read: {reason_of(error)}")
        if not is_ours and is_being_recorded(folder):
            return Left(folder.name, "it is being recorded or repaired")
        if manifest.status == Status.RECORDING or has_parts(folder):
            return Left(folder.name, _NOT_FINISHED)
        ended_at = manifest.ended_at or ""
        stamp = f"{mark.st_ino}-{mark.st_size}-{mark.st_mtime_ns}"
        return Candidate(folder.name, manifest.status, manifest.started_at, ended_at, folder_size(folder), stamp)


def delete_recording(folder: Path, is_same: Callable[[], bool] = lambda: True) -> str:
    """Delete a recording that nobody records or repairs at this moment, finished or not.

    :param is_same: asked once its lock is ours, right before it goes.
    :returns: why not; empty if it was deleted.
    """
    lock = FolderLock(folder)
    try:
        lock.acquire()
    except BlockingIOError:
        return "it is being recorded or repaired"
    except NoLocksError:
        pass  # the manifest says that it is finished, or a person does
    except OSError as error:
        return reason_of(error)
    try:
        if has_parts(folder) and any(map(is_locked, epoch_folders(folder).values())):
            return "it is being recorded or repaired"
        if not is_same():
            return "it has changed since"
        gone = folder.parent / f"{_GONE}{folder.name}"
        folder.rename(gone)
        forget_search(folder.parent)
    except OSError as error:
        return reason_of(error)
    finally:
        lock.release()
    return _remove(gone)


def _remove(gone: Path) -> str:
    try:
        (gone / MANIFEST).unlink(missing_ok=True)  # first: nothing that is half there looks whole
        shutil.rmtree(gone)
    except OSError as error:
        return f"a part of it could not be deleted: {reason_of(error)}"
    return ""
