"""Finishes recordings whose process died: whatever the capture knows and the other files do not is put there.

The capture is written before the files that are made from it, so it knows at least as much, unless a disk refused it
something. Repair makes everything again beside the recording, from the capture, and takes over each file that holds all
that the one in the recording does. It only adds: files that hold more stay, and so do losses and what the manifest
knew of the end. Doing it again changes nothing.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, structs

from rtms_cli.capture import Capture, epoch_folders, part_name, part_of, whole_folder
from rtms_cli.errors import Problem, reason_of
from rtms_cli.machine import Item, in_batches
from rtms_cli.protocol.endings import Speaker, Status, judge_ending
from rtms_cli.protocol.times import iso_time
from rtms_cli.recording.encoded import EXTENSIONS, KIND
from rtms_cli.recording.files import Files, folder_mode, forget_search
from rtms_cli.recording.holding import holds, pictures_hold, same
from rtms_cli.recording.manifest import (
    MANIFEST,
    KeepAlive,
    Loss,
    Manifest,
    MessageCount,
    Stop,
    TrackEntry,
    Warned,
)
from rtms_cli.recording.ownership import LOCK, FolderLock, NoLocksError, is_being_recorded
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.tracks import EXTENSIONS as PICTURE_EXTENSIONS

WORKSHOP = ".repair"
"""Where a recording is made again, in its folder."""
_BATCH = 1024
_CLOCKS_MS = 60_000
"""By how much our clock may be ahead of Zoom's."""
_INDEX = ".index.jsonl"
_TEXTS = ("transcript.jsonl", "chat.jsonl", "events.jsonl")
_PICTURES = frozenset((*PICTURE_EXTENSIONS.values(), "bin"))
_EXTENSIONS = {"audio": frozenset(("wav", *EXTENSIONS.values())), "video": _PICTURES, "share": _PICTURES}
"""What recorders write, by the folder that it is in."""
_Tally = TypeVar("_Tally", MessageCount, KeepAlive)


class Repaired(Struct, frozen=True):
    """What became of a recording."""

    folder: Path
    status: str
    changed: tuple[str, ...]
    """Files that were made or replaced."""
    kept: tuple[str, ...]
    """Files of the recording that hold more than the capture, or that the capture does not explain."""
    problems: tuple[str, ...]
    """What of the capture could not be read."""
    losses: int


class _MediaFiles(Files):
    """Writes all but the capture, which is there already."""

    def append(self, name: str, data: bytes) -> int:
        return super().append(name, data) if part_of(name) is None else 0

    def remove(self, name: str) -> None:
        if part_of(name) is None:
            super().remove(name)


def unfinished(parent: Path) -> Iterator[Path]:
    """The recordings in a folder whose process died, wherever it ran."""
    for path in sorted(parent.glob(f"*/{MANIFEST}")):
        try:
            manifest = Manifest.read(path.parent)
        except (OSError, ValueError):
            continue  # no manifest of ours: not our affair
        is_left = manifest.status == Status.RECORDING or (may_go(manifest) and len(files_in(path.parent)) > 1)
        is_left |= bool(epoch_folders(path.parent)) or whole_folder(path.parent) is not None
        if is_left and not is_being_recorded(path.parent):
            yield path.parent


def revoke(out: Path, stream_id: str, event_ts: int | None, stop: Stop) -> list[Path]:
    """Delete what was recorded of a stream that Zoom has revoked after its end: all but the manifests.

    :param out: where recordings are; those that are being recorded see to it themselves.
    :param event_ts: when Zoom said so; a recording that began later is another one's.
    :returns: the recordings that were deleted.
    :raises OSError: if something could not be deleted; `repair` can finish that.
    """
    deleted = []
    for path in sorted(out.glob(f"*/{MANIFEST}")):
        folder, lock = path.parent, FolderLock(path.parent)
        try:
            manifest = Manifest.read(folder)
        except (OSError, ValueError):
            continue  # no recording of ours
        try:
            is_meant = manifest.rtms_stream_id == stream_id and not _is_after(manifest.started_at, event_ts)
            if not is_meant or manifest.status == Status.REVOKED or is_being_recorded(folder):
                continue
            with contextlib.suppress(NoLocksError):
                lock.acquire()
        except BlockingIOError:
            continue  # it is being recorded
        try:
            delete_content(folder, as_revoked(manifest, stop), ())
        finally:
            lock.release()
        deleted.append(folder)
    return deleted


