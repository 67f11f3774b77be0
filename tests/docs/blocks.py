"""The shell blocks of the documents: found, split into commands, and held against the real command line.

A block is run, unless a comment before it says why that cannot be: `<!-- not run: it needs a Zoom account -->`. Of a
`console` block, the lines that begin with `$ ` are run. Where a page begins with `<!-- in order -->`, its blocks are
run one after the other in the same folder.
"""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from rtms_cli.commands import listing
from rtms_cli.commands.renamed import old_names

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if path.name != "CHANGELOG.md")
SHELLS = {"sh", "console"}
OTHERS = {"text", "json", "toml", "python", "js", "yaml", "ini"}
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_REASON = re.compile(r"<!-- not run: (.+?) -->\s*\Z", re.DOTALL)
_COMMENT = re.compile(r"(?<!\S)#.*$", re.MULTILINE)
_SPAN = re.compile(r"`(rtms(?:-cli)? [a-z][^`]*)`")


class Block(NamedTuple):
    """A shell block."""

    page: Path
    line: int
    script: str
    reason: str
    """Why it is not run; empty if it is."""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The shell blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for fence in _FENCE.finditer(text):
        if fence["language"] not in SHELLS:
            continue
        lines = [line.removeprefix(fence["indent"]) for line in fence["body"].splitlines()]
        if fence["language"] == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        reason = _REASON.search(text, 0, fence.start())
        number = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, number, "\n".join(lines), reason[1] if reason else ""))
    return found


def languages(page: Path) -> set[str]:
    """The languages of a page's fenced blocks."""
    return {fence["language"] for fence in _FENCE.finditer(page.read_text(encoding="utf-8"))}


def indented(page: Path) -> list[str]:
    """The lines of a page that Markdown takes for code because of their indentation alone."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.findall(
        r"\n\n((?: {4,}|\t)(?![-*\d]).+)", re.sub(r"^(?:[-*]|\d+\.) .*(?:\n\n?[ ]+.*)*", "", text, flags=re.M)
    )


def spans(page: Path) -> list[str]:
    """The commands that stand in backquotes within the prose of a page."""
    return _SPAN.findall(" ".join(_FENCE.sub("", page.read_text(encoding="utf-8")).split("\n")))


def commands(script: str) -> list[list[str]]:
    """The simple commands of a script that call `rtms`, as words; variables before a command are left out."""
    lexer = shlex.shlex(_COMMENT.sub("", script.replace("\\\n", " ")), posix=True, punctuation_chars="|&;()<>\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""  # shlex would take the end of the line for a part of the comment
    found: list[list[str]] = [[]]
    skips = False
    for word in lexer:
        if set(word) <= set("|&;()\n"):
            found.append([])
        elif set(word) <= set("<>&"):
            skips = True  # the file that follows
        elif skips:
            skips = False
        elif found[-1] or not re.fullmatch(r"\w+=.*", word):
            found[-1].append(word)
    return [words for words in found if words and words[0].split("/")[-1] in ("rtms", "rtms-cli")]


def parse(words: list[str]) -> None:
    """Hold a command against the real parser: its options exist, and their values can be read.

    :raises Exception: of Click's, where not.
    """
    _, *arguments = words
    if not arguments or arguments[0].startswith("-"):
        return
    name, *rest = arguments
    assert name in listing.COMMANDS, f"there is no command {name}"
    command: Any = listing.load(name)
    if hasattr(command, "commands"):
        parent = command.make_context(name, rest)
        rest = [*parent._protected_args, *parent.args] if hasattr(parent, "_protected_args") else parent.args
        _, command, rest = command.resolve_command(parent, rest)
    if not {"--help", "-h"} & set(rest):
        command.make_context(name, rest)


def old_options(words: list[str]) -> set[str]:
    """The options of a command that have another name today."""
    return {word for word in words[2:] if word.removeprefix("--") in old_names(words[1])} if len(words) > 2 else set()


def options_are_known(words: list[str]) -> bool:
    """Whether a command that stands within a sentence, perhaps without what it needs, exists with its options."""
    _, name, *rest = words
    if name not in listing.COMMANDS:
        return False
    command: Any = listing.load(name)
    commands_below = getattr(command, "commands", {"": command})
    known = {option for below in commands_below.values() for param in below.params for option in param.opts}
    known |= {option for below in commands_below.values() for param in below.params for option in param.secondary_opts}
    given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    return given <= known | {"--help", "-h"}
