"""Questions and recordings that nobody means well with: each gets an answer, and no answer is a defect's."""

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from catalog.shelf import put
from web.knocking import MARK, opened

pytestmark = pytest.mark.timeout(120)
WORDS = (
    "", "hello", '"', '"hello', "hello*", "NEAR(", "a AND", "hello OR", "hello NOT", "col:x", "{a b}:c", "^a", "-", "*",
    "'", "''); DROP TABLE x", "(" * 500, "x" * 3_000, "%00", "%ff", "%ED%A0%80", "%0a",
)  # fmt: skip
MORE = (
    "", "&user=%00", "&user=%ff*", "&limit=-1", "&limit=99999", "&context=99999", "&limit=%D9%A1", "&q=x&q=y",
    "&each=0", "&each=-1", "&each=x", "&recording=%25ff", "&recording=%00", "&recording=",
)  # fmt: skip
ELSEWHERE = (
    "/api/", "/api/recordings/", "/api/recordings/one", "/api/recordings/one/title", "/static/", "/recordings/", "//",
    "/%00", "/live/%00", "/%ff", "/?" + "&" * 3_000, "/?" + "a" * 5_000,
    "/api/search?" + "q=a&" * 900, "/feed", "/streams/x",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[]", b"null", b'{"title": 1}', b'{"title": null}', b'{"title": "\\ud800"}', b"\xff", b"[" * 9_000,
    b'{"title": "\\u0000\\u001b[2J"}', b'{"title": "' + b"x" * 9_000 + b'"}',
)  # fmt: skip
MANIFESTS = (
    b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"schema": 1e999}', b'{"schema": 1, "title": "\\ud800"}', b"[" * 100_000,
    b'{"schema": 1, "status": "complete", "tracks": [{"path": "../../x", "duration": 1e308}], "title": ["x"]}',
)  # fmt: skip


def fill(place: Path) -> int:
    """Recordings from strangers; returns how many."""
    one = put(place, "one", title="a\x1b[2J</script>b", id="x\N{RIGHT-TO-LEFT OVERRIDE}")
    said = {"t": 1.0, "text": "hello\0 </script>", "user_name": "\x1b]0;x\x07", "user_id": 1}
    (one / "transcript.jsonl").write_text(json.dumps(said) + '\n{"text": "\\ud800"}\n' + "[" * 50_000)
    for number, content in enumerate(MANIFESTS):
        folder = place / f"bad{number}"
        folder.mkdir()
        (folder / "manifest.json").write_bytes(content)
        (folder / "capture.jsonl").write_bytes(content)
    for name, make in (("folders", os.mkdir), ("pipes", os.mkfifo)):
        (place / name).mkdir()
        for file in ("manifest.json", "capture.jsonl"):
            make(place / name / file)
    return len(MANIFESTS) + 3


async def test_every_question_has_an_answer(tmp_path: Path) -> None:
    count = fill(tmp_path / MARK)
    paths = [f"/api/search?q={quote(words, safe='%')}{more}" for words in WORDS for more in MORE]
    async with opened(tmp_path, "--web-control") as (door, server):
        for path in (*paths, *ELSEWHERE):
            reply = await door.knock(path)
            assert 0 < reply.status < 500, (path, reply)
            if path.startswith("/api/"):
                json.loads(reply.body)
        listed = json.loads((await door.knock("/api/recordings")).body)["recordings"]
        assert len(listed) == count
        for one in listed:
            reply = await door.knock(one["link"])
            assert 0 < reply.status < 500, (one, reply)
        for body in BODIES:
            reply = await door.knock("/api/recordings/one/title", method="PUT", body=body)
            assert reply.status in (200, 400, 409), (body, reply)
            json.loads(reply.body)
        server.process.terminate()
        await server.exit_code()
        assert not [line for line in server.lines if "Traceback" in line or "defect" in line]
