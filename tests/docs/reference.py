"""Writes the reference from the code, as Markdown and as man pages: `python tests/docs/reference.py`.

click-man cannot do it: it looks for Click's classes, and Typer brings its own.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from rtms_cli.commands import app as application
from rtms_cli.commands import listing

ROOT = Path(__file__).resolve().parents[2]
MAN = Path("docs/man")
COMMANDS, LIBRARY = Path("docs/reference/commands.md"), Path("docs/reference/library.md")
GENERATED = "<!-- Written by tests/docs/reference.py. Change the code, and run it again. -->"
ENVIRONMENT = {
    "RTMS_OPTION, RTMS_COMMAND_OPTION": "The value of an option, as RTMS_OUT or RTMS_LISTEN_PORT. "
    "It takes precedence over rtms.toml; the command line takes precedence over both.",
    "RTMS_PROFILE": "The profile, as --profile sets it.",
    "RTMS_DEBUG": "Show tracebacks, as --debug does.",
    "ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET, ZOOM_SECRET_TOKEN": "The app's credentials. "
    "A file .env in the current folder may have them too.",
    "NO_COLOR, FORCE_COLOR": "Turn colours off or on.",
}
FILES = {
    "rtms.toml, pyproject.toml": "Settings: one for each option, in the current folder. See rtms config.",
    "recordings/": "One folder for each recording.",
}


class Page(NamedTuple):
    """One command: what its help says, in parts."""

    words: tuple[str, ...]
    """`("rtms", "sign", "webhook")`."""
    usage: str
    """What follows the words: `[OPTIONS] {ID}`."""
    summary: str
    paragraphs: list[str]
    """Without the summary; one that begins with blanks is to be kept as it is."""
    arguments: list[tuple[str, str]]
    options: list[tuple[str, str]]
    commands: list[tuple[str, str]]

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def file(self) -> str:
        return "-".join(self.words)


def pages() -> list[Page]:
    """Every command that is not hidden, `rtms` first."""
    from typer.main import get_command

    root: Any = get_command(application.app)
    context = root.make_context("rtms", [], resilient_parsing=True)
    shown = list(_walk(("rtms",), root, context))
    for name in root.list_commands(context):
        shown += _walk(("rtms", name), listing.load(name), context)
    return shown


def _walk(words: tuple[str, ...], command: Any, parent: Any) -> Iterator[Page]:
    if command.hidden:
        return
    context = command.context_class(command, info_name=words[-1], parent=None if len(words) == 1 else parent)
    summary, *paragraphs = _paragraphs(command.help or "")
    records = [(param, param.get_help_record(context)) for param in command.get_params(context)]
    given = [
        (param.param_type_name == "argument", (_one_line(names), _one_line(text)))
        for param, (names, text) in ((param, record) for param, record in records if record)
    ]
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    seen = {name: sub for name, sub in subcommands.items() if not sub.hidden}
    yield Page(
        words,
        " ".join(command.collect_usage_pieces(context)),
        summary.strip(),
        paragraphs,
        [record for is_argument, record in given if is_argument],
        [record for is_argument, record in given if not is_argument],
        [(name, _one_line((sub.help or "").split("\n\n")[0].split("\n\n\b")[0])) for name, sub in seen.items()],
    )
    if len(words) > 1:
        for name, sub in seen.items():
            yield from _walk((*words, name), sub, context)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text; blanks at the beginning of a line say that a paragraph is to be kept as it is."""
    found = [part.strip("\n") for part in re.split(r"\n\s*\n", text.replace("\b", "").strip("\n"))]
    kept: list[str] = []
    for part in filter(str.strip, found):
        lines = part.splitlines()
        if any(line.startswith("  ") for line in lines):
            titled = not lines[0].startswith(" ")
            kept += [lines[0].strip()] if titled else []
            kept.append("\n".join("  " + line.strip() for line in lines[titled:]))
        else:
            kept.append(_one_line(part))
    return kept


