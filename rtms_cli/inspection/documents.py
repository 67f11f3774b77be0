"""The protocol's document, as it is installed: where a rule of `--lint` can be looked up.

A wheel has the documents in `rtms_cli/docs` (see setup.py); in a checkout they are in `docs`, beside the package.
"""

import re
from functools import cache
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem

_PACKAGE = Path(__file__).resolve().parent.parent
_HEADING = re.compile(r"^## ((\d+)\. .+)$", re.MULTILINE)


class Section(Struct, frozen=True):
    """One numbered section of docs/protocol.md."""

    number: str
    """`§9`."""
    title: str
    """`Time and failure`."""
    link: str
    """A URL, with the section's anchor."""
    text: str
    """Its Markdown, without the heading."""


def documents() -> Path:
    """The folder that the documents are installed in."""
    installed = _PACKAGE / "docs"
    return installed if installed.is_dir() else _PACKAGE.parent / "docs"


@cache
def sections() -> dict[str, Section]:
    """The sections of docs/protocol.md, by their number (`§9`).

    :raises Problem: when the document is missing from the installation.
    """
    path = documents() / "protocol.md"
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"Cannot read {path}: {error.strerror or error}.", "Install rtms-cli again.") from None
    _, *parts = _HEADING.split(content)
    return {
        f"§{number}": Section(
            f"§{number}", heading.partition(" ")[2], f"{path.as_uri()}#{anchor(heading)}", text.strip()
        )
        for heading, number, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def anchor(heading: str) -> str:
    """The anchor that Markdown viewers give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
