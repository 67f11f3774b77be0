"""Recordings in a store, read like folders: with a real S3 API, the program as a process."""

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from frames import HEADER, tree
from msgspec import structs
from processes import rtms
from recorded_parts import in_parts
from s3_server import S3Server, use_credentials

from rtms_cli.capture import Capture
from rtms_cli.errors import Exit, Problem
from rtms_cli.machine import frames_of
from rtms_cli.recording.merging import merge
from rtms_cli.recording.recorder import Recorder
from rtms_cli.store import reading
from rtms_cli.store.objects import Objects, open_store
from rtms_cli.store.reading import StoredCapture, finished, repair_stored
from rtms_cli.store.segments import Mark, next_segment, packed, segment_name
from rtms_cli.store.urls import read_store_url

pytestmark = pytest.mark.timeout(300)  # the S3 server takes long to start on a busy machine


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


@pytest.fixture
def url(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    use_credentials(monkeypatch)
    return f"{server.url}/{request.node.name}/a-recording"


@pytest.fixture
def objects(server: S3Server, url: str) -> Objects:
    return open_store(read_store_url(url), server.endpoint)


async def ship(objects: Objects, folder: Path) -> None:
    """Store what the owners of a recording have captured, in segments."""
    for epoch, part in ((1, folder), (2, folder / "epochs/E0002")):
        mark, number = Mark(), 1
        while (cut := next_segment(part, mark, 50_000)) is not None:
            lines, mark = cut
            await objects.put(segment_name(epoch, number), packed(lines))
            number += 1
        assert number > 3


def content(capture: Capture) -> list[tuple[int, bytes]]:
    return [(frame.at_us, frame.raw) for item in capture.items() for frame in frames_of(item)]


async def test_segments_are_the_capture(objects: Objects, url: str, server: S3Server, tmp_path: Path) -> None:
    await ship(objects, in_parts(tmp_path / "parts"))
    stored, local = StoredCapture(objects), Capture(tmp_path / "parts")
    assert [(one.at_us, one.raw) for one in stored] == [(one.at_us, one.raw) for one in local]
    assert content(stored) == content(stored) == content(local)
    assert stored.problems == []
    assert stored.header == local.header
    stored.close()
    arguments = ("replay", url, "--store-endpoint", server.endpoint, "--out", str(tmp_path / "again"))
    assert rtms(*arguments, settings=server.settings, cwd=tmp_path).returncode == 0
    (made,) = (tmp_path / "again").iterdir()
    merge(tmp_path / "parts")
    assert tree(made) == tree(tmp_path / "parts")


async def test_what_is_missing_or_damaged_or_anothers_is_told(
    objects: Objects, url: str, tmp_path: Path, server: S3Server
) -> None:
    await ship(objects, in_parts(tmp_path / "parts"))
    await objects.delete([segment_name(1, 2)])
    await objects.put(segment_name(2, 2), b"no archive")
    other = structs.replace(HEADER, epoch=2, rtms_stream_id="another").line()
    await objects.put(segment_name(2, 3), packed(other))
    await objects.put("capture/E0001-000001.jsonl.zst/more", packed(other))
    await objects.put("capture/notes.txt", b"mine")
    stored = StoredCapture(objects)
    assert stored.gaps == ["segment 2 of epoch 1 is not there"]
    frames = content(stored)
    stored.close()
    assert len(frames) > 100
    assert [one for one in stored.problems if "segment 2 of epoch 1" in one]
    assert [one for one in stored.problems if "E0002-000002.jsonl.zst" in one]
    assert [one for one in stored.problems if "E0002-000003.jsonl.zst belongs to another recording" in one]
    done = rtms("replay", url, "--json", settings=server.settings, cwd=tmp_path)
    assert done.returncode == Exit.LOSSES
    (made,) = (tmp_path / "replays").iterdir()
    losses = json.loads((made / "manifest.json").read_text())["losses"]
    assert [loss["first_error"] for loss in losses] == ["segment 2 of epoch 1 is not there"]


async def test_a_dead_owners_recording_is_finished_from_its_segments(
    objects: Objects, url: str, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ship(objects, in_parts(tmp_path / "parts"))
    refused = rtms("repair", url, settings=server.settings, cwd=tmp_path)
    assert refused.returncode != 0
    assert "may be being recorded" in refused.stderr
    assert finished(objects) is None
    shown = rtms("repair", url, "--force", "--json", settings=server.settings, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == {"url": url, "status": "complete"}
    stored = finished(objects)
    assert stored is not None
    merge(tmp_path / "parts")
    made = {one.path: (await objects.get(one.key))[0] for one in stored.entry.files}
    local = tree(tmp_path / "parts")
    assert made == {name: local[name] for name in made}
    assert {"audio/mixed.wav", "audio/7_ann.wav", "transcript.jsonl"} == made.keys()
    again = rtms("repair", url, settings=server.settings, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, f"{url}: complete, nothing to repair\n")

    asked: list[str] = []
    real = Objects.download_now

    def download(self: Objects, key: str, target: Path, most: int) -> int:
        asked.append(key)
        return real(self, key, target, most)

    monkeypatch.setattr(Objects, "download_now", download)
    with reading.fetched(url, server.endpoint, {"transcript"}) as found:
        assert isinstance(found.source, Path)
        assert tree(found.source).keys() == {"manifest.json", "transcript.jsonl"}
    assert asked == ["E0002/transcript.jsonl"]
    for form in ("txt", "wav", "csv"):
        done = rtms("export", url, "--to", form, settings=server.settings, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        expected = rtms("export", str(tmp_path / "parts"), "--to", form, "--out", "local", cwd=tmp_path)
        assert expected.returncode == 0, expected.stderr
    exported, local_ones = tree(tmp_path / "export"), tree(tmp_path / "local")
    assert sorted(exported.values()) == sorted(local_ones.values())
    inspected = rtms("inspect", url, "--json", settings=server.settings, cwd=tmp_path)
    assert inspected.returncode == 0, inspected.stderr
    assert json.loads(inspected.stdout)["id"] == HEADER.id


async def test_one_that_is_not_finished_can_be_exported(
    objects: Objects, url: str, server: S3Server, tmp_path: Path
) -> None:
    await ship(objects, in_parts(tmp_path / "parts"))
    done = rtms("export", url, "--to", "txt", "--out", "x", settings=server.settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "line 0" in (tmp_path / "x/a-recording.txt").read_text()


@pytest.mark.parametrize(
    "store",
    [
        {"epoch": 1, "files": [{"path": "../../x", "key": "E0001/x", "nbytes": 1, "sha256": ""}]},
        {"epoch": 1, "files": [{"path": "x", "key": "../x", "nbytes": 1, "sha256": ""}]},
        None,
    ],
)
async def test_a_strangers_manifest_leads_nowhere(
    store: object, objects: Objects, url: str, server: S3Server, tmp_path: Path
) -> None:
    await ship(objects, in_parts(tmp_path / "parts"))
    (tmp_path / "r").mkdir()
    told = json.loads(Recorder(tmp_path / "r", HEADER).manifest().encode()) | {"status": "complete", "store": store}
    await objects.put("manifest.json", json.dumps(told).encode())
    with pytest.raises(ValueError, match="it "):
        finished(objects)
    with pytest.raises(Problem, match="cannot be read"), reading.fetched(url, server.endpoint, ()):
        pass
    with pytest.raises(Problem, match="cannot be read"):
        repair_stored(url, server.endpoint, keep_revoked=False, force=True)


def test_there_is_nothing(objects: Objects, url: str, server: S3Server) -> None:
    with pytest.raises(Problem, match="has no capture"):
        StoredCapture(objects)
    with pytest.raises(Problem, match="has no capture"):
        repair_stored(url, server.endpoint, keep_revoked=False, force=True)


async def test_the_newest_one_of_a_store_is_found(objects: Objects, url: str, server: S3Server, tmp_path: Path) -> None:
    in_parts(tmp_path / "live")
    await ship(objects, tmp_path / "live")
    settings = server.settings | {"RTMS_LISTEN_OUT": url.rpartition("/")[0]}
    done = await asyncio.to_thread(rtms, "inspect", cwd=tmp_path, settings=settings)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"inspecting {url}\n")


async def test_a_segment_whose_first_block_is_large(objects: Objects) -> None:
    """What is sent can hardly be compressed: Zstandard's first block, which has the header, is large then."""
    rest = base64.b64encode(os.urandom(400_000)).decode()
    line = b'{"at": 1.000000, "ch": "signaling", "dir": "in", "data": {"msg_type": 99, "content": "%b"}}\n'
    await objects.put(segment_name(1, 1), packed(HEADER.line() + line % rest.encode()))
    assert StoredCapture(objects).header == HEADER