def _is_after(started_at: str, event_ts: int | None) -> bool:
    try:
        return event_ts is not None and datetime.fromisoformat(started_at).timestamp() * 1000 > event_ts + _CLOCKS_MS
    except (ValueError, OverflowError):
        return False


def may_go(manifest: Manifest) -> bool:
    """Whether what a manifest reports is to be deleted; one that lists its tracks is kept on purpose."""
    return manifest.status == Status.REVOKED and not manifest.tracks


def as_revoked(manifest: Manifest, stop: Stop) -> Manifest:
    """The manifest that remains: nothing of what was said, and by whom."""
    texts = [Warned("the stream was revoked: its recording was deleted", 1, 0.0)]
    remaining = copy(manifest)
    remaining.status, remaining.stop, remaining.process = Status.REVOKED.value, stop, None
    remaining.tracks, remaining.participants, remaining.warnings, remaining.losses = [], [], texts, []
    remaining.title = None
    return remaining


def repair(
    folder: Path,
    *,
    keep_revoked: bool = False,
    force: bool = False,
    read: Callable[[Capture], Iterable[Item]] = Capture.items,
) -> Repaired:
    """Finish a recording; see above.

    :param force: go on where the file system has no locks, so that nobody can tell whether it is being recorded.
    :param read: gives the capture's items; it may show how far they have been read.
    :raises Problem: if it is not a recording, or is being recorded.
    """
    lock = acquired(folder, force=force)
    try:
        return _repair(folder, read, keep_revoked=keep_revoked)
    except OSError as error:
        raise Problem(f"{folder} could not be repaired: {reason_of(error)}.", "Nothing of it was lost.") from error
    finally:
        lock.release()


def acquired(folder: Path, *, force: bool) -> FolderLock:
    """A recording's lock, which the caller releases.

    :param force: go on without one where the file system has none.
    :raises Problem: if it is not available.
    """
    lock = FolderLock(folder)
    try:
        lock.acquire()
    except BlockingIOError:
        what = f"{folder} is being recorded{_by(folder)}, or repaired by another one."
        raise Problem(what, "Repair it when that process has ended.") from None
    except NoLocksError:
        if not force:
            raise Problem(
                f"{folder} is on a file system without locks: rtms cannot tell whether it is still recording.",
                f"When{_by(folder) or ' its process'} has ended: rtms repair --force {folder}",
            ) from None
    except OSError as error:
        what = f"{folder} could not be repaired: {reason_of(error)}."
        raise Problem(what, "Give a recording's folder, which this process may write to.") from error
    return lock


def _by(folder: Path) -> str:
    """The process that records, as far as the manifest knows."""
    try:
        process = Manifest.read(folder).process
    except (OSError, ValueError):
        return ""
    return f" by process {process}" if process else ""


def _repair(folder: Path, read: Callable[[Capture], Iterable[Item]], *, keep_revoked: bool) -> Repaired:
    if epoch_folders(folder):
        raise Problem(f"{folder} has parts of several owners.", f"rtms repair {folder}")
    before = manifest_of(folder)
    if before is not None and before.status == Status.REVOKED:
        return _finish_deletion(folder, before, keep_revoked=keep_revoked)
    try:
        capture = Capture(folder)
    except Problem as problem:
        if before is None or before.status != Status.RECORDING:
            raise _no_recording(folder) or problem from None
        return _finish_without(folder, before, problem, keep_revoked=keep_revoked)
    workshop = folder / WORKSHOP
    try:
        clear_workshop(workshop)
        workshop.mkdir(mode=0o700)
        recorder = Recorder(
            workshop,
            capture.header,
            files=_MediaFiles(workshop, mode_of(capture.path)),
            keep_revoked=keep_revoked,
            keep_encoded=has_encoded(folder, before),
            origin_ms=before.origin_ms if before is not None else None,
        )
        for batch in in_batches(read(capture), _BATCH):
            recorder.fold(batch)
        recorder.close()
        if (failed := recorder.write_failures()) > 0:
            raise Problem(f"{folder} could not be repaired: {failed} writes failed.", "Is the disk full?")
        manifest = recorder.manifest()
        stop = _unheard_stop(before, manifest)
        if before is not None and stop is not None and ending_by(stop) is Status.REVOKED and not keep_revoked:
            return delete_content(folder, as_revoked(before, stop), tuple(capture.problems))
        if may_go(manifest):
            return delete_content(folder, manifest, tuple(capture.problems))
        return _take_over(folder, workshop, before, recorder, tuple(capture.problems))
    finally:
        clear_workshop(workshop)


