"""`rtms name`: give a recording a title."""

from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import StoreEndpoint, recording_of
from rtms_cli.errors import Problem


def name(
    context: typer.Context,
    recording: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING", autocompletion=completing.recordings, help="A name, id, title, path or URL; latest."
        ),
    ],
    title: Annotated[str, typer.Argument(metavar="TITLE", help='The new title; "" removes it.')],
    store_endpoint: StoreEndpoint = None,
) -> None:
    """Give a recording a title.

    The title is shown wherever the recording is. It is stored in manifest.json; the folder keeps its name.

    \b
    Example:
      rtms name latest "Weekly sync"
    """
    from rtms_cli.catalog.naming import name_folder, read_title
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.untrusted import is_folder
    from rtms_cli.view.text import say

    read = read_title(title)
    given = recording_of(context, recording, "naming", store_endpoint)
    if is_store_url(given):
        from rtms_cli.catalog.stored import name_stored

        name_stored(given, read, store_endpoint)
    elif is_folder(Path(given)):
        name_folder(Path(given), read)
    else:
        raise Problem(f"{given} is not a recording's folder.", "A capture alone has no title.")
    say(f"{given} is now called {read}" if read else f"{given} no longer has a title")
