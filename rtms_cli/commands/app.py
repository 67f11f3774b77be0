"""The commands in one list, and the one place where a `Problem` becomes a line and an exit code."""

import contextlib
import os
import signal
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from rtms_cli import __version__
from rtms_cli.commands.listing import LazyGroup
from rtms_cli.errors import Exit, Problem, reason_of

app = typer.Typer(
    name="rtms",
    cls=LazyGroup,
    help="Record, inspect and simulate Zoom Realtime Media Streams.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

_FIRST_STEPS = """rtms records, inspects and simulates Zoom Realtime Media Streams.

  rtms demo                   record a simulated meeting; needs no Zoom account
  rtms listen --port 8080     record the streams that Zoom's webhooks announce
  rtms join payload.json      record one stream, from its webhook's payload
  rtms ls                     list the recordings
  rtms sign payload.json      find out why a signature is wrong

rtms --help lists all commands; rtms COMMAND --help has their options."""

_SHOWN_LIBRARIES = ("picows", "websockets", "msgspec", "av", "soundfile", "numpy", "rich", "typer")


class Color(StrEnum):
    """When output is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        typer.echo(f"rtms {__version__} (Python {sys.version.split()[0]})")
        for name in _SHOWN_LIBRARIES:
            try:
                typer.echo(f"  {name} {version(name)}")
            except PackageNotFoundError:
                typer.echo(f"  {name} is missing")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="RTMS_DEBUG")] = False,
    color: Annotated[
        Color, typer.Option(metavar="auto|always|never", help="When to use colour; auto honours NO_COLOR.")
    ] = Color.AUTO,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use these settings and credentials.", envvar="RTMS_PROFILE")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show versions.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Record, inspect and simulate Zoom Realtime Media Streams."""
    from rtms_cli.view.console import forced_color

    if debug:
        os.environ["RTMS_DEBUG"] = "1"
    if profile is not None:
        os.environ["RTMS_PROFILE"] = profile
    if color is not Color.AUTO:
        os.environ.pop("NO_COLOR", None)
        os.environ["FORCE_COLOR" if color is Color.ALWAYS else "NO_COLOR"] = "1"
    context.color = forced_color()
    if context.invoked_subcommand is None:
        typer.echo(_FIRST_STEPS)
        return
    from rtms_cli.commands.settings import read_defaults

    context.obj = read_defaults(Path(), os.environ)
    context.default_map = context.obj.values


def main() -> None:
    """Run `rtms`."""
    if sys.platform == "win32":
        _end(Problem("rtms runs on Linux and macOS, not on Windows itself.", "Install it in WSL: wsl --install"))
    from rtms_cli.view.output import drop_dead_output, open_standard_streams, output_error

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # those of libraries are for programmers, who set PYTHONWARNINGS
    open_standard_streams()
    if os.environ.get("COMP_CWORD", "").isdigit() and "COMP_WORDS" in os.environ:
        from rtms_cli.commands.completing import join_equals_signs

        join_equals_signs(os.environ)
    try:
        app()
    except Problem as problem:
        if os.environ.get("RTMS_DEBUG"):
            raise
        _end(problem)
    except Exception as fault:
        if os.environ.get("RTMS_DEBUG"):
            raise
        if isinstance(fault, OSError) and output_error() is not None:
            _end(_output_problem(fault))
        if isinstance(fault, OSError) and fault.filename is not None:
            _end(Problem(f"{os.fsdecode(fault.filename)}: {reason_of(fault)}."))
        _complain(
            f"error: this is a defect in rtms: {type(fault).__name__}: {fault}",
            "Run it again with --debug for the traceback, and report that.",
        )
        sys.exit(Exit.FAULT)
    except SystemExit as end:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: another Ctrl-C must not spoil the exit code
        error = output_error()
        if not end.code and error is not None:
            _end(_output_problem(error))
        raise
    finally:
        drop_dead_output()


def _output_problem(error: OSError) -> Problem:
    return Problem(f"Cannot write the output: {reason_of(error)}.", "Send it where there is room.")


def _end(problem: Problem) -> NoReturn:
    _complain(f"error: {problem.what}", problem.remedy)
    sys.exit(problem.exit_code)


def _complain(what: str, remedy: str) -> None:
    from rtms_cli.view.console import has_color
    from rtms_cli.view.text import escape, say

    with contextlib.suppress(OSError):  # the exit code says it too
        error, _, rest = what.partition(" ")
        mark = typer.style(error, fg="red", bold=True) if has_color(sys.stderr) else error
        typer.echo(f"{mark} {escape(rest, max(500, len(rest)))}", err=True, color=has_color(sys.stderr))
        if remedy:
            say(f"  {remedy}", err=True)