def escaped(text: str) -> str:
    """Text as troff wants it."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def man(page: Page, all_pages: list[Page]) -> str:
    """A man page."""
    lines = [f'.TH "{page.file.upper()}" "1" "" "rtms" "User Commands"']

    def section(title: str, *body: str) -> None:
        lines.extend((f".SH {title}", *body))

    def terms(rows: list[tuple[str, str]]) -> None:
        for name, text in rows:
            lines.extend((".TP", f"\\fB{escaped(name)}\\fR", escaped(text or " ")))

    section("NAME", f"{escaped(page.file)} \\- {escaped(page.summary.rstrip('.'))}")
    section("SYNOPSIS", f"\\fB{escaped(page.name)}\\fR {escaped(page.usage)}")
    if page.paragraphs:
        section("DESCRIPTION")
        for text in page.paragraphs:
            lines.extend((".PP", ".nf", escaped(text), ".fi") if text.startswith(" ") else (".PP", escaped(text)))
    for title, rows in (("COMMANDS", page.commands), ("ARGUMENTS", page.arguments), ("OPTIONS", page.options)):
        if rows:
            section(title)
            terms(rows)
    if len(page.words) == 1:
        section("EXIT STATUS")
        terms([(str(int(code)), text) for code, text in exit_codes()])
        section("ENVIRONMENT")
        terms(list(ENVIRONMENT.items()))
        section("FILES")
        terms(list(FILES.items()))
    others = [one.file for one in all_pages if one is not page and related(page, one)]
    section("SEE ALSO", ",\n".join(f"\\fB{escaped(name)}\\fR(1)" for name in others))
    return "\n".join(lines) + "\n"


def related(page: Page, other: Page) -> bool:
    """Whether a page leads to another one: what is above it, and what is below it."""
    above, below = sorted((page.words, other.words), key=len)
    return len(below) == len(above) + 1 and below[: len(above)] == above


def exit_codes() -> list[tuple[IntEnum, str]]:
    """Each exit code and what it means, as its docstring in errors.py says."""
    source = (ROOT / "rtms_cli/errors.py").read_text(encoding="utf-8")
    texts = dict(re.findall(r'^    ([A-Z_]+) = \d+\n    """(.+?)"""', source, re.MULTILINE))
    from rtms_cli.errors import Exit

    return [(code, texts.get(code.name, "Success.").replace("`", "")) for code in Exit]


def escaped_markdown(text: str) -> str:
    """Text whose signs mean nothing to Markdown; what stands in backquotes stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<>\[\]])", r"\\\1", part) for part in parts)


def in_table(text: str) -> str:
    """Text within a cell of a Markdown table."""
    return escaped_markdown(text).replace("|", "\\|")


def commands_page(all_pages: list[Page]) -> str:
    """Every command and option, as Markdown."""
    lines = [GENERATED, "# Commands", "", "`rtms COMMAND --help` prints the same.", ""]
    lines += ["| command | |", "|---|---|"]
    for page in all_pages[1:]:
        lines.append(f"| [`{page.name}`](#{page.file}) | {in_table(page.summary)} |")
    for page in all_pages:
        lines += ["", f"## {page.name}", "", page.summary]
        for text in page.paragraphs:
            if text.startswith(" "):
                lines += ["", "```text", *(line.strip() for line in text.splitlines()), "```"]
            else:
                lines += ["", escaped_markdown(text)]
        lines += ["", "```text", f"{page.name} {page.usage}", "```"]
        for title, rows in (("argument", page.arguments), ("option", page.options)):
            if rows:
                lines += ["", f"| {title} | |", "|---|---|"]
                lines += [f"| `{name.replace('|', chr(92) + '|')}` | {in_table(text)} |" for name, text in rows]
    return "\n".join(lines) + "\n"


def library_page() -> str:
    """What `rtms_cli.__all__` names, with signatures and docstrings, as Markdown."""
    import rtms_cli
    from rtms_cli import testing

    named = [(name, getattr(rtms_cli, name)) for name in rtms_cli.__all__ if not name.startswith("__")]
    named.append(("testing.Zoom", testing.Zoom))
    lines = [GENERATED, "# Classes and functions", "", "[The library](../library.md) explains them, with examples."]
    functions = [(name, thing) for name, thing in named if not isinstance(thing, type) and callable(thing)]
    classes = [(name, thing) for name, thing in named if isinstance(thing, type)]
    for name, function in functions:
        lines += ["", f"## {name}", "", *signature(name, function), "", *docstring(function)]
    for name, cls in classes:
        lines += ["", f"## {name}", "", *docstring(cls)]
        if issubclass(cls, Enum):
            lines += ["", "| name | value |", "|---|---|", *(f"| `{one.name}` | `{one.value!r}` |" for one in cls)]
            continue
        fields = attributes(cls)
        if fields:
            lines += ["", "| attribute | type | |", "|---|---|---|"]
            lines += [
                f"| `{field}` | {f'`{kind}`' if kind else ''} | {in_table(text)} |" for field, kind, text in fields
            ]
        for method, function in inspect.getmembers(cls, inspect.isfunction):
            if not method.startswith("_") and function.__module__.startswith("rtms_cli"):
                lines += ["", f"### {name}.{method}", "", *signature(method, function), "", *docstring(function)]
    return "\n".join(lines) + "\n"


