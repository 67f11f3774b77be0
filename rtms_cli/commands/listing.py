"""The commands by name, each imported only when it is run: to list them must not cost what all of them cost."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

if TYPE_CHECKING:
    from typer._click.core import Command, Context

COMMANDS = {
    "demo": "Record a simulated meeting; needs no Zoom account.",
    "listen": "Record every stream that Zoom's webhooks announce, or its event WebSocket.",
    "work": "Record streams that `rtms listen --queue` takes in, on as many machines as you like.",
    "fleet": "Show the workers of a queue and their streams.",
    "join": "Record one stream from its webhook's payload.",
    "start": "Start the stream of a meeting, session or call.",
    "stop": "Stop a stream.",
    "pause": "Pause a stream: nothing comes until it is resumed.",
    "resume": "Let a paused stream go on.",
    "status": "Ask how a phone call's stream stands.",
    "replay": "Make a recording again from its capture, or serve the capture to clients.",
    "inspect": "Show what a capture holds: a summary, its messages, what is wrong with it, a timeline, "
    "or all as a page.",
    "export": "Turn a recording into files that people play, read and plot.",
    "repair": "Finish recordings whose process died.",
    "ls": "List the recordings, newest first.",
    "show": "Show one recording in ten lines, the verdict first.",
    "search": "Find words in the transcripts, chats and titles of all recordings.",
    "play": "Play a recording's sound with mpv or ffplay, or open its page in a browser.",
    "name": "Give a recording a title, which is shown wherever the recording is.",
    "rm": "Delete recordings, finished or not.",
    "prune": "Delete old recordings, in a folder or in a store.",
    "simulate": "Be Zoom, for a client under test.",
    "trigger": "Post one signed webhook to an app, and judge its answer.",
    "doctor": "Check this machine, the credentials, the webhook URL and the way to Zoom's cloud.",
    "config": "Show the settings that hold, and where each comes from.",
    "sign": "Make a signature, or find out why one is wrong.",
}
"""What each command's own help begins with. The file `NAME.py` defines the function or `Typer` of that name."""


class LazyGroup(TyperGroup):
    """Shows the commands from `COMMANDS`, and imports the one that is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({name: TyperCommand(name, help=line) for name, line in COMMANDS.items()})

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
    alone.command(name)(command)
    return get_command(alone)


def import_msgspec() -> None:
    """Import msgspec in half the time: it takes from typing_extensions, if that is there, what typing has too."""
    name = "typing_extensions"
    if name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails now
        import msgspec  # noqa: F401

        del sys.modules[name]
