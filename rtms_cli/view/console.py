"""The one place that decides about colours, and that makes Rich's consoles.

`--color` sets `FORCE_COLOR` or `NO_COLOR`; both may also come from the environment. `NO_COLOR` wins over `FORCE_COLOR`,
and both win over what the output is.
"""

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def has_color(out: TextIO | None = None) -> bool:
    """Whether to write colours: on a terminal that knows them, unless the environment says otherwise.

    :param out: where to write; `None` is standard output.
    """
    forced = forced_color()
    return _is_terminal(out or sys.stdout) if forced is None else forced


def forced_color() -> bool | None:
    """What the environment says about colours; `None` if it says nothing."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def is_for_people(out: TextIO | None = None) -> bool:
    """Whether someone looks: tables and hints are for a terminal, or for a pager that was promised colours."""
    out = out or sys.stdout
    return out.isatty() or forced_color() is True


def make_console(out: TextIO | None = None) -> "Console":
    """A console that follows `has_color`, and colours no numbers or paths by itself.

    :param out: where it writes; `None` is standard output.
    """
    from rich.console import Console

    colored = has_color(out)
    # A terminal named dumb gets no colours from Rich, even where they are asked for.
    system = "standard" if colored and _names_no_terminal() else "auto" if colored else None
    return Console(
        file=out,
        force_terminal=True if colored else None,
        no_color=not colored,
        color_system=system,  # type: ignore[arg-type]
        highlight=False,
    )


def _is_terminal(out: TextIO) -> bool:
    return out.isatty() and not _names_no_terminal()


def _names_no_terminal() -> bool:
    return os.environ.get("TERM", "dumb").lower() in ("dumb", "unknown")
