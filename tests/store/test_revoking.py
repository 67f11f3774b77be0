"""A stream that Zoom has revoked: nothing of it stays in the store, in no version."""

import json
from collections.abc import Iterator, Mapping

import pytest
from s3_server import S3Server, use_credentials

from rtms_cli.store.objects import Objects, open_store
from rtms_cli.store.revoking import Revoking
from rtms_cli.store.urls import read_store_url
from rtms_cli.store.versions import Versions

pytestmark = pytest.mark.timeout(300)  # the S3 server takes long to start on a busy machine
STARTED = "2026-11-28T06:00:00.000Z"
STARTED_MS = 1_795_845_600_000


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    use_credentials(monkeypatch)
    with S3Server() as server:
        server.version_everything()
        yield open_store(read_store_url(f"{server.url}/here"), server.endpoint)


async def recorded(objects: Objects, name: str, stream_id: str, status: str = "complete") -> None:
    manifest = {"rtms_stream_id": stream_id, "status": status, "started_at": STARTED, "participants": ["Anna"]}
    for version in range(2):
        await objects.put(f"{name}/manifest.json", json.dumps({**manifest, "version": version}).encode())
        await objects.put(f"{name}/E0001/audio/mixed.wav", b"what was said %d" % version)
    await objects.put(f"{name}/capture/E0001-000001.jsonl.zst", b"lines")


async def left(objects: Objects) -> list[tuple[str, bool]]:
    found = []

    def see(one: object) -> bool:
        found.append((one.key, one.is_latest))  # type: ignore[attr-defined]
        return False

    await Versions(objects.url, objects.endpoint).delete("", see)
    return sorted(found)


async def test_a_stream_that_is_revoked_after_its_end_is_gone_in_all_versions(objects: Objects) -> None:
    told: list[str] = []

    def tell(name: str, fields: Mapping[str, object], text: str) -> None:
        told.append(str(fields["state"]))

    await recorded(objects, "20261128T060000Z_meeting_s1", "s1")
    await recorded(objects, "20261128T060000Z_meeting_s2", "s2")
    await recorded(objects, "20261128T060001Z_meeting_s1", "s1", "recording")
    revoking = Revoking(objects, tell)
    revoking.on_event("revoked", {"stream_id": "s1", "event_ts": STARTED_MS + 60_000}, "")
    revoking.on_event("other", {"stream_id": "s2"}, "")
    await revoking.idle()
    seen = [key for key, _ in await left(objects) if "060000Z_meeting_s1" in key]
    assert seen == ["here/20261128T060000Z_meeting_s1/manifest.json"]
    manifest = json.loads((await objects.get("20261128T060000Z_meeting_s1/manifest.json"))[0])
    assert (manifest["status"], manifest["participants"], manifest["stop"]["reason"]) == ("revoked", [], 8)
    for other in ("20261128T060000Z_meeting_s2", "20261128T060001Z_meeting_s1"):
        assert len([info async for info in objects.listed(other)]) == 3
    assert told == ["revoked"]


async def test_a_recording_that_began_after_the_stop_stays(objects: Objects) -> None:
    await recorded(objects, "20261128T060000Z_meeting_s1", "s1")
    revoking = Revoking(objects, lambda name, fields, text: None)
    revoking.on_event("revoked", {"stream_id": "s1", "event_ts": STARTED_MS - 3_600_000}, "")
    await revoking.idle()
    assert len([info async for info in objects.listed()]) == 3


async def test_a_store_that_shows_no_versions_is_named(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials may not list them, or the store has no such call: that is not a store that is away."""
    await recorded(objects, "20261128T060000Z_meeting_s1", "s1")
    monkeypatch.setattr("rtms_cli.store.versions._NOT_FOR_US", frozenset((200,)))
    told: list[str] = []
    revoking = Revoking(objects, lambda name, fields, text: told.append(text))
    revoking.on_event("revoked", {"stream_id": "s1", "event_ts": None}, "")
    await revoking.idle()
    assert "cannot be seen" in told[0]
    assert len([info async for info in objects.listed()]) == 1
