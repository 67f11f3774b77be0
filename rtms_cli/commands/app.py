"""The commands in one list, and the one place where a `Problem` becomes a line and an exit code."""

import os
import sys
from typing import Annotated

import typer

from rtms_cli import __version__
from rtms_cli.errors import Exit, Problem

app = typer.Typer(
    name="rtms",
    help="Record, inspect and simulate Zoom Realtime Media Streams.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtms {__version__} (Python {sys.version.split()[0]})")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="RTMS_DEBUG")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Record, inspect and simulate Zoom Realtime Media Streams."""
    if debug:
        os.environ["RTMS_DEBUG"] = "1"


def _register() -> None:
    from rtms_cli.commands.demo import demo
    from rtms_cli.commands.doctor import doctor
    from rtms_cli.commands.inspect import inspect
    from rtms_cli.commands.join import join
    from rtms_cli.commands.listen import listen
    from rtms_cli.commands.repair import repair
    from rtms_cli.commands.replay import replay
    from rtms_cli.commands.sign import sign
    from rtms_cli.commands.simulate import simulate
    from rtms_cli.commands.trigger import trigger

    for command in (demo, listen, join, replay, inspect, repair, simulate, trigger, doctor):
        app.command()(command)
    app.add_typer(sign)


def main() -> None:
    """Run `rtms`."""
    _register()
    try:
        app()
    except Problem as problem:
        if os.environ.get("RTMS_DEBUG"):
            raise
        typer.echo(f"error: {problem.what}", err=True)
        if problem.remedy:
            typer.echo(f"  {problem.remedy}", err=True)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as fault:
        if os.environ.get("RTMS_DEBUG"):
            raise
        typer.echo(f"error: this is a defect in rtms: {type(fault).__name__}: {fault}", err=True)
        typer.echo("  Run it again with --debug for the traceback, and report that.", err=True)
        sys.exit(Exit.FAULT)
