"""Notifications: what is asked for, what is sent, what is kept while nobody takes it."""

import base64
import json
from pathlib import Path

from processes import running
from receiver import receiving
from standardwebhooks import Webhook

from rtms_cli.live.notifications import EVENTS

SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
OTHER = f"whsec_{base64.b64encode(bytes(range(1, 33))).decode()}"


def notify(secret: str = SECRET) -> dict[str, str]:
    return {"RTMS_NOTIFY_SECRET": secret}


async def test_a_demo_tells_everything_signed_and_in_order(tmp_path: Path) -> None:
    async with (
        receiving() as receiver,
        running("demo", "--seconds", "3", "--json", "--notify", receiver.url, cwd=tmp_path, settings=notify()) as demo,
    ):
        assert await demo.exit_code() == 0, demo.lines
    types = [got.type for got in receiver.got]
    assert (types[0], types[-1]) == ("stream.started", "stream.finished")
    assert set(types) == set(EVENTS) - {"stream.interrupted", "stream.failed"}
    for got in receiver.got:
        Webhook(SECRET).verify(got.body, got.headers)
    assert len({got.id for got in receiver.got}) == len(types)
    assert receiver.connections == 1  # kept open
    (folder,) = [path for path in (tmp_path / "recordings").iterdir() if path.is_dir()]
    manifest = json.loads((folder / "manifest.json").read_text())
    finished = receiver.got[-1].event["data"]
    assert finished["stream_id"] == manifest["rtms_stream_id"]
    assert (finished["status"], finished["reason"]) == ("complete", 6)
    assert finished["reason_name"] == "STOP_BC_MEETING_ENDED"
    assert [track["path"] for track in finished["tracks"]] == [track["path"] for track in manifest["tracks"]]
    spoken = [line for got in receiver.got if got.type == "transcript" for line in got.event["data"]["lines"]]
    assert spoken == [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()]
