"""The documents against the code: tables of numbers, fields and imports, citations, links."""

import re
import tomllib
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from processes import rtms
from test_architecture import MAY_IMPORT, PACKAGE

import rtms_cli
from rtms_cli.capture import Header
from rtms_cli.errors import Exit
from rtms_cli.inspection.documents import anchor, documents, sections
from rtms_cli.inspection.lint import SECTIONS
from rtms_cli.protocol import numbers
from rtms_cli.recording import manifest

ROOT = PACKAGE.parent
HERE = f"{tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['urls']['Source']}/blob/main/"
"""What links to files beside the manual begin with: the manual is published without them."""
PROTOCOL, RECORDING, ARCHITECTURE = (ROOT / "docs" / f"{name}.md" for name in ("protocol", "recording", "architecture"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "fixtures" / "README.md"])


class Table(NamedTuple):
    """A table of a document: its heading row and its rows, cell by cell."""

    head: list[str]
    rows: list[list[str]]


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def tables(document: Path) -> list[Table]:
    """Every table of a document, in order."""
    found: list[Table] = []
    before = ""
    for line in prose(document).splitlines():
        if not line.startswith("|"):
            before = ""
        elif not before.startswith("|"):
            found.append(Table(cells(line), []))
            before = line
        elif not re.fullmatch(r"[|:\- ]+", line):
            found[-1].rows.append(cells(line))
    return found


def prose(document: Path) -> str:
    """A document without its code blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def headings(document: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)


def codes(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


NUMBERED: dict[str, type[IntEnum] | type[IntFlag]] = {
    "msg_type": numbers.MessageType,
    "media_type": numbers.MediaType,
    "content_type": numbers.ContentType,
    "codec": numbers.Codec,
    "sample_rate": numbers.SampleRate,
    "channel": numbers.AudioChannel,
    "data_opt": numbers.DataOption,
    "resolution": numbers.Resolution,
    "language": numbers.Language,
    "attribute": numbers.Attribute,
    "operation_type": numbers.ChatOperation,
    "chat_session.type": numbers.ChatSessionType,
    "event_type": numbers.MeetingEvent,
    "event_type (Contact Center)": numbers.ContactCenterEvent,
    "session state": numbers.SessionState,
    "stream state": numbers.StreamState,
    "stop_reason": numbers.StopReason,
    "status_code": numbers.StatusCode,
}
"""Each table of numbers in docs/protocol.md, by the heading of its first column."""


def test_tables_of_numbers_are_those_of_the_code() -> None:
    found = {
        table.head[0]: [(int(row[0]), codes(row[1])) for row in table.rows]
        for table in tables(PROTOCOL)
        if all(re.fullmatch(r"-?\d+", row[0]) for row in table.rows)
    }
    assert found == {head: [(int(member), [member.name]) for member in enum] for head, enum in NUMBERED.items()}


FIELDS: dict[str, type[msgspec.Struct]] = {
    "header field": Header,
    "manifest field": manifest.Manifest,
    "track field": manifest.TrackEntry,
    "count field": manifest.MessageCount,
    "keep-alive field": manifest.KeepAlive,
    "connection field": manifest.Connection,
    "participant field": manifest.Participant,
    "stop field": manifest.Stop,
    "warning field": manifest.Warned,
    "loss field": manifest.Loss,
    "tap field": manifest.TapEntry,
    "epoch field": manifest.Epoch,
}
"""Each table of fields in docs/recording.md, by the heading of its first column."""


def test_fields_are_those_that_are_written() -> None:
    found = {
        table.head[0]: [name for row in table.rows for name in codes(row[0])]
        for table in tables(RECORDING)
        if table.head[0].endswith("field")
    }
    written = {head: [field.encode_name for field in msgspec.structs.fields(struct)] for head, struct in FIELDS.items()}
    assert {head: sorted(names) for head, names in found.items()} == {
        head: sorted(names) for head, names in written.items()
    }


def test_imports_are_those_of_the_architecture_test() -> None:
    (table,) = (table for table in tables(ARCHITECTURE) if table.head == ["package", "may import"])
    found = {codes(row[0])[0]: set(codes(row[1])) for row in table.rows}
    assert found.pop("commands") == set()
    assert found == {part: allowed - {part} for part, allowed in MAY_IMPORT.items()}


def test_every_package_is_on_the_map() -> None:
    (plan,) = re.findall(r"^```text\nrtms_cli/\n(.*?)^```$", ARCHITECTURE.read_text(), re.DOTALL | re.MULTILINE)
    drawn = set(re.findall(r"── (\S+)", plan))
    there = {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    there |= {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert there == drawn


def test_exit_codes_are_those_of_the_code() -> None:
    (table,) = (table for table in tables(ROOT / "docs/settings.md") if table.head == ["exit code", "meaning"])
    assert [int(row[0]) for row in table.rows] == [int(code) for code in Exit]


def sources() -> list[Path]:
    return sorted(path for suffix in ("py", "html", "toml") for path in PACKAGE.rglob(f"*.{suffix}"))


def test_cited_sections_exist() -> None:
    cited = {
        (str(path.relative_to(ROOT)), int(number))
        for path in sources()
        for ends in re.findall(r"§(\d+)(?:[–-]§?(\d+))?", path.read_text(encoding="utf-8"))
        for number in filter(None, ends)
    }
    assert len(cited) > 30
    known = {int(number.removeprefix("§")) for number in sections()}
    assert known == set(range(1, 13))
    assert [(path, number) for path, number in sorted(cited) if number not in known] == []


def test_cited_headings_exist() -> None:
    cited = {
        (str(path.relative_to(ROOT)), heading)
        for path in sources()
        for heading in re.findall(r'RECORDING,\s+"([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert cited
    assert [(path, heading) for path, heading in sorted(cited) if heading not in headings(RECORDING)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith(("https://", "http://")) and not link.startswith(HERE):
            continue
        name, _, fragment = link.partition("#")
        here = ROOT / name.removeprefix(HERE) if name.startswith(HERE) else document.parent / name
        target = here.resolve() if name else document
        if not target.exists() or (fragment and fragment not in map(anchor, headings(target))):
            broken.append(link)
    assert broken == []


def test_each_rule_can_be_looked_up() -> None:
    for rule, number in SECTIONS.items():
        section = sections()[number]
        path, _, fragment = section.link.removeprefix("file://").partition("#")
        assert Path(path) == documents() / "protocol.md", rule
        assert fragment in map(anchor, headings(Path(path))), rule
        assert section.text, rule


def test_lint_rules_are_explained(tmp_path: Path) -> None:
    done = rtms("inspect", "--explain", "connection-silent", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "connection-silent: Time and failure")
    assert "| media lost |" in done.stdout
    assert done.stdout.splitlines()[-1] == sections()["§9"].link
    unknown = rtms("inspect", "--explain", "silence", cwd=tmp_path)
    assert unknown.returncode == Exit.USAGE
    assert "connection-silent" in unknown.stderr


def test_the_changelog_knows_this_version() -> None:
    assert f"[{rtms_cli.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_version_is_in_one_place() -> None:
    quoted = re.compile(rf"""["']{re.escape(rtms_cli.__version__)}["']""")
    files = [ROOT / "pyproject.toml", *PACKAGE.rglob("*.py")]
    repeated = [path.relative_to(PACKAGE.parent) for path in files if quoted.search(path.read_text(encoding="utf-8"))]
    assert repeated == [Path("rtms_cli/__init__.py")]
