"""The folder where recordings are kept until a store has them, with the shipping state of each."""

import contextlib
import shutil
import time
from collections.abc import Container, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from rtms_cli.capture import Capture, part_name, part_of
from rtms_cli.errors import Problem
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import MANIFEST
from rtms_cli.recording.ownership import LOCK, is_locked
from rtms_cli.store.segments import Mark

STATES = ".store"
"""The folder in a spool for shipping states."""
EPOCHS = "epochs"
_LEAST_VALUABLE = (".wav", ".h264", ".jpg", ".mjpeg", ".pngs", ".opus", ".g722", ".alaw")
"""Files that can be rebuilt from a capture, the largest kind first."""


class Segment(Struct, frozen=True):
    """A segment that the store has."""

    number: int
    part: int
    start: int
    end: int
    nbytes: int
    """As it is stored."""


class Shipped(Struct):
    """The shipping state of one part of a recording."""

    epoch: int
    segments: list[Segment] = []
    mark: Mark = Mark()
    is_final: bool = False
    """Whether the store has all of it."""
    is_fenced: bool = False
    """Whether a later owner has taken it over, so that nothing more is written."""
    dropped: list[str] = []
    """Files that were deleted here to free space and have to be rebuilt."""


_SHIPPED = msgspec.json.Decoder(Shipped)


class SpoolPart(Struct, frozen=True):
    """The part of a stream that one owner recorded, in a spool."""

    spool: Path
    recording: str
    folder: Path
    epoch: int

    @property
    def state_name(self) -> str:
        """Return the name of its state file in the spool."""
        return f"{STATES}/{self.recording}.E{self.epoch:04d}.json"

    def state(self) -> Shipped:
        """Return its shipping state."""
        try:
            found = _SHIPPED.decode((self.spool / self.state_name).read_bytes())
        except (OSError, msgspec.MsgspecError):
            return Shipped(self.epoch)
        return found if found.epoch == self.epoch else Shipped(self.epoch)

    def remember(self, state: Shipped) -> None:
        """Save its shipping state.

        :raises OSError: if that cannot be written.
        """
        Files(self.spool).replace(self.state_name, msgspec.json.encode(state))

    def remove(self) -> None:
        """Remove it and its state from the spool, except the parts of other owners in its folder."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name == EPOCHS:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        (self.spool / self.state_name).unlink(missing_ok=True)
        parent = self.spool / self.recording
        for empty in (self.folder, parent / EPOCHS, parent):
            if empty.is_dir() and not empty.is_symlink() and not any(empty.iterdir()):
                empty.rmdir()

    def is_quiet(self, seconds: float) -> bool:
        """Return whether nothing was written to it for this long. Otherwise, its process may have just released it."""
        newest = 0.0
        for name in (MANIFEST, part_name(1)):
            with contextlib.suppress(OSError):
                newest = max(newest, (self.folder / name).stat().st_mtime)
        return abs(time.time() - newest) >= seconds

    def is_being_recorded(self) -> bool:
        """Return whether a process is recording it. Later owners of the same recording do not count."""
        return is_locked(self.folder)


def part_at(spool: Path, folder: Path) -> SpoolPart | None:
    """Return the part of a recording in a spool folder, or `None` without a capture."""
    try:
        header = Capture(folder).header
    except Problem:
        return None
    recording = folder.relative_to(spool).parts[0]
    return SpoolPart(spool, recording, folder, header.epoch)


def parts_in(spool: Path) -> Iterator[SpoolPart]:
    """Yield all parts of recordings in a spool."""
    for folder in (*sorted(spool.glob("*")), *sorted(spool.glob(f"*/{EPOCHS}/E*"))):
        if folder.name.startswith(".") or not folder.is_dir() or folder.is_symlink():
            continue
        if not any(folder.glob("capture*.jsonl")):
            continue  # it has parts of later owners only
        if (part := part_at(spool, folder)) is not None:
            yield part


def files_of(folder: Path) -> list[str]:
    """A recording's finished files, by their names in it: all but the capture, which the store has in segments."""
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_ours = name.parts[0] not in (EPOCHS, LOCK, MANIFEST, ".repair") and not path.name.endswith(".part")
        if is_ours and path.is_file() and not path.is_symlink() and part_of(str(name)) is None:
            names.append(name.as_posix())
    return names


def nbytes_in(spool: Path) -> int:
    """How much a spool holds."""
    total = 0
    for path in spool.rglob("*"):
        try:
            total += 0 if path.is_symlink() else path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def drop_least_valuable(
    spool: Path, nbytes: int, ours: Container[Path] = (), busy: Container[Path] = ()
) -> tuple[int, int]:
    """Delete finished files that a capture can make again, until this many bytes are free; never a capture.

    :param ours: parts whose locks this process holds, and whose recorders have closed.
    :param busy: parts whose files are made again or stored at this moment: nothing of theirs is deleted.
    :returns: how many files, and how many bytes.
    """
    candidates: list[tuple[int, int, SpoolPart, str]] = []
    for part in parts_in(spool):
        if part.folder in busy or (part.folder not in ours and part.is_being_recorded()):
            continue
        for name in files_of(part.folder):
            kind = Path(name).suffix
            if kind in _LEAST_VALUABLE:
                size = (part.folder / name).stat().st_size
                candidates.append((_LEAST_VALUABLE.index(kind), -size, part, name))
    count = freed = 0
    for _, size, part, name in sorted(candidates, key=lambda one: one[:2]):
        if freed >= nbytes:
            break
        state = part.state()
        part.remember(structs.replace(state, dropped=[*state.dropped, name]))
        (part.folder / name).unlink()
        count, freed = count + 1, freed - size
    return count, freed
