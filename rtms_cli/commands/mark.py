"""`rtms mark`: a mark in a running recording."""

from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import recording_of, recordings_folder
from rtms_cli.errors import Exit, Problem, reason_of

TAKEN_S = 10.0
"""How long the process that records may take: it looks several times a second."""


def mark(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say of this moment.")],
    recording: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECORDING]",
            autocompletion=completing.recordings,
            help="Which one, if several are running: a name, id, title or path; latest.",
        ),
    ] = None,
) -> None:
    """Mark this moment in a running recording.

    The mark is a line in events.jsonl. It is shown in the page and the timeline, and is a chapter of exported films.

    \b
    Example:
      rtms mark "Decision: ship on Monday"
    """
    from rtms_cli.recording.marking import LONGEST
    from rtms_cli.view.text import say

    text = " ".join(text.split())
    if not text or len(text) > LONGEST:
        raise Problem(f"A mark has 1 to {LONGEST:,} characters, not {len(text):,}.")
    folder = _only_running(context) if recording is None else Path(recording_of(context, recording, "marking"))
    _leave(folder, text)
    say(f"marked {folder}: {text}")


def _only_running(context: typer.Context) -> Path:
    """The recording that is running.

    :raises Problem: if there is none, or several.
    """
    from rtms_cli.catalog.entries import folders
    from rtms_cli.recording.ownership import is_being_recorded

    place = recordings_folder(context)
    running = [folder for folder in folders(place) if is_being_recorded(folder)]
    if not running:
        raise Problem(f"Nothing is being recorded in {place}/.", "Marks go into running recordings only.")
    if len(running) > 1:
        named = ", ".join(folder.name for folder in running[:4]) + (", …" if len(running) > 4 else "")
        raise Problem(f"{len(running)} recordings are running: {named}.", "Name one: rtms mark TEXT RECORDING")
    return running[0]


def _leave(folder: Path, text: str) -> None:
    """Leave the mark, and wait until it is taken.

    :raises Problem: if nobody takes it.
    """
    import time

    from rtms_cli.capture import epoch_folders
    from rtms_cli.recording.marking import MARK, is_left, leave_mark
    from rtms_cli.recording.ownership import is_locked

    held = [part for part in (folder, *epoch_folders(folder).values()) if is_locked(part)]
    if not held:
        raise Problem(f"{folder} is not being recorded.", "Marks go into running recordings only.")
    deadline = time.monotonic() + TAKEN_S
    was_left = False
    while time.monotonic() < deadline:
        try:
            if not was_left:
                leave_mark(held[-1], text)
                was_left = True
        except FileExistsError:  # someone else's is about to be taken
            pass
        except OSError as error:
            raise Problem(f"Cannot mark {folder}: {reason_of(error)}.") from None
        if was_left and not is_left(held[-1]):
            return
        time.sleep(0.05)
    if was_left:
        (held[-1] / MARK).unlink(missing_ok=True)
    raise Problem(
        f"The process that records {folder} did not take the mark.", "Is it an older version of rtms?", Exit.REFUSED
    )
