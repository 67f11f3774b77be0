"""New files take their names when they are whole; an interrupted export leaves nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtms_cli.errors import Problem


@contextmanager
def made(target: Path, *, force: bool) -> Iterator[Path]:
    """A path to write to, which becomes `target` if nothing went wrong.

    :raises Problem: where the target is there already, or cannot be written.
    """
    if target.exists() and not force:
        raise Problem(f"{target} is there already.", "--force replaces it; --out writes elsewhere.")
    passing = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        passing.touch(mode=0o600)  # what was said in a meeting is not for every user of the machine
        yield passing
        passing.replace(target)
    except OSError as error:
        raise Problem(
            f"Cannot write {target}: {error.strerror or error}.", "Choose another folder with --out."
        ) from None
    finally:
        passing.unlink(missing_ok=True)
