"""Which recording is the newest one."""

from pathlib import Path

from rtms_cli.errors import Problem

CAPTURES = ("capture.jsonl", "capture.jsonl.zst", "capture.jsonl.gz")


def newest(out: Path) -> Path:
    """The recording whose capture was written last; of several, the last by name.

    :param out: where recordings are.
    :raises Problem: where there is none.
    """
    captures = [path for name in CAPTURES for path in out.glob(f"*/{name}") if path.is_file()]
    if not captures:
        raise Problem(
            f"There is no recording in {out}/.", "Name a capture or a recording's folder; `rtms demo` makes one."
        )
    return max(captures, key=lambda path: (path.stat().st_mtime_ns, path.parent.name)).parent
