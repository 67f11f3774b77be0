"""New files take their names when they are whole; an interrupted export leaves nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtms_cli.errors import Problem
from rtms_cli.recording.files import atomic_path, make_folder


@contextmanager
def made(target: Path, *, force: bool) -> Iterator[Path]:
    """A path to write to, which becomes `target` if nothing went wrong.

    :raises Problem: where the target is there already or cannot be written, or what goes into it cannot be read.
    """
    if target.exists() and not force:
        raise Problem(f"{target} is there already.", "--force replaces it; --out writes elsewhere.")
    written = {target, *target.parents}
    try:
        make_folder(target.parent)
        with atomic_path(target) as temporary:
            written.add(temporary)
            yield temporary
    except OSError as error:
        why, name = error.strerror or error, error.filename
        if isinstance(name, str | Path) and Path(name) not in written:
            raise Problem(f"Cannot read {name}: {why}.", "`rtms inspect` shows what the recording has.") from None
        raise Problem(f"Cannot write {target}: {why}.", "Choose another folder with --out.") from None
