"""Every command explains itself, with an example, on one screen."""

import pytest
import typer
from typer.testing import CliRunner

from rtms_cli.commands import app as application

SCREEN = 50
"""Lines of a terminal of a usual size."""


@pytest.fixture(scope="module")
def cli() -> typer.Typer:
    application._register()
    return application.app


COMMANDS = [
    "demo", "listen", "join", "replay", "inspect", "export", "repair", "simulate", "trigger", "doctor", "config",
    "sign handshake", "sign webhook", "sign challenge",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_a_screen(cli: typer.Typer, command: str) -> None:
    shown = CliRunner().invoke(cli, [*command.split(), "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).output
    assert f"  rtms {command.removesuffix(' handshake')} " in shown.partition("Options:")[0]
    assert "Example" in shown
    assert len(shown.splitlines()) <= SCREEN


def test_no_command_is_forgotten(cli: typer.Typer) -> None:
    shown = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "80"}).output
    named = [line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.strip()]
    assert named == [*COMMANDS[:-3], "sign"]
