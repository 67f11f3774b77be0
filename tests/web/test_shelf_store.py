"""Recordings in a store, in a browser's words: with a real S3 API, and `rtms web` as a process."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from recorded_parts import connected, content, last_word, record
from s3_server import S3Server, use_credentials
from web.watching import pages

from rtms_cli.store.objects import NoObjectError, Objects, open_store
from rtms_cli.store.reading import repair_stored
from rtms_cli.store.segments import Mark, next_segment, packed, segment_name
from rtms_cli.store.urls import read_store_url
from rtms_cli.web.stored import Copies, Store

pytestmark = pytest.mark.timeout(300)  # the S3 server takes long to start on a busy machine
NAME = "20261128T090000Z_meeting_one"
SECRET = b"what is not a recording's"


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


async def stored(server: S3Server, folder: Path, name: str = NAME, *, is_over: bool = True) -> Objects:
    """A recording as `rtms listen --out s3://…` leaves it."""
    url = f"{server.url}/rec/{name}"
    objects = open_store(read_store_url(url), server.endpoint)
    frames = [*connected(1_000), *content(0, 150), last_word(150)]
    part = await asyncio.to_thread(record, folder / name, 1, frames)
    mark, number = Mark(), 1
    while (cut := next_segment(part, mark, 200_000)) is not None:
        lines, mark = cut
        await objects.put(segment_name(1, number), packed(lines))
        number += 1
    if is_over:
        await asyncio.to_thread(repair_stored, url, server.endpoint, keep_revoked=False, force=True)
    return objects


async def asked(client: httpx.AsyncClient, path: str) -> Any:
    """What the API says when it has read everything."""
    while True:
        found = (await client.get(path)).json()
        if not found.get("reading"):
            return found
        await asyncio.sleep(0.1)


async def page_of(client: httpx.AsyncClient, name: str) -> httpx.Response:
    """A recording's page, when it is made."""
    while True:
        answer = await client.get(f"/recordings/{name}")
        if "Reading the recording" not in answer.text:
            return answer
        await asyncio.sleep(0.1)


async def test_a_stored_recording_is_listed_found_shown_heard_and_named(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials(monkeypatch)
    server.version_everything()  # marks of objects have a version then
    objects = await stored(server, tmp_path)
    await stored(server, tmp_path, "20261128T100000Z_meeting_two", is_over=False)
    for key in ("rec/other/secret.txt", f"rec/{NAME}/E0001/audio/more.wav", f"rec/{NAME}/x.txt", "secret.txt"):
        server.put(key, SECRET)
    wav, _ = await objects.get("E0001/audio/mixed.wav")
    async with (
        pages(f"{server.url}/rec", "--web-control", cwd=tmp_path, settings=server.settings) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        listed = (await asked(client, "/api/recordings"))["recordings"]
        assert {one["name"]: one["status"] for one in listed} == {
            NAME: "complete",
            "20261128T100000Z_meeting_two": "unfinished",
        }, "what is not a recording is not listed"
        found = await asked(client, "/api/search?q=line+40")
        assert [(hit["recording"], hit["text"]) for hit in found["hits"]] == [(NAME, "line 40")]
        assert found["problems"] == []
        page = await page_of(client, NAME)
        assert page.status_code == 200, page.text
        link = f"/recordings/{NAME}/files/audio/mixed.wav"
        assert link in page.text
        heard = await client.get(link)
        assert (heard.status_code, heard.content) == (200, wav)
        assert re.fullmatch('"[0-9a-f]+"', heard.headers["etag"])
        part = await client.get(link, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, wav[100:200])
        for path in ("E0001/audio/mixed.wav", "E0001/audio/more.wav", "audio/more.wav", "x.txt", "../other/secret.txt"):
            assert (await client.get(f"/recordings/{NAME}/files/{path}")).status_code == 404, path
        for path in ("other", "other/files/secret.txt", "secret.txt", "nothing"):
            answer = await client.get(f"/recordings/{path}")
            assert (answer.status_code, SECRET in answer.content) == (404, False), path
        named = await client.put(f"/api/recordings/{NAME}/title", json={"title": "Invoice"})
        assert named.status_code == 200, named.text
        titles = [one["title"] for one in (await asked(client, "/api/recordings"))["recordings"]]
        assert titles.count("Invoice") == 1, "it need not wait for the next look"


async def test_what_is_revoked_in_the_store_is_gone_from_the_pages(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials(monkeypatch)
    monkeypatch.setattr("rtms_cli.web.stored.FRESH_S", 0.0)
    objects = await stored(server, tmp_path)
    store = Store(f"{server.url}/rec", server.endpoint)
    copies = Copies(store, server.endpoint)
    await asyncio.to_thread(copies.refresh)
    assert (copies.place / NAME / "transcript.jsonl").exists()
    assert store.stamp(NAME) is not None
    await objects.delete([key.removeprefix(f"rec/{NAME}/") for key in server.keys()])
    assert store.stamp(NAME) is None
    with pytest.raises(NoObjectError, match="no file"):
        store.key(NAME, "audio/mixed.wav")
    await asyncio.to_thread(copies.refresh)
    assert list(copies.place.iterdir()) == []
    copies.close()
    assert not copies.place.exists()


async def test_a_store_that_is_gone_is_told_in_words(server: S3Server, tmp_path: Path) -> None:
    async with (
        pages(f"{server.url}/rec", cwd=tmp_path, settings=server.settings) as url,
        httpx.AsyncClient(base_url=url, timeout=250) as client,
    ):
        assert (await asked(client, "/api/recordings"))["recordings"] == []
        server.stop()
        answer = await client.get(f"/recordings/{NAME}")
        assert answer.status_code == 503
        assert "does not answer" in answer.text
