"""The commands by name, each imported only when it is run: to list them must not cost what all of them cost."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from rtms_cli.commands.command import RtmsCommand

if TYPE_CHECKING:
    from typer._click.core import Command, Context
    from typer._click.formatting import HelpFormatter

COMMANDS = {
    "demo": "Record a simulated meeting; needs no Zoom account.",
    "listen": "Record every stream that Zoom announces.",
    "work": "Record the streams of a queue, on any number of machines.",
    "fleet": "Show the workers of a queue and their streams.",
    "join": "Record one stream from its webhook's payload.",
    "start": "Start the stream of a meeting, session or call.",
    "stop": "Stop a stream.",
    "pause": "Pause a stream.",
    "resume": "Resume a paused stream.",
    "status": "Show the status of a phone call's stream.",
    "replay": "Rebuild a recording from its capture, or serve it to clients.",
    "inspect": "Show what a recording holds, and check it.",
    "export": "Turn recordings into files to play, read and plot.",
    "repair": "Finish recordings whose process died.",
    "ls": "List the recordings, newest first.",
    "show": "Show one recording in ten lines, the verdict first.",
    "search": "Find words in all transcripts, chats and titles.",
    "play": "Play a recording, or open its page in a browser.",
    "name": "Give a recording a title.",
    "mark": "Mark this moment in a running recording.",
    "rm": "Delete recordings, finished or not.",
    "prune": "Delete old recordings, in a folder or in a store.",
    "simulate": "Simulate Zoom for a client under test.",
    "trigger": "Post a signed webhook to an app, and check its answer.",
    "doctor": "Check this machine, the credentials, the webhook and the cloud.",
    "config": "Show effective settings, and where each comes from.",
    "attach": "Show the dashboard of a recorder that runs in another terminal.",
    "web": "Show what runs and what was recorded, in a browser.",
    "sign": "Compute a signature, or find out why one is wrong.",
}
"""What each command's own help begins with. The file `NAME.py` defines the function or `Typer` of that name."""


PANELS = {
    "Record": ("listen", "join", "start", "stop", "pause", "resume", "status", "mark", "work", "fleet"),
    "Look": ("ls", "show", "search", "play", "web", "attach", "inspect", "export", "name", "repair", "rm", "prune"),
    "Try": ("demo", "simulate", "replay", "trigger"),
    "Set up": ("doctor", "config", "sign"),
}
"""The commands as the list of them is divided."""


class LazyGroup(TyperGroup):
    """Shows the commands from `COMMANDS` under their headings, and imports the one that is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({name: TyperCommand(name, help=line) for name, line in COMMANDS.items()})

    def list_commands(self, ctx: "Context") -> list[str]:
        """The names of the commands, as `PANELS` has them."""
        return [name for names in PANELS.values() for name in names if name in self.commands]

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the list of commands."""
        width = max(map(len, self.commands))
        for heading, names in PANELS.items():
            shown = [self.commands[name] for name in names if name in self.commands]
            limit = formatter.width - width - 6
            with formatter.section(heading):
                formatter.write_dl([(f"{each.name:{width}}", each.get_short_help_str(limit)) for each in shown])

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        """The command that the arguments begin with, ready to run."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load(name), rest


def load(name: str) -> "Command":
    """Import a command.

    :param name: one of `COMMANDS`.
    """
    import_msgspec()
    command = getattr(importlib.import_module(f"rtms_cli.commands.{name}"), name)
    if isinstance(command, typer.Typer):
        return get_group(command)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, cls=RtmsCommand)(command)
    return get_command(alone)


def import_msgspec() -> None:
    """Import msgspec in half the time: it takes from typing_extensions, if that is there, what typing has too."""
    name = "typing_extensions"
    if name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails now
        import msgspec  # noqa: F401

        del sys.modules[name]
