"""`rtms show`: one recording in ten lines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import StoreEndpoint, recording_of, short_name
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from rtms_cli.catalog.entries import Entry
    from rtms_cli.recording.manifest import Manifest


def show(
    context: typer.Context,
    recording: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECORDING]",
            autocompletion=completing.recordings,
            help="A name, id, title, path or URL.",
            show_default="latest",
        ),
    ] = None,
    store_endpoint: StoreEndpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one recording in ten lines, the verdict first.

    \b
    Examples:
      rtms show
      rtms show "Weekly sync"
      rtms show 20261122T221500Z --json
    """
    from rtms_cli.catalog.verdict import verdict
    from rtms_cli.view.catalog import labelled, recording_lines
    from rtms_cli.view.console import is_for_people, make_console
    from rtms_cli.view.next_steps import next_steps
    from rtms_cli.view.text import json_line, say

    given = recording_of(context, recording, "", store_endpoint, or_newest_in=True)
    entry, manifest = _read(given, store_endpoint)
    if as_json:
        from msgspec import to_builtins

        told = {"verdict": verdict(manifest), **to_builtins(entry), "stop": manifest.stop}
        typer.echo(json_line(told | {"warnings": manifest.warnings, "loss_list": manifest.losses}))
        return
    lines = list(recording_lines(manifest, entry, verdict(manifest)))
    if not is_for_people():
        for label, text in lines:
            say(f"{label}: {text}" if label else text)
        return
    console = make_console()
    for line in labelled(lines):
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    next_steps(console, _next(entry, short_name(context, given)))


def _read(given: str, endpoint: str | None) -> "tuple[Entry, Manifest]":
    from rtms_cli.catalog.entries import described, entry_of
    from rtms_cli.recording.manifest import Manifest
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.untrusted import is_folder

    if is_store_url(given):
        from rtms_cli.catalog.stored import read_stored

        return read_stored(given, endpoint)
    folder = Path(given)
    if not is_folder(folder):
        raise Problem(f"{given} is not a recording's folder.", f"For a capture: rtms inspect {given}")
    entry = entry_of(folder.resolve())
    try:
        manifest = Manifest.read(folder)
    except FileNotFoundError:
        raise Problem(
            f"{given} is not a finished recording: it has no manifest.json.",
            f"rtms repair {given} makes one, if there is a capture; `rtms ls` lists the recordings.",
        ) from None
    except (OSError, ValueError):
        raise Problem(
            f"The manifest of {given} cannot be read: {entry.problem}.", "Move it away, then: rtms repair"
        ) from None
    manifest.status = entry.status
    return described(entry.name, given, entry.status, manifest, entry.nbytes), manifest


def _next(entry: "Entry", name: str) -> list[tuple[str, str]]:
    """The commands that make sense now, and what they do."""
    from rtms_cli.view.next_steps import command_line

    if entry.status == "unfinished":
        return [(command_line("rtms", "repair", name), "finish it")]
    if entry.status == "recording":
        return [(command_line("rtms", "inspect", name, "--messages", "--follow"), "see what comes")]
    if not entry.kinds:
        return [(command_line("rtms", "inspect", name), "see why it is empty")]
    return [
        (command_line("rtms", "play", name), "hear it, or open its page"),
        (command_line("rtms", "export", name, "--to", "md"), "the transcript as a document"),
    ]
