"""Which recording is the newest one."""

from pathlib import Path

from rtms_cli.capture import part_of
from rtms_cli.errors import Problem
from rtms_cli.untrusted import is_file


def newest(out: Path) -> Path:
    """The recording whose capture was written last; of several, the last by name.

    :param out: where recordings are.
    :raises Problem: where there is none.
    """
    captures = [path for path in out.glob("*/capture*.jsonl*") if part_of(path.name) is not None and is_file(path)]
    if not captures:
        raise Problem(
            f"There is no recording in {out}/.", "Name a capture or a recording's folder; `rtms demo` makes one."
        )
    return max(captures, key=lambda path: (path.stat().st_mtime_ns, path.parent.name)).parent
