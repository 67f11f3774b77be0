"""The only exception meant for a person, and the exit codes that scripts may rely on."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; listed in the README."""

    OK = 0
    MISMATCH = 1
    """A check said no: a signature differs, a client broke the protocol, a finding was made."""
    USAGE = 2
    """The command line, a payload or a setting is wrong, or a file cannot be read or made."""
    REFUSED = 3
    """Zoom (or the stand-in) or a queue refused us, or could not be reached."""
    INTERRUPTED = 4
    """The stream was lost before it ended; what had arrived is kept."""
    LOSSES = 5
    """The recording finished, but something could not be kept: see `losses` in its manifest."""
    NOTHING_GRANTED = 6
    """The app has no scope for any of the media that were asked for."""
    FAULT = 70
    """A defect in rtms itself."""


class Problem(Exception):
    """Something that a person can act on.

    :param what: one line that says what is wrong.
    :param remedy: one line that says what to do about it, or empty.
    :param exit_code: what the process ends with if nobody handles it.
    """

    def __init__(self, what: str, remedy: str = "", exit_code: Exit = Exit.USAGE) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".rstrip()
