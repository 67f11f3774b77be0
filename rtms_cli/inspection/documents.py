"""The protocol's document, as it is installed: where a rule of `--lint` can be looked up.

In a checkout, and so in an editable installation, the documents are in `docs`, beside the package. Other installations
have them among their files (see `data-files` in pyproject.toml).
"""

import re
from functools import cache
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of

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
    checkout = _PACKAGE.parent / "docs"
    if checkout.is_dir():
        return checkout
    try:
        files = metadata.files("rtms-cli") or ()
    except metadata.PackageNotFoundError:
        files = ()
    return next((Path(str(file.locate())).parent for file in files if file.name == "protocol.md"), checkout)


@cache
def sections() -> dict[str, Section]:
    """The sections of docs/protocol.md, by their number (`§9`).

    :raises Problem: when the document is missing from the installation.
    """
    path = documents() / "protocol.md"
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"Cannot read {path}: {reason_of(error)}.", "Install rtms-cli again.") from None
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
