"""Which recording a person means: a path, a URL, `latest`, or the beginning of a name, an id or a title."""

import difflib
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from rtms_cli.capture import part_of
from rtms_cli.catalog.entries import Entry, entry_of, folders
from rtms_cli.errors import Problem
from rtms_cli.untrusted import is_file

LATEST = "latest"
_NAMED = re.compile(r"\d{8}T\d{6}Z(?=_)")
_COPY = re.compile(r"_\d+$")
_MOST_NAMED = 4
"""Recordings that an error names."""
_HOW = "`rtms ls` lists the recordings."


def newest(place: Path) -> Path:
    """The recording that began last, by its name; one that has another name counts from its last write.

    A replay that was put beside its recording has the recording's name with a number (`…_2`), and does not count.

    :param place: the folder that recordings are in.
    :raises Problem: if it has none.
    """
    found = place.glob("[!.]*/capture*.jsonl*")
    captures = [path for path in found if part_of(path.name) is not None and is_file(path)]
    names = {path.parent.name for path in captures}
    captures = [path for path in captures if _COPY.sub("", path.parent.name) not in names - {path.parent.name}]
    dated = [(began, path.parent) for path in captures if (began := _began(path)) is not None]
    if not dated:
        raise Problem(f"There is no recording in {place}/.", "`rtms demo` records a simulated meeting.")
    return max(dated)[1]


def _began(capture: Path) -> tuple[str, int, str] | None:
    """What captures are sorted by: when their recordings began, and when they were written last.

    `None` if it was deleted a moment ago.
    """
    name = capture.parent.name
    try:
        written = capture.stat()
    except OSError:
        return None
    try:
        shown = datetime.fromtimestamp(written.st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")
    except (OSError, OverflowError, ValueError):  # no date can be that time
        shown = ""
    began = _NAMED.match(name)
    return shown if began is None else began[0], written.st_mtime_ns, name


def find_folder(text: str, place: Path) -> Path:
    """The file or folder that a person means.

    A path that exists wins. Else it is `latest`, or the beginning of one recording's folder name, or, where no name
    begins so, of one recording's stream id, meeting id or title.

    :param place: the folder that recordings are in.
    :raises Problem: if there is none, or several.
    """
    if os.path.lexists(text):
        return Path(text)
    if text == LATEST:
        return newest(place)
    by_name = {path.name: path for path in folders(place)}
    if text in by_name:
        return by_name[text]
    named = sorted(name for name in by_name if text and name.startswith(text))
    if not named:
        entries = [entry_of(path) for path in by_name.values()]
        named = sorted(entry.name for entry in entries if text and is_called(entry, text))
    if len(named) == 1:
        return by_name[named[0]]
    raise not_one(text, named, by_name, str(place))


def is_called(entry: Entry, text: str) -> bool:
    """Whether a recording's stream id, meeting id or title begins so; case makes no difference."""
    wanted = text.casefold()
    return any((known or "").casefold().startswith(wanted) for known in (entry.rtms_stream_id, entry.id, entry.title))


def not_one(text: str, named: list[str], known: Iterable[str], place: str) -> Problem:
    """What to say where a text means no recording, or several.

    :param named: those that it means.
    :param known: all names.
    """
    if named:
        listed = ", ".join(named[:_MOST_NAMED]) + (", …" if len(named) > _MOST_NAMED else "")
        return Problem(f"{text} is the beginning of {len(named)} recordings: {listed}.", f"Give more of it. {_HOW}")
    close = difflib.get_close_matches(text, [*known, LATEST], 1, 0.7)
    meant = f"Did you mean {close[0]}? {_HOW}" if close else f"{_HOW} A path works too."
    return Problem(f"There is no recording {text}: not a path, and nothing in {place}/ is called so.", meant)
