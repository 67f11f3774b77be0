"""Options that had another name before: they still work, hidden, with a note, until version 0.2."""

import typer

_RECORDING = {"live": "skip-buffered"}
_OLD: dict[str, dict[str, str]] = {
    "doctor": {"url": "webhook"},
    "export": {"user": "video-user"},
    "fleet": {"stream": "stream-id", "drain": "retire"},
    "inspect": {"to": "until"},
    "simulate": {"audio": "audio-file", "video": "video-file", "transcript": "transcript-file"},
    "trigger": {"to": "webhook"},
    **dict.fromkeys(("join", "listen", "start", "work"), _RECORDING),
}
"""By command, then by old name: the name of today. Every name has one meaning in all commands."""


def old_names(command: str | None) -> dict[str, str]:
    """The old names of a command's options, each with the one of today; without the dashes."""
    return _OLD.get(command or "", {})


def note(where: str, old: str, new: str) -> None:
    """Say on standard error that someone uses an old name.

    :param where: what holds it: `rtms inspect`, `rtms.toml`, a variable.
    """
    typer.echo(f"note: {where}: {old} is now called {new}; the old name will stop working in 0.2", err=True)