def _no_recording(folder: Path) -> Problem | None:
    """What a folder is instead, where that is known."""
    if any(folder.glob(f"*/{MANIFEST}")):
        return Problem(f"{folder} is not a recording, but has recordings in it.", f"rtms repair {folder}/*")
    if not folder.is_dir() or any(path.name not in (WORKSHOP, LOCK) for path in folder.iterdir()):
        return None
    return Problem(f"{folder} is empty: there is nothing to repair.", "Remove it.")


def _finish_without(folder: Path, before: Manifest, problem: Problem, *, keep_revoked: bool) -> Repaired:
    """Finish a recording whose capture is gone: its manifest is all that is known."""
    manifest = copy(before)
    told = None if before.stop is None else ending_by(before.stop)
    if before.stop is not None and told is Status.REVOKED and not keep_revoked:
        return delete_content(folder, as_revoked(before, before.stop), (problem.what,))
    manifest.status, manifest.process = (told or Status.INTERRUPTED).value, None
    written = datetime.fromtimestamp((folder / MANIFEST).stat().st_mtime, UTC)
    manifest.ended_at = iso_time(written)
    manifest.losses = [*before.losses, Loss("cannot be read: repair only had the manifest", part_name(1), 1)]
    Files(folder, mode_of(folder / MANIFEST)).replace(MANIFEST, manifest.encode())
    kept = tuple(sorted(name for name in files_in(folder) if _is_recorded(name, before)))
    return Repaired(folder, manifest.status, (MANIFEST,), kept, (problem.what,), len(manifest.losses))


def _unheard_stop(before: Manifest | None, made: Manifest) -> Stop | None:
    """Why the stream ended, where only the manifest knows: the capture lacks its last lines."""
    if before is None or before.status != Status.RECORDING or before.stop is None or made.stop is not None:
        return None
    knows_more = made.connection_count > before.connection_count
    for way, counts in made.messages.items():
        known = before.messages.get(way, {})
        knows_more |= any(name not in known or tally.count > known[name].count for name, tally in counts.items())
    return None if knows_more else before.stop


def ending_by(stop: Stop) -> Status:
    """How a recording ended whose stream Zoom has ended so."""
    return judge_ending(stop.reason, Speaker.ZOOM, is_over=True)


def clear_workshop(workshop: Path) -> None:
    """Take away what a repair that was killed has left, or what someone has put there."""
    if workshop.is_dir() and not workshop.is_symlink():
        shutil.rmtree(workshop, ignore_errors=True)
    else:
        workshop.unlink(missing_ok=True)


