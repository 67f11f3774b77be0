"""`rtms inspect`: what a capture tells."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from rtms_cli.capture import Capture
    from rtms_cli.inspection.reading import Line


def inspect(
    capture: Annotated[Path, typer.Argument(help="A capture.jsonl (also .gz or .zst), or a recording's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a capture holds."""
    from rtms_cli.capture import Capture
    from rtms_cli.inspection.reading import numbered

    source = Capture(capture)
    try:
        _summary(source, numbered(source), as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough (`| head`); Python must not complain about it at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _summary(source: "Capture", lines: "Iterable[Line]", *, as_json: bool) -> None:
    from rtms_cli.capture import dumps
    from rtms_cli.inspection.sheets import sheets
    from rtms_cli.inspection.summary import summarize
    from rtms_cli.view.inspect import plain_sheets, rich_sheets

    summary = summarize(str(source.path), source.header, lines)
    if as_json:
        _say(dumps(summary).decode())
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(rich_sheets(sheets(summary)))
    else:
        for line in plain_sheets(sheets(summary)):
            _say(line)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
