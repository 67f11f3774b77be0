"""The only exception meant for a person, the exit codes that scripts may rely on, and the logging of defects."""

import errno
import logging
import os
import re
import traceback
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """Exit codes of every command; listed in docs/settings.md."""

    OK = 0
    MISMATCH = 1
    """A check said no: a signature differs, a client broke the protocol, a finding was made, an export is partial."""
    USAGE = 2
    """The command line, a payload or a setting is wrong, or a file cannot be read or made."""
    REFUSED = 3
    """Zoom (or the simulator) or a queue refused us, or could not be reached."""
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


_LONGEST_DEFECT = 500
"""Characters of what a defect says."""


def log_defect(log: logging.Logger, what: str, defect: BaseException | None) -> None:
    """Log a defect in rtms in a line that says where it is; with `--debug`, its traceback too.

    :param what: what has become of the work, for people.
    """
    is_debug = bool(os.environ.get("RTMS_DEBUG"))
    told = ""
    if defect is not None:
        frames = traceback.extract_tb(defect.__traceback__)
        where = f", in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        said = " ".join(f"{type(defect).__name__}: {defect}"[:_LONGEST_DEFECT].split())
        told = f": {said}{where}{'' if is_debug else '; --debug shows the traceback'}"
    log.error("a defect in rtms: %s%s", what, told, exc_info=defect if is_debug else None)


def reason_of(error: BaseException) -> str:
    """Why something failed, in English, for the end of a sentence: `Connection refused`.

    Texts that libraries make for programmers (`[Errno 111] Connect call failed ('::1', 80)`, `[SSL: …] (_ssl.c:1006)`)
    become what they mean. Where an error says nothing itself, as those of HTTP clients, its cause is what counts.
    """
    told = next(filter(None, map(_library_reason, _chain(error))), "")
    return told or _first_line(error) or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what caused it, and so on."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) < _MOST_CAUSES:
        one = waiting.pop(0)
        if one is None or one in found:
            continue
        found.append(one)
        yield one
        waiting += one.exceptions[:1] if isinstance(one, BaseExceptionGroup) else [one.__cause__ or one.__context__]


def _library_reason(error: BaseException) -> str:
    kind = type(error).__name__
    if kind in ("SSLCertVerificationError", "SSLError", "SSLEOFError", "SSLZeroReturnError"):
        return _tls_reason(error)
    if kind == "gaierror":
        is_temporary = getattr(error, "errno", 0) == _NO_NAME_SERVER
        return "the host name cannot be looked up now" if is_temporary else "the host name is not known"
    if isinstance(error, TimeoutError) and not (error.errno or str(error)):
        return "no answer in time"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if not isinstance(error, OSError):
        return ""
    said = error.strerror or _first_line(error)
    if said and not _FOR_PROGRAMMERS.search(said):
        return said
    number = error.errno or next((int(found) for found in _NUMBER.findall(said)), 0)
    number = number or (errno.ECONNRESET if isinstance(error, ConnectionResetError) else 0)
    return os.strerror(number) if number in errno.errorcode else ""


def _tls_reason(error: BaseException) -> str:
    if verification := getattr(error, "verify_message", ""):
        return f"its certificate is not trusted ({verification.rstrip('.')})"
    reason = str(getattr(error, "reason", "") or "")
    if any(name in reason for name in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH", "RECORD_LAYER")):
        return "it does not speak TLS"
    if "PEM" in str(error) or "NO_START_LINE" in reason or "CERTIFICATE_OR_CRL" in reason:
        return "it is not a PEM file with what is needed"
    if "KEY_VALUES_MISMATCH" in reason:
        return "the key is not that of the certificate"
    if "EOF" in reason or "EOF" in type(error).__name__:
        return "the connection ended during the TLS handshake"
    name = reason.lower().replace("_", " ") or "the connection ended"
    return f"TLS failed ({name})"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else ""


_MOST_CAUSES = 10
_NO_NAME_SERVER = -3
"""`socket.EAI_AGAIN`, without the import of `socket`."""
_FOR_PROGRAMMERS = re.compile(
    r"Connect call failed|\[Errno|\[SSL|_ssl\.c|error while attempting|All connection attempts|^Error \d+ |^<.*>$"
)
_NUMBER = re.compile(r"(?:\[Errno |^Error )(\d+)")
