"""Ids and names from outside → names of files and folders (RECORDING, "The folder").

Whatever they hold, what comes out is one path component without separators, dots, control characters or reserved
names, still readable. That no two participants share one is seen to by `Names`, which has given out all of a recording.
"""

import hashlib
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from rtms_cli.capture import Header
from rtms_cli.protocol.messages import UserId
from rtms_cli.recording.files import make_folder

_ID_LENGTH = 32
_NAME_LENGTH = 30
_STREAM_LENGTH = 60
_SAFE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_RESERVED = frozenset(
    ("con", "prn", "aux", "nul", "mixed", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)
"""Windows' device names, and the one that a recording gives to mixed audio."""


class Names:
    """The file names of one recording."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, folder: str, stem: str, extension: str) -> str:
        """A path that nothing else in the recording has; `_2`, `_3`, … where the wanted one is taken."""
        return f"{folder}/{self.distinct(stem, folder, extension)}.{extension}"

    def distinct(self, stem: str, folder: str = "", extension: str = "") -> str:
        """A stem that was not given out for such files before.

        To some file systems, case and the way in which an accent is written make no difference.
        """
        number, wanted = 1, stem
        while (key := _folded(f"{folder}/{stem}.{extension}")) in self._taken:
            number += 1
            stem = f"{wanted}_{number}"
        self._taken.add(key)
        return stem


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFD", path).casefold())


def participant_stem(user_id: UserId, user_name: str | None) -> str:
    """`16778240_john-smith`; without a name the id alone."""
    name = slug(user_name or "", _NAME_LENGTH)
    return f"{tame_id(user_id)}_{name}" if name else tame_id(user_id)


def tame_id(user_id: UserId) -> str:
    """An id as it is where that makes a safe name, else what is readable of it with a hash of the whole."""
    text = str(user_id)
    if len(text) <= _ID_LENGTH and _SAFE_ID.fullmatch(text) and text not in _RESERVED:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = slug(text, _ID_LENGTH - 9)
    return f"{readable}-{digest}" if readable else digest


def slug(text: str, length: int) -> str:
    """Lower case letters and digits with `-` between; plain ASCII where nothing of the text is lost by that."""
    head = text[: 4 * length]
    plain = "".join(char for char in unicodedata.normalize("NFKD", head) if not unicodedata.combining(char))
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", head)
    kept = "".join(char if unicodedata.category(char)[0] in "LNM" else " " for char in plain.lower())
    # Three bytes a character at most: 255 bytes are a file system's limit, and an extension follows.
    kept = "".join(char for char in kept if ord(char) < 0x10000)
    return "-".join(kept.split())[:length].strip("-")


def folder_name(created: str, product: str, stream_id: str) -> str:
    """The name of a recording: `<started, UTC>_<product>_<stream id>`."""
    try:
        started = datetime.fromisoformat(created).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError):
        started = "undated"
    name = slug(product, _NAME_LENGTH) or "unknown"
    if name.replace("-", "_") == product:
        name = product
    return f"{started}_{name}_{_readable(stream_id)}"


def unique_name(created: str, product: str, stream_id: str) -> str:
    """The same, where nobody can see which names are taken: ids that look alike do not share one."""
    name = folder_name(created, product, stream_id)
    if _readable(stream_id) == stream_id:
        return name
    return f"{name}-{hashlib.sha256(stream_id.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _readable(stream_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", stream_id[:_STREAM_LENGTH]).strip("-") or "stream"


def new_folder(parent: Path, header: Header, mode: int = 0o700) -> Path:
    """Make the folder of a new recording: `<started, UTC>_<product>_<stream id>`, `_2`, … where there is one.

    :param mode: its permissions, and those of parents that have to be made, less what the user's umask takes away.
    :raises OSError: if it cannot be made.
    """
    make_folder(parent, mode)
    number, name = 1, folder_name(header.created, header.product, header.rtms_stream_id)
    while True:
        folder = parent / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(mode=mode)
        except FileExistsError:
            number += 1
        else:
            return folder
