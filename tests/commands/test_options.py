"""The options of all commands follow one set of conventions, and their old names still work."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import rtms
from typer.main import get_command

from rtms_cli.commands import listing
from rtms_cli.commands.app import app
from rtms_cli.commands.composing import _next_steps
from rtms_cli.commands.renamed import old_names
from rtms_cli.machine import Finish
from rtms_cli.view.ended import Ended

SHORT = {
    "--context": "-C",
    "--out": "-o",
    "--port": "-p",
    "--quiet": "-q",
    "--verbose": "-v",
    "--yes": "-y",
    "--help": "-h",
}
METAVAR = re.compile(r"[A-Z_]+([|:= ][A-Z_]+)*|[A-Z]\|auto|[a-z0-9_]+(\|[a-z0-9_]+)+")
SEVERAL_METAVARS = {
    "--out": {"FOLDER", "FOLDER|URL", "PATH"},  # recordings may go to a store; the files of an export may be one file
}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with the words that run it."""
    yield "", get_command(app)
    for name in listing.COMMANDS:
        command: Any = listing.load(name)
        inner: dict[str, Any] = getattr(command, "commands", {})
        yield from ((f"{name} {sub}", each) for sub, each in inner.items()) if inner else [(name, command)]


def options() -> Iterator[tuple[str, Any]]:
    """Every option that help shows, with its command."""
    for name, command in commands():
        yield from ((name, param) for param in command.params if hasattr(param, "is_flag") and not param.hidden)


def test_one_letter_means_one_option() -> None:
    for command, option in options():
        letters = [name for name in option.opts if not name.startswith("--")]
        assert letters == [SHORT[name] for name in option.opts if name in SHORT], f"rtms {command} {option.opts}"


def test_placeholders_have_one_style_and_one_meaning() -> None:
    by_name = defaultdict(set)
    for command, option in options():
        assert option.help, f"rtms {command} {option.opts[0]}"
        assert option.help[0].isupper() or option.help[0] in "0123456789/" or option.metavar, option.help
        if not option.is_flag:
            assert METAVAR.fullmatch((option.metavar or "").strip("[]")), (
                f"rtms {command} {option.opts[0]} {option.metavar}"
            )
        by_name[option.opts[0]].add(option.metavar)
    for name, metavars in by_name.items():
        assert len(metavars) == 1 or metavars <= SEVERAL_METAVARS.get(name, set()), f"{name}: {metavars}"


def test_arguments_are_written_in_capitals() -> None:
    arguments = [
        (name, param) for name, command in commands() for param in command.params if not hasattr(param, "is_flag")
    ]
    assert len(arguments) > 15
    for command, argument in arguments:
        assert re.fullmatch(r"([A-Z]+|\[[A-Z]+\])(\.\.\.)?", argument.metavar or ""), f"rtms {command} {argument.name}"


def test_every_command_is_under_one_heading() -> None:
    shown = [name for names in listing.PANELS.values() for name in names if name in listing.COMMANDS]
    assert sorted(shown) == sorted(listing.COMMANDS)


def test_old_names_lead_to_names_of_today() -> None:
    for name, command in commands():
        named = {param.opts[0].lstrip("-"): param for param in command.params if hasattr(param, "is_flag")}
        for old, new in old_names(name).items():
            assert new in named
            assert old not in named


@pytest.mark.parametrize(
    ("arguments", "old", "new"),
    [
        (["inspect", "none", "--messages", "--to", "3"], "--to", "--until"),
        (["inspect", "none", "--messages", "--to=3"], "--to", "--until"),
        (["export", "none", "--to", "mp4", "--user", "ann"], "--user", "--video-user"),
        (["fleet", "--stream", "s", "--drain", "w"], "--drain", "--retire"),
        (["trigger", "started", "--to", "http://127.0.0.1:1/"], "--to", "--webhook"),
        (["trigger", "started", "--via", "ws", "--to", "http://127.0.0.1:1/"], "--via ws", "--cloud-url"),
        (["doctor", "--offline", "--url", "http://127.0.0.1:1/"], "--url", "--webhook"),
        (["simulate", "--video", "none.mp4"], "--video", "--video-file"),
        (["join", "none.json", "--live"], "--live", "--skip-buffered"),
    ],
)
def test_an_old_name_works_with_a_note(arguments: list[str], old: str, new: str, tmp_path: Path) -> None:
    done = rtms(*arguments, cwd=tmp_path)
    assert f"note: rtms {arguments[0]}: {old} is now called {new};" in done.stderr
    assert "No such option" not in done.stderr
    assert "Usage:" not in done.stderr
    assert old.split()[0] + " " not in rtms(arguments[0], "--help", cwd=tmp_path).stdout.partition("Options:")[2] or (
        arguments[0] == "export"  # --to has been the name of its formats all along
    )


def test_old_names_in_files_and_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "rtms.toml").write_text('live = true\n[doctor]\nurl = "http://127.0.0.1:1/"\n')
    done = rtms("config", cwd=tmp_path, settings={"RTMS_FLEET_DRAIN": "w", "RTMS_DRAIN": "5m"})
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert {
        "join skip-buffered True rtms.toml",
        "doctor webhook http://127.0.0.1:1/ rtms.toml [doctor]",
        "fleet retire w RTMS_FLEET_DRAIN",
        "work drain 5m RTMS_DRAIN",
    } <= set(lines)
    assert "fleet retire 5m RTMS_DRAIN" not in lines
    assert done.stderr.count("note: rtms.toml: live is now called skip-buffered;") == 1
    assert "note: rtms.toml [doctor]: url is now called webhook;" in done.stderr
    assert "note: RTMS_FLEET_DRAIN: drain is now called retire;" in done.stderr


def test_a_name_of_today_wins_over_an_old_one(tmp_path: Path) -> None:
    done = rtms("config", "trigger", cwd=tmp_path, settings={"RTMS_TRIGGER_TO": "old", "RTMS_WEBHOOK": "new"})
    assert [line.split()[2] for line in done.stdout.splitlines() if " webhook " in line] == ["new"]


def test_settings_that_break_while_a_recording_runs_do_not_spoil_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rtms.toml").write_text("nosuch = 1\n")
    options: Any = SimpleNamespace(quiet=False, place="recordings", store=None)
    ended = Ended(Path("recordings/a"), Finish("complete", None, ""), None)
    assert next(iter(_next_steps(options, [ended])))[0] == "rtms show latest"
