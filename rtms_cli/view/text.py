"""Text from outside, made fit for a terminal."""

import re
import unicodedata

from rtms_cli.untrusted import JOINERS

_ROOM = 500


def escape(text: str, room: int = _ROOM) -> str:
    """The text on one line, with nothing in it that a terminal would obey.

    Control characters, escape sequences, line and paragraph breaks, and marks that turn the writing direction or hide
    themselves become visible escapes (`\\x1b`); what is longer than `room` is cut.
    """
    shown = text if len(text) <= room else text[: room - 1] + "…"
    joiners = {found.start() for found in JOINERS.finditer(shown)}
    return "".join(char if _harmless(char) or at in joiners else _visible(char) for at, char in enumerate(shown))


def say(line: str, *, err: bool = False) -> None:
    """Print a line that may hold text from outside: a name, a path, a reason."""
    import typer

    typer.echo(escape(line, max(_ROOM, len(line))), err=err)


def json_line(value: object) -> str:
    """The value as JSON on one line, with nothing in it that a terminal would obey."""
    from msgspec import to_builtins

    from rtms_cli.protocol.messages import dumps

    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", dumps(to_builtins(value, enc_hook=str)).decode())


_OBEYED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What JSON allows in a text, and terminals obey or turn the writing direction by."""


def _harmless(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _visible(char: str) -> str:
    return char.encode("unicode_escape").decode()


def show_spaces(text: str) -> str:
    """The text on one line, with white space that can be seen."""
    return escape(text, 10_000).replace(" ", "␠")


def size_of(nbytes: int) -> str:
    """A size for people: `640 B`, `12.3 kB`, `1.2 MB`."""
    size = float(nbytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def clock_time(seconds: float) -> str:
    """A duration for people: `0:07.3`, `12:34`, `1:02:03`."""
    if seconds < 60:
        return f"0:{seconds:04.1f}"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