def signature(name: str, function: Callable[..., object]) -> list[str]:
    """A function's signature, as a block of code."""
    found = inspect.signature(function)
    parameters: list[str] = []
    for one in found.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        default = "" if one.default is one.empty else f" = {one.default!r}"
        parameters.append(f"{one.name}: {typed(one.annotation)}{default}")
    keyword = "async def" if inspect.iscoroutinefunction(function) else "def"
    beginning, end = f"{keyword} {name}(", f") -> {typed(found.return_annotation)}"
    line = beginning + ", ".join(parameters) + end
    if len(line) > 100:
        line = "\n".join([beginning, *(f"    {one}," for one in parameters), end])
    return ["```text", line, "```"]


def docstring(thing: object) -> list[str]:
    """A docstring as Markdown: what is said of parameters becomes a list."""
    text = inspect.getdoc(thing) or ""
    text = re.sub(r"^:param (\w+): ", r"- `\1`: ", text, flags=re.MULTILINE)
    text = re.sub(r"^:returns: ", "- Returns ", text, flags=re.MULTILINE)
    text = re.sub(r"^:raises (\w+): ", r"- Raises `\1` ", text, flags=re.MULTILINE)
    text = re.sub(r"\n(- )", r"\n\n\1", text, count=1).replace("\n\n\n", "\n\n")
    return [re.sub(r"(?<![`\w])\*(?=\w)", r"\\*", line) for line in text.splitlines()]


def attributes(cls: type) -> list[tuple[str, str, str]]:
    """The public attributes of a class: name, type, and the docstring below them in the source."""
    source = inspect.getsource(cls)
    told = dict(re.findall(r'^    (\w+): [^\n]+\n    """(.+?)"""', source, re.MULTILINE | re.DOTALL))
    found = [
        (name, kind, told.get(name, ""))
        for name, kind in inspect.get_annotations(cls).items()
        if not name.startswith("_")
    ]
    seen = {name for name, _, _ in found}
    assigned = re.findall(
        r'^        self\.(\w+)(?:: ([^=\n]+?))? = [^\n]+\n        """(.+?)"""', source, re.MULTILINE | re.DOTALL
    )
    kinds = getattr(vars(cls).get("__init__"), "__annotations__", {})
    found += [
        (name, kind or kinds.get(name, ""), text)
        for name, kind, text in assigned
        if not name.startswith("_") and name not in seen
    ]
    found += [
        (name, inspect.signature(value.fget).return_annotation, inspect.getdoc(value) or "")
        for name, value in vars(cls).items()
        if isinstance(value, property) and value.fget is not None and not name.startswith("_")
    ]
    return [(name, typed(kind).replace("|", "\\|"), _one_line(text)) for name, kind, text in found]


def typed(kind: Any) -> str:
    """A type as one writes it, without the modules."""
    text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text.replace("'", "")).replace("NoneType", "None")


def files() -> dict[Path, str]:
    """What is to stand in each generated file, by its path in the repository."""
    everything = pages()
    written = {MAN / f"{page.file}.1": man(page, everything) for page in everything}
    return written | {COMMANDS: commands_page(everything), LIBRARY: library_page()}


def generated() -> set[Path]:
    """The generated man pages that are there."""
    return {path.relative_to(ROOT) for path in (ROOT / MAN).glob("*.1")}


if __name__ == "__main__":
    wanted = files()
    for old in generated() - wanted.keys():
        (ROOT / old).unlink()
    for path, text in wanted.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    print(len(wanted), "files")
