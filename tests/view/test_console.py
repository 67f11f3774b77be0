"""Colours: who decides about them, and that every console follows."""

import io

import pytest

from rtms_cli.view.console import has_color, is_for_people, make_console
from rtms_cli.view.next_steps import command_line, next_steps


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "on_terminal", "elsewhere"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_the_environment_decides_about_colors(
    environment: dict[str, str], on_terminal: bool, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for out, wanted in ((Terminal(), on_terminal), (io.StringIO(), elsewhere)):
        assert has_color(out) is wanted
        make_console(out).print("[red]words[/]")
        assert ("\x1b[31m" in out.getvalue()) is wanted, repr(out.getvalue())


def test_tables_are_for_terminals_and_for_pagers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert (is_for_people(Terminal()), is_for_people(io.StringIO())) == (True, False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert is_for_people(io.StringIO())


def test_next_steps_are_commands_that_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    steps = [("rtms show latest", "summary"), (command_line("rtms", "show", "a b\x1b[2J"), "")]
    out = Terminal()
    next_steps(make_console(out), steps)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == ["Next: rtms show latest         summary", "      rtms show 'a b\\x1b[2J'"]
    narrow = Terminal()
    monkeypatch.setenv("COLUMNS", "30")
    next_steps(make_console(narrow), steps)
    lines = [line.rstrip() for line in narrow.getvalue().splitlines()]
    assert lines == ["Next: rtms show latest", "        summary", "      rtms show 'a b\\x1b[2J'"]
    piped = io.StringIO()
    next_steps(make_console(piped), steps)
    assert piped.getvalue() == ""
