"""Recordings over HTTP: the list follows the disk, search finds no more than there is, and each has its page."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from catalog.shelf import manifest, put
from catalog.test_search import say
from processes import until
from s3_server import S3Server
from web.watching import pages, recorder

from rtms_cli.simulator.scenario import Scenario
from rtms_cli.web.files import read_range

pytestmark = pytest.mark.timeout(180)
T = TypeVar("T")


async def settled(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Ask until there is an answer; the test's time-out bounds it."""
    while (found := await ask()) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return found


async def until_settled(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """An answer that is complete."""

    async def ask() -> dict[str, Any] | None:
        found: dict[str, Any] = (await client.get(path)).json()
        return found if found["reading"] is None else None

    return await settled(ask)


async def page_of(client: httpx.AsyncClient, link: str) -> httpx.Response:
    """A recording's page, as soon as it is made."""

    async def ask() -> httpx.Response | None:
        page = await client.get(link)
        return None if "/static/waiting.js" in page.text else page

    return await settled(ask)


async def test_the_list_follows_the_disk(tmp_path: Path) -> None:
    place = tmp_path / "recordings"
    for number in range(3):
        put(place, f"one-{number}", started_at=f"2026-11-2{number}T09:00:00Z", title=f"Title {number}")
    async with pages(place, cwd=tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        found = await until_settled(client, "/api/recordings")
        assert [entry["name"] for entry in found["recordings"]] == ["one-2", "one-1", "one-0"]
        assert all("path" not in entry for entry in found["recordings"])
        etag = (await client.get("/api/recordings")).headers["etag"]
        assert (await client.get("/api/recordings", headers={"if-none-match": etag})).status_code == 304
        shutil.rmtree(place / "one-1")
        (place / "one-0" / "manifest.json").write_bytes(manifest(title="Another").encode())
        (place / "broken").mkdir()
        (place / "broken" / "manifest.json").write_text("{")

        async def without() -> dict[str, Any] | None:
            found = {entry["name"]: entry for entry in (await client.get("/api/recordings")).json()["recordings"]}
            return None if "one-1" in found else found

        entries = await settled(without)
        assert set(entries) == {"one-0", "one-2", "broken"}
        assert (entries["one-0"]["title"], entries["broken"]["status"]) == ("Another", "unreadable")


async def test_search_finds_what_there_is_and_nothing_that_was_deleted(tmp_path: Path) -> None:
    place = tmp_path / "recordings"
    say(put(place, "one"), (1.0, "Kim", "The invoice is late."), (2.0, "Ada", "Which one?"))
    say(put(place, "two"), (5.0, "Ada", "An invoice <b>came</b>."))
    async with pages(place, cwd=tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        found = await until_settled(client, "/api/search?q=invoice&context=1")
        assert {(hit["recording"], hit["text"]) for hit in found["hits"]} == {
            ("one", "The invoice is late."),
            ("two", "An invoice <b>came</b>."),
        }
        assert {hit["link"] for hit in found["hits"]} == {"/recordings/one", "/recordings/two"}
        assert not found["is_cut"]
        assert (await until_settled(client, "/api/search?q=invoice&limit=1"))["is_cut"]
        assert len((await until_settled(client, "/api/search?q=invoice&user=kim"))["hits"]) == 1
        refused = await client.get("/api/search?q=...")
        assert (refused.status_code, bool(refused.json()["remedy"])) == (400, True)
        shutil.rmtree(place / "one")
        (place / ".search.sqlite").unlink()  # as whatever deletes a recording does
        assert [hit["recording"] for hit in (await until_settled(client, "/api/search?q=invoice"))["hits"]] == ["two"]


async def test_a_title_is_changed_only_where_that_is_allowed(tmp_path: Path) -> None:
    place = tmp_path / "recordings"
    put(place, "one")
    async with pages(place, cwd=tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        refused = await client.put("/api/recordings/one/title", json={"title": "Sync"})
        assert (refused.status_code, "--web-control" in refused.json()["remedy"]) == (403, True)
    async with pages(place, "--web-control", cwd=tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.put("/api/recordings/one/title", json={"title": " Weekly  sync "})).status_code == 200
        assert json.loads((place / "one" / "manifest.json").read_text())["title"] == "Weekly sync"
        for body, status in (
            (b"[]", 400), (b'{"title":7}', 400), (b"{", 400), (b'{"title":"' + b"x" * 300 + b'"}', 409),
            (b'{"title":"a\\u0007b"}', 409), (b"x" * 20_000, 413),
        ):  # fmt: skip
            assert (await client.put("/api/recordings/one/title", content=body)).status_code == status, body[:40]
        assert (await client.put("/api/recordings/..%2Fone/title", json={"title": "x"})).status_code == 404


async def test_a_recording_has_its_page_with_its_sound(tmp_path: Path) -> None:
    async with recorder(tmp_path) as here, httpx.AsyncClient(base_url=here.pages, timeout=60) as client:
        await here.begin(Scenario(2))

        async def complete() -> dict[str, Any] | None:
            found = (await client.get("/api/recordings")).json()["recordings"]
            return found[0] if found and found[0]["status"] == "complete" else None

        link = (await settled(complete))["link"]
        page = await page_of(client, link)
        assert page.status_code == 200, page.text
        policy = page.headers["content-security-policy"]
        assert "script-src 'sha256-" in policy
        assert "frame-ancestors 'none'" in policy
        assert '<a class="home" href="/recordings">' in page.text
        sound = await client.get(f"{link}/files/audio/mixed.wav", headers={"range": "bytes=0-3"})
        assert (sound.status_code, sound.content) == (206, b"RIFF")
        assert f'"link":"{link}/files/audio/mixed.wav"' in page.text
        assert not list(here.out.glob("*/page.html")), "nothing is written into the recording"


async def test_a_recording_without_a_capture_says_so(tmp_path: Path) -> None:
    put(tmp_path / "recordings", "one")
    (tmp_path / "recordings/one/capture.jsonl").unlink()
    async with pages(tmp_path / "recordings", cwd=tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        page = await page_of(client, "/recordings/one")
        assert page.status_code == 422
        assert "capture" in page.text


async def test_recordings_in_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded into a store, listed, searched, opened and heard from there."""
    with S3Server() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        url = f"{server.url}/rec"
        given = ("--out", url, "--store-endpoint", server.endpoint, "--spool", str(tmp_path / "spool"))
        async with recorder(tmp_path, *given, web=False) as here:
            await here.begin(Scenario(4))
            await until(lambda: any(f" stored {url}" in line for line in here.listener.lines))
        options = ("--web-control", "--store-endpoint", server.endpoint)
        async with (
            pages(url, *options, cwd=tmp_path, settings=server.settings) as address,
            httpx.AsyncClient(base_url=address, timeout=60) as client,
        ):
            (entry,) = (await until_settled(client, "/api/recordings"))["recordings"]
            assert (entry["status"], entry["product"]) == ("complete", "meeting")
            found = await until_settled(client, "/api/search?q=morning")
            hits = found["hits"]
            assert not found["problems"]
            assert [hit["text"] for hit in hits] == ["Good morning, can everybody hear me?"]
            page = await page_of(client, entry["link"])
            assert page.status_code == 200, page.text
            assert "Good morning, can everybody hear me?" in page.text
            sound = await client.get(f"{entry['link']}/files/audio/mixed.wav", headers={"range": "bytes=8-11"})
            assert (sound.status_code, sound.content) == (206, b"WAVE")
            assert (await client.get(f"{entry['link']}/files/../x")).status_code == 404
            assert (await client.put(f"/api{entry['link']}/title", json={"title": "Sync"})).status_code == 200


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes=0-3", (0, 4)), ("bytes=5-", (5, 10)), ("bytes=-3", (7, 10)), ("bytes=-30", (0, 10)),
        ("bytes=9-99", (9, 10)), ("bytes=10-", (10, 10)), ("bytes=-0", (10, 10)), ("bytes=5-2", None),
        ("bytes=0-1,3-4", None), ("items=0-3", None), ("bytes=-", None), ("bytes=a-b", None), ("", None),
        ("BYTES=0-0 ", (0, 1)), ("bytes=99999999999999999999-", None),
    ],
)  # fmt: skip
def test_a_range_of_ten_bytes(text: str, found: tuple[int, int] | None) -> None:
    assert read_range(text, 10) == found
