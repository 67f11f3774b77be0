"""Words that the documents do without: each has made a page read as if it were translated."""

import re
from pathlib import Path

import pytest
from docs.blocks import ROOT

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/guides").glob("*.md")]
    if path.name != "CHANGELOG.md"
)
TICS = {
    r"stand-in": "simulator",
    r"(?<!there )\bis no (?!longer\b|more than\b|`)": "is not a",
    r"\banew\b": "again",
    r"\b(?:is|are) told\b": "is reported, gets",
    r"\btells of\b": "says, has",
    r"(?:^|[.:] |- )[Ww]ho (?:works|asks|reads|wants)\b": "to … ; for contributors",
    r"\bgo(?:es)? on\b": "continues",
    r"\bhand(?:s|ed)? on\b": "sends",
    r"\btakes? along\b": "loses",
    r"\bthrown away\b": "dropped, discarded",
    r"\bsome \d": "about",
    r"\bstands still for so\b": "for that long",
    r"\bfor so long\b": "for that long",
    r"\bby which way\b": "how",
    r"\bwhat comes\b": "what arrives, the data",
    r"\bmade or mended\b": "repaired",
    r"\bin (?:other|the) words of\b": "as in",
    r"\b(?:is|are) had\b": "is obtained",
}
"""Patterns, each with what to write instead."""


def prose(path: Path) -> str:
    """A page without its blocks of code, comments, and what stands in backquotes."""
    text = re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!-- matrix -->.*<!-- /matrix -->", "", text, flags=re.DOTALL)  # the names of test cases
    return re.sub(r"<!--.*?-->|`[^`]*`", "`", text, flags=re.DOTALL)


def tics(text: str) -> list[str]:
    """What to change in a text."""
    return [
        f"{found[0].strip()!r} in {text[max(found.start() - 40, 0) : found.end() + 20]!r}: write {better!r}"
        for pattern, better in TICS.items()
        for found in re.finditer(pattern, text, re.MULTILINE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_is_in_plain_english(page: Path) -> None:
    assert tics(prose(page)) == []


def test_a_tic_is_found() -> None:
    assert len(tics("A stand-in for Zoom. It goes on, and is told of what comes.")) == 4
    assert tics("It is no longer there.") == []
