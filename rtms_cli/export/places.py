"""Where exports go: what a person writes for a folder, a file or standard output → the paths of each recording."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.export.files import STDOUT
from rtms_cli.export.formats import FORMATS, PICTURES, Target
from rtms_cli.recording.files import is_stream
from rtms_cli.recording.names import Names
from rtms_cli.untrusted import is_folder

_EXTENSION = re.compile(r"\.[a-z][a-z0-9]{0,9}", re.IGNORECASE)
"""What the name of a file ends with, and that of a folder seldom."""


class Place(Struct, frozen=True):
    """Where the exports of all recordings go."""

    folder: Path | None = None
    """`None` is `export/` in each recording."""
    file: str = ""
    """The name of the one file that is wanted."""
    is_shared: bool = False
    """Whether several recordings use the folder."""

    @property
    def is_stdout(self) -> bool:
        """Whether the one file is standard output."""
        return self.folder == STDOUT.parent and self.file == STDOUT.name

    def target(self, recording: str, names: Names) -> Target:
        """Where the files of one recording go.

        :param recording: its path or URL.
        :param names: has given out the names of the others'.
        :raises Problem: if its own folder may not be written to.
        """
        folder = self.folder or _beside(recording)
        if self.file:
            is_alone = self.is_stdout or is_stream(folder / self.file)
            return Target(folder, Path(self.file).stem, self.file, is_alone)
        stem = names.distinct(_stem(recording), str(folder))
        return Target(folder, stem, pictures=f"{stem}." if self.is_shared else "")


def format_of(out: str) -> str:
    """The format that a file's name asks for; empty if it asks for none."""
    extension = Path(out).suffix[1:].lower()
    return extension if extension in FORMATS and not _is_folder(out) else ""


def place_of(out: str | None, formats: Sequence[str], count: int, *, per_speaker: bool) -> Place:
    """Read `--out`: a folder, `-`, or a file where one format makes one file.

    :param formats: empty if each recording has its usual ones.
    :param count: how many recordings there are.
    :raises Problem: if one file is named for several.
    """
    if out is None:
        return Place()
    is_stdout = out in ("-", str(STDOUT))
    is_file = is_stdout or os.path.lexists(out) or _EXTENSION.fullmatch(Path(out).suffix)
    if not is_stdout and (_is_folder(out) or not is_file):
        return Place(Path(out), is_shared=count > 1)
    several = ""
    if count > 1:
        several = f"{count} recordings"
    elif len(formats) != 1:
        several = f"{len(formats)} formats" if formats else "the usual formats"
    elif formats[0] in PICTURES:
        several = f"{formats[0]}, which are several files"
    elif per_speaker:
        several = "a file for each participant"
    if several:
        raise Problem(f"--out {out} is one file, but this exports {several}.", "Give a folder, such as out/.")
    if is_stdout:
        return Place(STDOUT.parent, STDOUT.name)
    if (asked := format_of(out)) not in ("", formats[0]):
        fitting = Path(out).with_suffix(f".{formats[0]}")
        raise Problem(f"--out {out} is the name of a {asked} file, but --to is {formats[0]}.", f"Use --out {fitting}.")
    return Place(Path(out).parent, Path(out).name)


def plot_place(plot: str | None, count: int) -> Place | None:
    """Read `--plot`: a file, `-`, or a folder that exists or ends with a slash.

    :raises Problem: if one file is named for several recordings.
    """
    if plot is None:
        return None
    if _is_folder(plot):
        return Place(Path(plot))
    if count > 1:
        raise Problem(f"--plot {plot} is one file, but there are {count} recordings.", "Give a folder, such as plots/.")
    path = STDOUT if plot == "-" else Path(plot)
    return Place(path.parent, path.name)


def _is_folder(text: str) -> bool:
    return text.endswith(os.sep) or is_folder(Path(text))


def _stem(recording: str) -> str:
    if recording == "-":
        return "capture"
    if "://" in recording:
        return recording.rstrip("/").rpartition("/")[2]
    path = Path(os.path.realpath(recording))  # `resolve` raises where links lead in a circle
    return path.name if is_folder(path) else path.name.partition(".")[0]


def _beside(recording: str) -> Path:
    if "://" in recording:
        return Path("export")
    path = Path(recording)
    folder = (path if is_folder(path) else path.parent) / "export"
    if folder.is_symlink():
        raise Problem(f"{folder} is a symbolic link, which may point anywhere.", "Name its target with --out.")
    return folder
