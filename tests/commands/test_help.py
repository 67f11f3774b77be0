"""Every command explains itself, with an example, on one screen."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rtms_cli.commands import app as application
from rtms_cli.commands import listing

SCREEN = 60
"""Lines of a terminal on a whole screen."""
LONGER = {"listen": 97, "work": 84, "start": 82, "join": 83}
"""They take streams in, record, pass on and store, or have others do it: there is an option for each."""


@pytest.fixture(scope="module")
def cli() -> typer.Typer:
    return application.app


COMMANDS = [
    "demo", "listen", "work", "fleet", "join", "start", "stop", "pause", "resume", "status", "replay",
    "inspect", "export", "repair", "ls", "show", "search", "play", "name", "mark", "rm", "prune", "web",
    "attach",
    "simulate", "trigger", "doctor", "config",
    "sign handshake", "sign webhook", "sign challenge",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_a_screen(cli: typer.Typer, command: str) -> None:
    shown = CliRunner().invoke(cli, [*command.split(), "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).output
    assert f"  rtms {command.removesuffix(' handshake')} " in shown.partition("Options:")[0]
    assert "Example" in shown
    assert len(shown.splitlines()) <= LONGER.get(command, SCREEN)


def test_no_command_is_forgotten(cli: typer.Typer) -> None:
    shown = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "80"}).output
    named = [line.split()[0] for line in shown.partition("Record:")[2].splitlines() if line.startswith("  ")]
    assert sorted(named) == sorted([*COMMANDS[:-3], "sign"])
    assert "..." not in shown.partition("Record:")[2], "a summary is cut short"


@pytest.mark.parametrize("name", listing.COMMANDS)
def test_the_list_says_what_the_commands_say(name: str) -> None:
    assert (listing.load(name).help or "").splitlines()[0] == listing.COMMANDS[name]


def imported_by(program: str, arguments: list[str], folder: Path) -> set[str]:
    """The modules that a program has imported when it ends."""
    told = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {program}"
    command = [sys.executable, "-c", told, *arguments]
    return set(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr.split())


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--color", "never", "sign", "--help"], ["sign", "--help"], ["demo", "--help"]]
)
def test_little_is_imported_before_a_command_works(arguments: list[str], tmp_path: Path) -> None:
    """What takes long to import is for those who use it; and of several commands, the one that is called is enough."""
    heavy = {"asyncio", "ssl", "httpx", "websockets", "picows", "uvloop", "numpy", "soundfile", "av", "rich", "email"}
    heavy |= {"typing_extensions", "tomllib", "rtms_cli.protocol.messages"}
    program = "import sys; from rtms_cli.__main__ import main; sys.argv = ['rtms', *sys.argv[1:]]; main()"
    imported = imported_by(program, arguments, tmp_path)
    # What Typer imports, some of its versions for help only, is not ours.
    alone = "import typer; app = typer.Typer(rich_markup_mode=None); app.command()(lambda number=1: None); app()"
    assert not imported & heavy - imported_by(alone, ["--help"], tmp_path)
    commands = {name for name in listing.COMMANDS if f"rtms_cli.commands.{name}" in imported}
    assert commands == (set(arguments) & listing.COMMANDS.keys())
