"""Marks that another process leaves for the one that records: a file in the recording's folder.

The folder is as private as the recording, so whoever can leave a mark could change the recording anyway. The recorder
looks for the file now and then, and removes it: that tells the other side that the mark was taken.
"""

import os
import tempfile
from pathlib import Path

from rtms_cli.untrusted import open_inside, read_bounded

MARK = ".mark"
LONGEST = 1000
"""Characters of a mark."""
_MOST_NBYTES = 4 * LONGEST


def leave_mark(folder: Path, text: str) -> None:
    """Leave a mark for the process that records.

    :param folder: the recording's, or that of the epoch that is being recorded.
    :param text: at most `LONGEST` characters.
    :raises FileExistsError: if another mark waits there.
    :raises OSError: if it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=MARK, dir=folder)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
            file.write(text.encode(errors="replace"))
        os.link(name, folder / MARK)  # whole, and never over another one
    finally:
        Path(name).unlink(missing_ok=True)


def is_left(folder: Path) -> bool:
    """Whether a mark waits to be taken."""
    return os.path.lexists(folder / MARK)


def take_mark(folder: Path) -> str | None:
    """Take the mark that someone has left; `None` if there is none that can be read."""
    path = folder / MARK
    if not os.path.lexists(path):
        return None
    try:
        content = read_bounded(open_inside(folder, MARK), _MOST_NBYTES)
    except (OSError, ValueError):
        content = None
    try:
        path.unlink()
    except OSError:  # it would be taken again and again
        return None
    return None if content is None else content.decode(errors="replace")[:LONGEST]
