"""New files take their names when they are whole; an interrupted export leaves nothing."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtms_cli.errors import Problem, reason_of
from rtms_cli.recording.files import atomic_path, free_space, is_stream, make_folder, write_all

STDOUT = Path("/dev/stdout")
_ROOM = 16 << 20
_CHUNK = 1 << 20


def check_room(target: Path, nbytes: float) -> None:
    """Refuse what the disk has no room for.

    :param nbytes: about how large the file becomes.
    :raises Problem: if that is so, with the numbers.
    """
    free = free_space(target.parent)
    if free is not None and nbytes > _ROOM and nbytes > free:
        needed, left = f"{nbytes / 1e9:,.1f}", f"{free / 1e9:,.1f}"
        raise Problem(
            f"{target.suffix.lstrip('.')} would need about {needed} GB, and {left} GB are free.",
            "Choose another disk with --out, or a part with --trim.",
        )


@contextmanager
def atomic_file(target: Path, *, force: bool, form: str = "") -> Iterator[Path]:
    """A path to write to, which becomes `target` if nothing went wrong; into a pipe or `STDOUT`, it is copied then.

    :param form: the format, which is the extension of that path whatever the target is called.
    :raises Problem: if the target is there already or cannot be written, or what goes into it cannot be read.
    """
    is_taken = target == STDOUT or is_stream(target)
    if not is_taken and target.is_dir():
        raise Problem(f"{target} is a folder.", "Give the name of a file.")
    if not is_taken and os.path.lexists(target) and not force:
        raise Problem(f"{target} already exists.", "--force overwrites it; --out writes elsewhere.")
    suffix = f".{form}" if form else target.suffix
    written = {target, *target.parents}
    try:
        if is_taken:
            with tempfile.TemporaryDirectory(prefix="rtms-export-") as folder:
                temporary = Path(folder) / f"{target.name}{suffix}"
                yield temporary
                _copy(temporary, target)
            return
        make_folder(target.parent)
        with atomic_path(target, suffix=suffix) as temporary:
            written.add(temporary)
            yield temporary
    except OSError as error:
        why, name = reason_of(error), error.filename
        if isinstance(name, str | Path) and Path(name) not in written:
            raise Problem(f"Cannot read {name}: {why}.", "`rtms inspect` shows what the recording has.") from None
        raise Problem(f"Cannot write {target}: {why}.", "Choose another folder with --out.") from None


def _copy(source: Path, sink: Path) -> None:
    """Hand a file's content to a stream; a reader that goes away has had enough."""
    descriptor = 1 if sink == STDOUT else os.open(sink, os.O_WRONLY)
    try:
        with source.open("rb") as content:
            while chunk := content.read(_CHUNK):
                write_all(descriptor, chunk)
    except BrokenPipeError:
        return
    finally:
        if descriptor != 1:
            os.close(descriptor)
