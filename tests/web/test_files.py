"""A recording's files over HTTP: those of the recording and no others, as they are, and nothing of them is run."""

import asyncio
import json
import os
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import pytest
from catalog.shelf import put
from web.knocking import MARK, opened

pytestmark = pytest.mark.timeout(120)
SECRET = "outside of the recording"
FILES = "/recordings/one/files"


def recording(folder: Path) -> Path:
    """A recording with everything in it that a stranger could put there, beside a secret."""
    place = folder / MARK
    made = put(place, "one")
    (folder / "secret").write_text(SECRET)
    (place / "secret").write_text(SECRET)
    (place / ".search.sqlite").write_text(SECRET)
    (made / ".lock").write_text(SECRET)
    (made / ".hidden").mkdir()
    (made / ".hidden/file").write_text(SECRET)
    (made / "link").symlink_to(folder / "secret")
    (made / "folder").symlink_to(folder)
    (made / "audio").mkdir()
    (made / "audio/link.wav").symlink_to(folder / "secret")
    os.mkfifo(made / "pipe")
    (made / "audio/mixed.wav").write_bytes(bytes(range(256)) * 100)
    (place / "linked").symlink_to(made)
    (place / "no-recording").mkdir()
    (place / "no-recording/manifest.txt").write_text(SECRET)
    return made


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_only_files_of_a_recording_are_served(tmp_path: Path, method: str) -> None:
    await asyncio.to_thread(recording, tmp_path)
    async with opened(tmp_path) as (door, _):
        names = [
            "../secret", "%2e%2e/secret", "..%2fsecret", "..%2f..%2fsecret", "%2e%2e%2f%2e%2e%2fsecret",
            "a/../../secret",
            "audio/../../secret", "%252e%252e/secret", "//secret", "/etc/passwd", "%2fetc%2fpasswd", "//etc/passwd",
            str(tmp_path / "secret"), quote(str(tmp_path / "secret"), safe=""), "link", "folder/secret",
            "audio/link.wav",
            "pipe", "audio", "audio/", "", ".", "..", "./link", "audio/./link.wav", ".lock", ".hidden/file",
            "%2ehidden/file",
            "audio/%2e%2e/link", "manifest.json/", "manifest.json/x", "manifest.json%00", "%00", "audio%5cmixed.wav",
            "..%5c..%5csecret", "%ff", "%c0%ae%c0%ae/secret", "x" * 300, "x/" * 900, "audio/mixed.wav?", "nothing",
        ]  # fmt: skip
        answered = {}
        for name in names:
            reply = await door.knock(f"{FILES}/{name}", method=method)
            assert SECRET.encode() not in reply.body, name
            if reply.status != HTTPStatus.NOT_FOUND:
                answered[name] = reply.status
        assert answered == {"audio/mixed.wav?": HTTPStatus.OK}
        for name in (
            "linked",
            "no-recording",
            "..",
            "%2e%2e",
            ".",
            "one%2f..",
            "one/../no-recording",
            "",
            "%00",
            "one%00",
            "/one",
        ):
            for rest in ("", "/files/manifest.json", "/files/manifest.txt", "/files/secret"):
                reply = await door.knock(f"/recordings/{name}{rest}", method=method)
                assert reply.is_refusal or (name, rest) == ("", ""), (name, rest)
                assert SECRET.encode() not in reply.body


async def test_a_file_of_a_strangers_is_not_run(tmp_path: Path) -> None:
    """What a browser could take for a page is handed out as a download, whatever it is."""
    made = await asyncio.to_thread(recording, tmp_path)
    script = b"<script>alert(1)</script>"
    names = (
        "page.html", "picture.svg", "script.js", "x.xhtml", "x.xml", "x.pdf", "x", "capture.jsonl", "x.HTML",
        "x.wav.html",
        'quo"te.html', "tab\t.html", "ü.html", "x.mhtml", "x.css", "video/x.h264",
    )  # fmt: skip
    async with opened(tmp_path) as (door, _):
        for name in names:
            path = made / name
            await asyncio.to_thread(path.parent.mkdir, exist_ok=True)
            await asyncio.to_thread(path.write_bytes, script)
            reply = await door.knock(f"{FILES}/{quote(name)}")
            assert (reply.status, reply.body) == (HTTPStatus.OK, script), name
            assert reply.header("content-type") == "application/octet-stream"
            assert reply.header("content-disposition").startswith("attachment; ")
            assert reply.header("x-content-type-options") == "nosniff"
            assert "sandbox" in reply.header("content-security-policy")
        wav = await door.knock(f"{FILES}/audio/mixed.wav")
        assert wav.header("content-type") == "audio/wav"
        assert wav.header("content-disposition") == ""
        assert "sandbox" in wav.header("content-security-policy")


RANGES = [
    ("bytes=0-0", 206, 0, 1),
    ("bytes=0-", 206, 0, 25_600),
    ("bytes=100-199", 206, 100, 200),
    ("bytes=25599-", 206, 25_599, 25_600),
    ("bytes=25000-99999999", 206, 25_000, 25_600),
    ("bytes=-100", 206, 25_500, 25_600),
    ("bytes=-99999999", 206, 0, 25_600),
    ("bytes=25600-", 416, 0, 0),
    ("bytes=-0", 416, 0, 0),
    ("bytes=2-1", 200, 0, 25_600),
    ("bytes=0-1,3-4", 200, 0, 25_600),
    ("bytes=-", 200, 0, 25_600),
    ("bytes=a-b", 200, 0, 25_600),
    ("bytes=-1-5", 200, 0, 25_600),
    ("items=0-1", 200, 0, 25_600),
    ("bytes=99999999999999999999999999-", 200, 0, 25_600),
    (f"bytes={'0-,' * 5_000}0-", 200, 0, 25_600),
]


async def test_ranges(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    await asyncio.to_thread(recording, tmp_path)
    path = f"{FILES}/audio/mixed.wav"
    async with opened(tmp_path) as (door, _):
        etag = (await door.knock(path, method="HEAD")).header("etag")
        for asked, status, start, end in RANGES:
            reply = await door.knock(path, ("Range", asked))
            assert (reply.status, reply.body) == (status, content[start:end]), asked
            if status == HTTPStatus.PARTIAL_CONTENT:
                assert reply.header("content-range") == f"bytes {start}-{end - 1}/25600"
            head = await door.knock(path, ("Range", asked), method="HEAD")
            assert (head.status, head.header("content-length")) == (status, str(end - start)), asked
        part = ("Range", "bytes=1-2")
        assert (await door.knock(path, part, ("If-Range", etag))).body == content[1:3]
        assert (await door.knock(path, part, ("If-Range", '"another"'))).body == content
        assert (await door.knock(path, ("If-None-Match", etag))).status == HTTPStatus.NOT_MODIFIED


async def test_names_of_any_bytes(tmp_path: Path) -> None:
    name = b"r\xff %25\xc3\xbc#?&<b>"
    made = await asyncio.to_thread(recording, tmp_path)
    other = Path(os.fsdecode(os.fsencode(made.parent) + b"/" + name))
    await asyncio.to_thread(made.rename, other)
    await asyncio.to_thread((other / "text.txt").write_bytes, b"text")
    async with opened(tmp_path) as (door, _):
        listed = json.loads((await door.knock("/api/recordings")).body)["recordings"]
        (link,) = [one["link"] for one in listed]
        assert link == f"/recordings/{quote(name, safe='')}"
        assert (await door.knock(f"{link}/files/text.txt")).body == b"text"
        assert (await door.knock(f"/recordings/{quote(quote(name, safe=''))}/files/text.txt")).is_refusal
