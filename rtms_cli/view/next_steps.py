"""What to do next: one or two commands at the end of a report, with the real names in them."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rtms_cli.view.text import escape

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def command_line(*words: object) -> str:
    """A command as a person would type it: `rtms show 'weekly sync'`."""
    return shlex.join(str(word) for word in words)


def next_steps(console: "Console", steps: Sequence[tuple[str, str]]) -> None:
    """Print commands that make sense next, a line each: `Next: rtms show latest   summary and verdict`.

    Prints nothing where nobody looks: into a file or a pipe. With `--json` and `--quiet`, do not call it.

    :param steps: each a whole command (see `command_line`) and a few words that say what it does.
    """
    if console.is_terminal:
        for line in step_lines(steps, console.width):
            console.print(line, soft_wrap=True)


def step_lines(steps: Sequence[tuple[str, str]], most: int | None = None) -> "Iterator[Text]":
    """The same lines, for a caller that prints them in another way.

    :param most: columns of the terminal; where a line would not fit, what a command does is on the next line.
    """
    from rich.text import Text

    shown = [(escape(command), escape(what)) for command, what in steps]
    width = max((len(command) for command, _ in shown), default=0)
    longest = max((len(what) for _, what in shown), default=0)
    is_narrow = most is not None and len("Next: ") + width + len("   ") + longest > most
    for number, (command, what) in enumerate(shown):
        line = Text("Next: " if number == 0 else "      ", style="dim")
        line.append(command.ljust(width) if what and not is_narrow else command, style="bold not dim")
        if is_narrow:
            yield line
            if what:
                yield Text(f"        {what}", style="dim")
            continue
        line.append(f"   {what}" if what else "")
        yield line
