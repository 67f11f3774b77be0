"""How rtms starts itself: no process of ours runs code of the current folder, which may have come from a stranger."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_CREDENTIALS = ("ZOOM_", "ZM_", "RTMS_WEB_TOKEN")


def program(module: str) -> list[str]:
    """The command that runs a module; `-m` alone would look for each import in the current folder first."""
    try:
        is_here = Path.cwd() == Path(__file__).parents[1]
    except OSError:  # the folder is gone
        is_here = False
    return [sys.executable, *(() if is_here else ("-P",)), "-m", module]


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for one that needs no credentials of Zoom."""
    return {name: value for name, value in given.items() if not name.startswith(_CREDENTIALS)}
