"""New files take their names when they are whole; an interrupted export leaves nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtms_cli.errors import Problem
from rtms_cli.recording.files import atomic_path, make_folder


@contextmanager
def made(target: Path, *, force: bool) -> Iterator[Path]:
    """A path to write to, which becomes `target` if nothing went wrong.

    :raises Problem: where the target is there already, or cannot be written.
    """
    if target.exists() and not force:
        raise Problem(f"{target} is there already.", "--force replaces it; --out writes elsewhere.")
    try:
        make_folder(target.parent)
        with atomic_path(target) as temporary:
            yield temporary
    except OSError as error:
        raise Problem(
            f"Cannot write {target}: {error.strerror or error}.", "Choose another folder with --out."
        ) from None
