"""The words of messages, docstrings, comments and documents: turns of phrase that read as foreign are not used again.

Each entry of `TICS` is a turn that was common here once, with what to write instead. Names in code are not looked at.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TICS = {
    r"(?<!here )\b(?:is|was) no (?!longer|more|less|room|need|way|doubt|other|such|one|matter|further)": "is not a …",
    r"\bis none of\b": "is not one of",
    r"\b(?:that|which) is none\b": "that is not valid",
    r"\bpassing (?:error|fault|failure|name|file|folder|trouble)": "temporary",
    r"(?:^|[.;:] )Who (?!am|are|can|could|did|does|is|may|has|was|will|talks|spoke|wrote)": "the client that …",
    r"\btells as\b": "returns … as",
    r"\btells? of\b": "reports, mentions",
    r"\banew\b": "again",
    r"\b(?:held|hold) still\b": "paused",
    r"\bcosts what\b": "loses what",
    r"\bFor who\b": "for people who …",
    r"\bso (?:long|many|much|often)\b(?! (?:as|that|for|is|of)|, |\?)": "this long, as many, N",
    r"\bshall\b": "should, will",
    r"\b(?:is|be|are|was) had\b(?! to)": "is available, is obtained",
    r"\b[Ss]tand-in": "simulator",
    r"\b(?:any|some|every)body\b": "anyone, someone, everyone",
    r"\b(?:is|are|was|be) mended\b|\bto mend\b": "repaired, fixed",
    r"\bof whom\b": "whose, … of which",
    r"\bWhat (?:\w+ )?(?:gives|hears|tells)\b": "the source of …, reports",
    r":raises \S+: where\b": ":raises …: if",
    r"\bdoes? not go together\b": "exclude each other",
    r"\bis no such thing\b": "is not valid",
}
PROSE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "SKILL.md", "AGENTS.md")
EXCEPTIONS = {"rtms_cli/simulator/cues.py": "what simulated people say"}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """What people read in a file, with its line: comments and strings of Python, paragraphs of Markdown without
    code."""
    source = path.read_text("utf-8")
    if path.suffix == ".md":
        plain = re.sub(
            r"^(?:```.*?^```|(?: {4}|\t).*?$)|`[^`]*`", lambda m: "\n" * m[0].count("\n"), source, flags=re.S | re.M
        )
        yield from enumerate(plain.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_text = token.type == tokenize.STRING and " " in token.string
        if token.type == tokenize.COMMENT or is_text:
            yield from enumerate(re.sub(r"`[^`]*`", "", token.string.strip("rbfu\"'# ")).splitlines(), token.start[0])


def files() -> list[Path]:
    found = [*(ROOT / "rtms_cli").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in PROSE)]
    return [path for path in found if path.exists() and str(path.relative_to(ROOT)) not in EXCEPTIONS]


def tics_in(text: str) -> list[str]:
    return [f"{re.search(tic, text)[0]!r}: rather {better}" for tic, better in TICS.items() if re.search(tic, text)]  # type: ignore[index]


def test_people_read_ordinary_english() -> None:
    assert len(files()) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}: {tic}"
        for path in sorted(files())
        for line, text in texts(path)
        for tic in tics_in(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "sentence",
    [
        "The payload is no JSON object.",
        "Who holds a claim renews it.",
        "The simulator shall end.",
        "It waits so long.",
        ":raises Problem: where it cannot be read.",
        "A stand-in for Zoom.",
        "If somebody has moved it.",
        "Connections are made anew.",
    ],
)
def test_the_list_finds_what_it_is_for(sentence: str) -> None:
    assert tics_in(sentence)


@pytest.mark.parametrize(
    "sentence",
    ["There is no folder here.", "It is no longer there.", "as long as it lasts", "so that it waits", "Who is there?"],
)
def test_the_list_leaves_ordinary_sentences_alone(sentence: str) -> None:
    assert not tics_in(sentence)
