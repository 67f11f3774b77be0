"""New files take their names when they are whole; an interrupted export leaves nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtms_cli.errors import Problem, reason_of
from rtms_cli.recording.files import atomic_path, free_space, make_folder

_ROOM = 16 << 20


def check_room(target: Path, nbytes: float) -> None:
    """Refuse what the disk has no room for.

    :param nbytes: about how large the file becomes.
    :raises Problem: where that is so, with the numbers.
    """
    free = free_space(target.parent)
    if free is not None and nbytes > _ROOM and nbytes > free:
        needed, left = f"{nbytes / 1e9:,.1f}", f"{free / 1e9:,.1f}"
        raise Problem(
            f"{target.suffix.lstrip('.')} would need about {needed} GB, and {left} GB are free.",
            "Choose another disk with --out, or a part with --trim.",
        )


@contextmanager
def made(target: Path, *, force: bool) -> Iterator[Path]:
    """A path to write to, which becomes `target` if nothing went wrong.

    :raises Problem: where the target is there already or cannot be written, or what goes into it cannot be read.
    """
    if os.path.lexists(target) and not force:
        raise Problem(f"{target} is there already.", "--force replaces it; --out writes elsewhere.")
    written = {target, *target.parents}
    try:
        make_folder(target.parent)
        with atomic_path(target) as temporary:
            written.add(temporary)
            yield temporary
    except OSError as error:
        why, name = reason_of(error), error.filename
        if isinstance(name, str | Path) and Path(name) not in written:
            raise Problem(f"Cannot read {name}: {why}.", "`rtms inspect` shows what the recording has.") from None
        raise Problem(f"Cannot write {target}: {why}.", "Choose another folder with --out.") from None
