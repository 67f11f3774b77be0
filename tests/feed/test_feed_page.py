"""docs/feed.md: its client runs, and its tables are the messages."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
from msgspec import Struct
from processes import until

from rtms_cli.feed import messages

PAGE = (Path(__file__).parents[2] / "docs/feed.md").read_text(encoding="utf-8")
PARTS = {
    "hello": messages.Hello,
    "event": messages.Event,
    "picture": messages.Picture,
    "row": messages.Row,
    "detail": messages.Detail,
    "answer": messages.Answer,
    "watch": messages.Watch,
    "mark": messages.Mark,
    "stop": messages.Stop,
}
INNER = {
    "connections": messages.Connection,
    "ignored": messages.Ignored,
    "workers": messages.Worker,
    "keep_alives": messages.KeepAlives,
    "channels": messages.Channel,
    "people": messages.Person,
    "tracks": messages.Track,
    "taps": messages.Tapped,
    "warnings": messages.Warned,
}


def table(name: str) -> list[tuple[str, str]]:
    """The first table below a heading: what stands in the first column, and in the second."""
    below = re.split(rf"^### {name}$", PAGE, flags=re.MULTILINE)[1]
    rows = re.findall(
        r"^\| (.+?) \| (.*?) \|$", below.partition("\n###")[0].partition("| `event` | |")[0], re.MULTILINE
    )
    return [(names, told) for names, told in rows if names.startswith("`")]


@pytest.mark.parametrize("name", PARTS)
def test_a_table_has_the_fields_of_its_message(name: str) -> None:
    named = [field for names, _ in table(name) for field in re.findall(r"`(\w+)`", names)]
    assert sorted(named) == sorted(PARTS[name].__struct_fields__)


@pytest.mark.parametrize("field", INNER)
def test_fields_of_inner_objects_are_named(field: str) -> None:
    wanted = set(INNER[field].__struct_fields__)
    told = [told for name in PARTS for names, told in table(name) if f"`{field}`" in names]
    assert any(set(re.findall(r"`(\w+)`", one)) >= wanted for one in told)


def test_every_message_is_on_the_page() -> None:
    tagged = {one for one in vars(messages).values() if isinstance(one, type) and issubclass(one, Struct)}
    assert tagged - {Struct} == {*PARTS.values(), *INNER.values()}


async def test_its_client_prints_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMS_RUNTIME_DIR", str(tmp_path / "run"))
    client = tmp_path / "client.py"
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    client.write_text(code)
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtms_cli", "demo", "--seconds", "20", "--quiet", cwd=tmp_path
    )
    try:
        await until(lambda: list((tmp_path / "run").glob("*.sock")))
        sockets = list((tmp_path / "run").glob("*.sock"))
        reader = await asyncio.create_subprocess_exec(
            sys.executable, str(client), str(sockets[0]), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert reader.stdout is not None
            lines = [(await reader.stdout.readline()).decode() for _ in range(2)]
        finally:
            reader.kill()
            await reader.wait()
    finally:
        demo.kill()
        await demo.wait()
    assert re.fullmatch(r" +\d+\.\d  John Smith: Good morning, can everybody hear me\?\n", lines[0])
    assert "loud and clear" in lines[1]