def manifest_of(folder: Path) -> Manifest | None:
    try:
        return Manifest.read(folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = reason_of(error)
        raise Problem(
            f"{folder / MANIFEST} cannot be read: {why}.", "Move it away, and rtms writes a new one."
        ) from None


def has_encoded(folder: Path, before: Manifest | None) -> bool:
    """Whether packets were kept as they came."""
    if before is not None and any(entry.kind == KIND for entry in before.tracks):
        return True
    return any(Path(name).suffix[1:] in EXTENSIONS.values() and _is_recorded(name, before) for name in files_in(folder))


def _finish_deletion(folder: Path, manifest: Manifest, *, keep_revoked: bool) -> Repaired:
    """Delete what is left of a revoked recording; one that lists its tracks is kept on purpose."""
    if not may_go(manifest) or keep_revoked or not files_in(folder) - {MANIFEST}:
        return Repaired(folder, manifest.status, (), (), (), len(manifest.losses))
    manifest.warnings.append(Warned("the stream was revoked: repair deleted the rest of its recording", 1, 0.0))
    return delete_content(folder, manifest, ())


def delete_content(folder: Path, manifest: Manifest, problems: tuple[str, ...]) -> Repaired:
    """Delete all but the manifest, which says so first: whatever happens in between, the deletion can be finished."""
    there = folder / MANIFEST if (folder / MANIFEST).exists() else Capture(folder).path
    Files(folder, mode_of(there)).replace(MANIFEST, manifest.encode())
    names = sorted(files_in(folder) - {MANIFEST}, key=lambda name: (part_of(name) is not None, name))
    for name in names:
        (folder / name).unlink(missing_ok=True)
    forget_search(folder.parent)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and path.name != WORKSHOP and not any(path.iterdir()):
            path.rmdir()
    return Repaired(folder, manifest.status, (*names, MANIFEST), (), problems, len(manifest.losses))


def _take_over(
    folder: Path, workshop: Path, before: Manifest | None, recorder: Recorder, problems: tuple[str, ...]
) -> Repaired:
    """Take each file of the workshop that holds all that the one in the folder does."""
    changed, kept = [], []
    made = files_in(workshop) - {MANIFEST}
    names = files_in(folder)
    half_written = {f"{name}.part" for name in (*made, MANIFEST)} & names
    there = {name for name in names - half_written if name != MANIFEST and part_of(name) is None}
    remade = recorder.manifest()
    most_ms = _most_moved_ms(before, remade)
    for unit in _units(made):
        strange = {name for name in unit if name not in there and not _has_place(folder, name)}
        if strange or not _all_hold(unit, there, workshop, folder, most_ms):
            kept += [name for name in unit if name in there or name in strange]
            problems += tuple(f"{name} has no place: a link or something else is there" for name in sorted(strange))
            continue
        for name in unit:
            if name not in there or not same(workshop / name, folder / name):
                (folder / name).parent.mkdir(mode=folder_mode(mode_of(workshop / name)), exist_ok=True)
                (workshop / name).replace(folder / name)
                changed.append(name)
    for name in half_written:
        (folder / name).unlink()  # a process was killed while it replaced the file
    kept += sorted(name for name in there - made if _is_recorded(name, before))
    manifest = _merged(before, remade, changed, kept, has_last_word=recorder.has_last_word)
    if manifest != before:
        Files(folder, mode_of(workshop / MANIFEST)).replace(MANIFEST, manifest.encode())
        changed.append(MANIFEST)
    return Repaired(folder, manifest.status, tuple(changed), tuple(kept), problems, len(manifest.losses))


_MOST_S = 1e12
"""What an offset can be; a manifest may come from someone else."""


def _most_moved_ms(before: Manifest | None, made: Manifest) -> dict[str, int]:
    """By how much the zero of each WAV that the manifest knew may have moved since."""
    if before is None or before.origin_ms is None or made.origin_ms is None:
        return {}
    now = {entry.path: made.origin_ms + entry.offset * 1000 for entry in made.tracks if entry.offset is not None}
    return {
        entry.path: max(0, round(before.origin_ms + entry.offset * 1000 - now[entry.path]))
        for entry in before.tracks
        if entry.offset is not None and abs(entry.offset) < _MOST_S and entry.path in now
    }


def _all_hold(unit: list[str], there: set[str], workshop: Path, folder: Path, most_ms: dict[str, int]) -> bool:
    """Whether files that go together hold all that those in the folder do."""
    if all(name not in there or holds(workshop / name, folder / name, most_ms.get(name)) for name in unit):
        return True
    return len(unit) == 2 and there.issuperset(unit) and pictures_hold(workshop / unit[0], folder / unit[0], _INDEX)


def _has_place(folder: Path, name: str) -> bool:
    """Whether a file can be put there: not through a link, and not in the place of something else."""
    path = folder / name
    between = list(path.relative_to(folder).parents)[:-1]
    ways = (folder / parent for parent in between)
    return not os.path.lexists(path) and all(
        not os.path.lexists(way) or (way.is_dir() and not way.is_symlink()) for way in ways
    )


def _is_recorded(name: str, before: Manifest | None) -> bool:
    """Whether a recorder has written a file; exports, pages and notes that people put beside them are their own affair.

    A manifest that was finished lists what there is. Any other may lack the newest files, which their names tell.
    """
    name = name.removesuffix(_INDEX)
    if before is not None and any(entry.path == name for entry in before.tracks):
        return True
    if before is not None and before.status != Status.RECORDING:
        return False
    folder, _, file = name.rpartition("/")
    return file.rpartition(".")[2] in _EXTENSIONS.get(folder, ()) if folder else name in _TEXTS


def _units(names: set[str]) -> Iterator[list[str]]:
    """The files that go together: pictures or packets, and their index."""
    for name in sorted(names):
        if not name.endswith(_INDEX):
            yield [name, f"{name}{_INDEX}"] if f"{name}{_INDEX}" in names else [name]
        elif name.removesuffix(_INDEX) not in names:
            yield [name]


def _merged(
    before: Manifest | None, made: Manifest, changed: list[str], kept: list[str], *, has_last_word: bool
) -> Manifest:
    """The manifest of a repaired recording: from what it said before, and what was made from the capture.

    A manifest that knows the end at least as well as the capture stays, but for the files that changed.

    :param has_last_word: whether the capture ends with a session's last word.
    """
    made_anew = copy(made)
    if before is None or before.status == Status.RECORDING or _later(made.ended_at, before.ended_at):
        base, other = made_anew, before
        texts = {warned.text for warned in made.warnings}
        notes = [Warned(f"{name} has more than the capture; it was kept", 1, 0.0) for name in kept]
        more = [*notes, *(before.warnings if before is not None else ())]
        base.warnings = [*made.warnings, *(warned for warned in more if warned.text not in texts)]
        if (stop := _unheard_stop(before, made)) is not None:
            base.stop = stop
            base.status = ending_by(stop).value
    else:
        base, other = copy(before), made
        if has_last_word and not _later(before.ended_at, made.ended_at):
            base.status, base.stop = made.status, made.stop
    if before is not None and other is not None:
        if base.origin_ms is None:
            base.origin_ms, base.buffered_ms = before.origin_ms, before.buffered_ms
        of_base = {entry.path: entry for entry in base.tracks}
        of_other = {entry.path: _moved(entry, other.origin_ms, base.origin_ms) for entry in other.tracks}
        of_made = of_other if other is made else of_base
        base.tracks = []
        for path in {**of_base, **of_other}:
            entries = [entries[path] for entries in (of_base, of_other) if path in entries]
            if path in changed and path in of_made:
                entries = [of_made[path]]
            else:  # it was kept, or is the same: a repair that was killed may have made it
                if path in kept and len({_form(entry) for entry in entries}) > 1:
                    # The capture lacks what was granted: its packets were taken for something else.
                    entries = [of_base[path] if of_made is of_other else of_other[path]]
                entries.sort(key=lambda entry: -entry.packets)
            base.tracks.append(entries[0])
        base.losses = joined_losses(before.losses, made.losses)
        base.title = before.title
        if base is made_anew:
            _count_more(base, before)
    return base


def _form(entry: TrackEntry) -> tuple[object, ...]:
    return entry.kind, entry.user_id, entry.codec, entry.rate, entry.channels


def _count_more(base: Manifest, before: Manifest) -> None:
    """Take over what a manifest knew before of people, messages and sockets, and the capture does not."""
    people = {person.user_id: person for person in base.participants}
    for person in before.participants:
        known = people.setdefault(person.user_id, person)
        known.user_name = known.user_name or person.user_name
        if len(person.names) > len(known.names):
            known.names = person.names
        known.joined = person.joined if known.joined is None else known.joined
    base.participants = list(people.values())
    base.messages = dict(base.messages)
    for way, counts in before.messages.items():
        base.messages[way] = _greater(base.messages.get(way, {}), counts, "count")
    base.media = {way: before.media.get(way, {}) | base.media.get(way, {}) for way in {**before.media, **base.media}}
    base.keep_alive = _greater(base.keep_alive, before.keep_alive, "received")
    if before.connection_count > base.connection_count:
        base.connections, base.connection_count = before.connections, before.connection_count


def _greater(one: dict[str, _Tally], other: dict[str, _Tally], figure: str) -> dict[str, _Tally]:
    """The greater one of each name's tallies."""
    return one | {
        name: tally
        for name, tally in other.items()
        if name not in one or getattr(tally, figure) > getattr(one[name], figure)
    }


def _later(one: str | None, other: str | None) -> bool:
    """Whether one ISO time is later than another; one that is not known is not."""
    try:
        return datetime.fromisoformat(one or "") > datetime.fromisoformat(other or "")
    except ValueError:
        return other is None and one is not None


def _moved(entry: TrackEntry, origin_ms: int | None, to_ms: int | None) -> TrackEntry:
    """An entry with its offset from another origin."""
    if entry.offset is None or origin_ms is None or to_ms is None or origin_ms == to_ms:
        return entry
    return structs.replace(entry, offset=entry.offset + (origin_ms - to_ms) / 1000)


def joined_losses(*lists: list[Loss]) -> list[Loss]:
    """All of them, and of two that are the same the greater one."""
    found: dict[tuple[str, str], Loss] = {}
    for loss in (loss for losses in lists for loss in losses):
        known = found.get((loss.what, loss.where))
        if known is None or loss.count > known.count:
            found[loss.what, loss.where] = loss
    return list(found.values())


def mode_of(path: Path) -> int:
    """The permissions of what belongs to a file that may be read-only."""
    return (path.stat().st_mode & 0o777) | 0o600


def files_in(folder: Path) -> set[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
    return {str(name) for name in names if name.parts[0] not in (WORKSHOP, LOCK)}
