"""Gives a recording a title, in its manifest. What else the manifest says stays as it is."""

import json
from pathlib import Path

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.endings import Status
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import MANIFEST, MOST_NBYTES, Manifest
from rtms_cli.recording.ownership import FolderLock, NoLocksError
from rtms_cli.untrusted import JOINERS, open_inside, read_bounded

MOST_TITLE = 200
"""Letters of a title."""


def read_title(text: str) -> str | None:
    """A title as it is stored: on one line, without blanks around it; `None` if nothing is left.

    :raises Problem: if it cannot be one.
    """
    title = " ".join(text.split())
    if len(title) > MOST_TITLE:
        raise Problem(f"The title has {len(title)} letters.", f"Give at most {MOST_TITLE}.")
    if not JOINERS.sub("", title).isprintable():
        raise Problem("The title has control characters in it.", "Give letters, digits and signs.")
    return title or None


def name_folder(folder: Path, title: str | None) -> None:
    """Give a recording a title.

    :param title: `None` takes it away.
    :raises Problem: if it is being recorded, or its manifest cannot be read or written.
    """
    lock = FolderLock(folder)
    try:
        lock.acquire()
    except BlockingIOError:
        raise Problem(f"{folder} is being recorded or repaired.", "Name it when that has ended.") from None
    except NoLocksError:
        pass  # what is being recorded there says so in its manifest
    except OSError as error:
        what = f"Cannot name {folder}: {reason_of(error)}."
        raise Problem(what, "Give a recording that you may change.") from None
    try:
        content = read_bounded(open_inside(folder, MANIFEST), MOST_NBYTES)
        if Manifest.decode(content).status == Status.RECORDING:
            raise Problem(f"{folder} is not finished.", f"rtms repair {folder} finishes it, if nobody records it.")
        mode = (folder / MANIFEST).stat().st_mode & 0o666
        Files(folder, mode).replace(MANIFEST, titled(content, title))
    except FileNotFoundError:
        raise Problem(f"{folder} has no {MANIFEST}.", f"rtms repair {folder} makes one of a capture.") from None
    except (OSError, ValueError) as error:
        why = reason_of(error)
        raise Problem(f"The manifest of {folder} cannot be changed: {why}.") from None
    finally:
        lock.release()


def titled(content: bytes, title: str | None) -> bytes:
    """A manifest's file with another title.

    :raises ValueError: if it is not JSON.
    """
    manifest = json.loads(content)
    manifest["title"] = title
    return json.dumps(manifest, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
