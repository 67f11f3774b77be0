"""Makes one recording of the parts that several owners of a stream have recorded, one after the other.

The first owner's part is the recording's folder itself; those of later owners are in `epochs/E0002`, `epochs/E0003`, …
Merging replays all captures, in order, into a workshop. One rename then makes the workshop `epochs/W0003` ("all parts
up to the third are here"): before it, the parts are the recording, and after it, the whole is. What follows only moves
files: the parts go, then the whole's files take their place, its capture and its manifest last. A process that dies in
between leaves one or the other complete, readers read that, and the next merge finishes.

Nothing is lost by it: where a capture could not be read to the end, where a part has losses, or where someone has put
files of his own into one, that part stays as it was, in `kept/`.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rtms_cli.capture import EPOCHS, Capture, epoch_folders, epoch_name, part_of, whole_folder, whole_name
from rtms_cli.errors import Problem, reason_of
from rtms_cli.machine import Item, in_batches
from rtms_cli.protocol.endings import Status
from rtms_cli.recording.files import Files, folder_mode
from rtms_cli.recording.manifest import CAPTURE, HOOKS_LOG, MANIFEST, Manifest, joined_taps
from rtms_cli.recording.ownership import LOCK, FolderLock
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.repair import (
    WORKSHOP,
    Repaired,
    acquired,
    as_revoked,
    clear_workshop,
    delete_content,
    ending_by,
    files_in,
    has_encoded,
    joined_losses,
    manifest_of,
    may_go,
    mode_of,
    repair,
)

KEPT = "kept"
"""Parts that are not surely in the whole, as they were."""
_BATCH = 1024


def has_parts(folder: Path) -> bool:
    """Whether a recording has parts that are not merged yet."""
    return whole_folder(folder) is not None or bool(epoch_folders(folder))


def finish(
    folder: Path,
    *,
    keep_revoked: bool = False,
    force: bool = False,
    read: Callable[[Capture], Iterable[Item]] = Capture.items,
) -> Repaired:
    """Finish a recording: merge its parts where it has several, else repair it.

    :param force: go on where the file system has no locks, so that nobody can tell whether it is being recorded.
    :param read: gives the capture's items; it may show how far they have been read.
    :raises Problem: if it is not a recording, or is being recorded.
    """
    if has_parts(folder):
        return merge(folder, keep_revoked=keep_revoked, force=force, read=read)
    with contextlib.suppress(OSError):  # a merge was killed at its last step, or an owner at its first one
        (folder / EPOCHS).rmdir()
    return repair(folder, keep_revoked=keep_revoked, force=force, read=read)


def merge(
    folder: Path,
    *,
    keep_revoked: bool = False,
    force: bool = False,
    read: Callable[[Capture], Iterable[Item]] = Capture.items,
) -> Repaired:
    """Merge the parts of a recording; see above. The parameters are those of `finish`."""
    locks: list[FolderLock] = []
    try:
        locks.append(acquired(folder, force=force))
        locks += [acquired(part, force=force) for part in epoch_folders(folder).values()]
        _move_in(folder)
        return _merge(folder, read, keep_revoked=keep_revoked)
    except OSError as error:
        raise Problem(f"{folder} could not be merged: {reason_of(error)}.", "Nothing of it was lost.") from error
    finally:
        for lock in locks:
            lock.release()


def _merge(folder: Path, read: Callable[[Capture], Iterable[Item]], *, keep_revoked: bool) -> Repaired:
    later = epoch_folders(folder)
    parts = [folder, *later.values()]
    if not later:  # another merge had died on its way, and is finished
        manifest = Manifest.read(folder)
        return Repaired(folder, manifest.status, (CAPTURE, MANIFEST), (), (), len(manifest.losses))
    manifests = [manifest_of(part) for part in parts]
    if not keep_revoked and (revoked := _revoked_by(manifests)) is not None:
        return delete_content(folder, revoked, ())
    capture = Capture(folder)
    workshop = folder / WORKSHOP
    try:
        clear_workshop(workshop)
        workshop.mkdir(mode=0o700)
        recorder = Recorder(
            workshop,
            capture.header,
            files=Files(workshop, mode_of(capture.path)),
            keep_revoked=keep_revoked,
            keep_encoded=any(map(has_encoded, parts, manifests)),
        )
        for batch in in_batches(read(capture), _BATCH):
            recorder.fold(batch)
        recorder.close()
        if (failed := recorder.write_failures()) > 0:
            raise Problem(f"{folder} could not be merged: {failed} writes failed.", "Is the disk full?")
        manifest = recorder.manifest()
        if may_go(manifest):
            return delete_content(folder, manifest, tuple(capture.problems))
        for each in manifests:
            manifest.taps = joined_taps(manifest.taps, each.taps if each is not None else [])
        known = [each.losses for each in manifests if each is not None]
        manifest.losses = joined_losses(*known, manifest.losses)
        manifest.title = next((each.title for each in manifests if each is not None and each.title), None)
        Files(workshop, mode_of(capture.path)).replace(MANIFEST, manifest.encode())
        _join_logs(parts, workshop)
        kept = _mark_kept(parts, manifests, workshop, is_damaged=bool(capture.problems))
        made = tuple(sorted(files_in(workshop)))
        workshop.replace(folder / EPOCHS / whole_name(max(later)))
    finally:
        clear_workshop(workshop)
    _move_in(folder)
    return Repaired(folder, manifest.status, made, kept, tuple(capture.problems), len(manifest.losses))


def _revoked_by(manifests: list[Manifest | None]) -> Manifest | None:
    """What remains of the recording where one of its owners has heard that it is to be deleted."""
    for manifest in manifests:
        if manifest is None:
            continue
        if may_go(manifest):
            return manifest
        stop = manifest.stop
        if stop is not None and manifest.status == Status.RECORDING and ending_by(stop) is Status.REVOKED:
            return as_revoked(manifest, stop)
    return None


def _join_logs(parts: list[Path], workshop: Path) -> None:
    """Put what hooks have said into one file."""
    logs = [part / HOOKS_LOG for part in parts if (part / HOOKS_LOG).is_file() and not (part / HOOKS_LOG).is_symlink()]
    if not logs:
        return
    with (workshop / HOOKS_LOG).open("xb") as joined:
        (workshop / HOOKS_LOG).chmod(mode_of(logs[0]))
        for log in logs:
            with log.open("rb") as said:
                shutil.copyfileobj(said, joined)


def _mark_kept(
    parts: list[Path], manifests: list[Manifest | None], workshop: Path, *, is_damaged: bool
) -> tuple[str, ...]:
    """Make a folder for each part that is to stay as it was.

    :returns: where those will be, in the recording's folder.
    """
    kept = []
    for part, manifest in zip(parts, manifests, strict=True):
        name = part.name if part is not parts[0] else epoch_name(1)
        is_strange = part is not parts[0] and bool(files_in(part) - _own_files(part, manifest))
        if is_damaged or is_strange or (manifest is not None and manifest.losses):
            (workshop / KEPT / name).mkdir(parents=True)
            kept.append(f"{KEPT}/{name}")
    return tuple(kept)


def _own_files(folder: Path, manifest: Manifest | None) -> set[str]:
    """The files of a part that the whole has instead."""
    tracks = [] if manifest is None else [entry.path for entry in manifest.tracks]
    names = {MANIFEST, HOOKS_LOG, *tracks, *(f"{path}.index.jsonl" for path in tracks)}
    names |= {name for name in files_in(folder) if part_of(name) is not None}
    return names | {f"{name}.part" for name in names}


def _move_in(folder: Path) -> None:
    """Let the whole take the place of its parts, if there is one; whatever has been done already is passed over."""
    found = whole_folder(folder)
    if found is None:
        return
    last, whole = found
    if (whole / MANIFEST).exists():
        manifest = Manifest.read(whole)
        _remove_parts(folder, last, whole)
        _replace_tracks(folder, whole, {entry.path for entry in manifest.tracks})
        _move_kept(whole, folder)
        if (whole / CAPTURE).exists():
            for name in [name for name in files_in(folder) if part_of(name) not in (None, 1)]:
                (folder / name).unlink()
            (whole / CAPTURE).replace(folder / CAPTURE)
        (whole / MANIFEST).replace(folder / MANIFEST)
    shutil.rmtree(whole)
    with contextlib.suppress(OSError):  # another owner has begun a part meanwhile
        whole.parent.rmdir()


def _remove_parts(folder: Path, last: int, whole: Path) -> None:
    for epoch, part in epoch_folders(folder).items():
        if epoch > last:
            continue
        keep = whole / KEPT / part.name
        if keep.is_dir():
            (part / LOCK).unlink(missing_ok=True)
            part.replace(keep)
        else:
            shutil.rmtree(part)


def _replace_tracks(folder: Path, whole: Path, tracks: set[str]) -> None:
    """Move the files of the whole into the folder, all but the capture and the manifest; what was there goes first."""
    keep = whole / KEPT / epoch_name(1)
    before = manifest_of(folder)
    listed = _own_files(folder, before) - {MANIFEST, HOOKS_LOG, CAPTURE}
    wanted = tracks | {f"{path}.index.jsonl" for path in tracks}
    gone = {name for name in files_in(folder) & listed if name not in wanted and part_of(name) is None}
    made = {name for name in files_in(whole) if not name.startswith(f"{KEPT}/")} - {MANIFEST, CAPTURE}
    captures = {name for name in files_in(folder) if part_of(name) is not None} if (whole / CAPTURE).exists() else set()
    if keep.is_dir():
        if before is not None:
            Files(keep).replace(MANIFEST, before.encode())
        for name in gone | made | captures:
            if (folder / name).is_file():
                _move(folder / name, keep / name)
    else:
        for name in gone:
            (folder / name).unlink(missing_ok=True)
    for name in made:
        _move(whole / name, folder / name)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=folder_mode(mode_of(source)), parents=True, exist_ok=True)
    source.replace(target)


def _move_kept(whole: Path, folder: Path) -> None:
    for part in sorted((whole / KEPT).iterdir()) if (whole / KEPT).is_dir() else ():
        (folder / KEPT).mkdir(mode=0o700, exist_ok=True)
        part.replace(next(path for path in _free_names(folder / KEPT / part.name) if not path.exists()))


def _free_names(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 1_000_000):
        yield path.with_name(f"{path.name}_{number}")
