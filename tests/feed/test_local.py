"""The feed of a recorder on its socket: resuming, watching, orders, and clients that are not what they should be."""

import asyncio
import json
import os
import stat
from pathlib import Path

import pytest
from feed.following import follow, hear, place_in
from web.watching import Recorder, recorder
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rtms_cli.errors import Problem
from rtms_cli.feed.places import feeds, make_place
from rtms_cli.simulator.scenario import Scenario

pytestmark = pytest.mark.timeout(120)


async def socket_of(here: Recorder) -> Path:
    """Where the recorder's feed is."""
    return await place_in(Path(here.settings["RTMS_RUNTIME_DIR"]))


async def test_a_client_goes_on_where_it_was(tmp_path: Path) -> None:
    async with recorder(tmp_path, web=False) as here:
        place = await socket_of(here)
        async with follow(place, "?events=all") as client:
            hello = await client.until(lambda one: one["type"] == "hello")
            assert (hello["version"], hello["resumed"]) == (1, False)
            await here.begin(Scenario(60))
            await client.event("transcript")
        last = client.events()[-1]["seq"]
        async with follow(place, f"?run={hello['run']}&after={last}&events=all") as again:
            assert (await again.until(lambda one: one["type"] == "hello"))["resumed"]
            await again.event("transcript")
        numbers = [event["seq"] for event in client.events() + again.events()]
        assert numbers == list(range(1, len(numbers) + 1)), "each event once, in order"
        async with follow(place, f"?run=another&after={last}") as stranger:
            assert not (await stranger.until(lambda one: one["type"] == "hello"))["resumed"]


async def test_a_stream_that_is_watched_is_told_in_full(tmp_path: Path) -> None:
    async with recorder(tmp_path, web=False) as here:
        place = await socket_of(here)
        async with follow(place) as client:
            stream = await here.begin(Scenario(60))
            row = (await client.picture(lambda one: one["streams"] and one["streams"][0]["messages"].get("audio")))[
                "streams"
            ][0]
            assert (row["stream_id"], row["state"], row["losses"]) == (stream.stream_id, "streaming", 0)
            assert not client.events("transcript", "chat", "frame"), "nothing of a stream that nobody watches"
            assert client.events("connection")
            await client.say(type="watch", streams=[stream.stream_id], after=0)
            said = await client.event("transcript")
            assert said["text"] == "Good morning, can everybody hear me?"
            assert said["user_name"] == "John Smith"
            detail = (await client.picture(lambda one: one["watched"]))["watched"][0]
            assert {channel["name"] for channel in detail["channels"]} >= {"signaling", "media"}
            assert all("secret" not in json.dumps(message) for message in client.messages)


async def test_orders_are_answered(tmp_path: Path) -> None:
    async with recorder(tmp_path, web=False) as here:
        place = await socket_of(here)
        async with follow(place) as client:
            stream = await here.begin(Scenario(60))
            await client.picture(lambda one: one["streams"])
            await client.say(type="mark", id=1, stream_id=stream.stream_id, text="a \x1b[31mdecision\n")
            assert (await client.until(lambda one: one["type"] == "answer")) == {
                "type": "answer", "id": 1, "ok": True, "why": ""
            }  # fmt: skip
            await client.picture(lambda one: client.events("mark"))
            assert client.events("mark")[0]["text"] == "a [31mdecision"
            await client.say(type="stop", id=2, stream_id=stream.stream_id)
            refused = await client.until(lambda one: one["type"] == "answer")
            assert (refused["id"], refused["ok"]) == (2, False)
            assert "--web-control" in refused["why"]
            await client.say(type="mark", id=3, stream_id="no such stream", text="x")
            assert not (await client.until(lambda one: one["type"] == "answer"))["ok"]


async def test_a_recorder_with_control_stops_streams(tmp_path: Path) -> None:
    async with recorder(tmp_path, "--web-control") as here:
        place = await socket_of(here)
        async with follow(place) as client:
            stream = await here.begin(Scenario(60))
            running = await client.picture(lambda one: one["streams"] and one["streams"][0]["messages"].get("audio"))
            assert running["hints"]
            assert not any("in a browser" in hint for hint in running["hints"]), "who looks knows that"
            await client.say(type="stop", id=1, stream_id=stream.stream_id)
            assert (await client.until(lambda one: one["type"] == "answer"))["ok"]
            assert (await client.event("finished"))["status"] == "complete"


async def test_webhooks_that_start_nothing_are_shown(tmp_path: Path) -> None:
    async with recorder(tmp_path, web=False) as here:
        place = await socket_of(here)
        host, port = here.webhook.removeprefix("http://").partition("/")[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        assert b" 401 " in await reader.readline()
        writer.close()
        async with follow(place) as client:
            picture = await client.picture()
            assert picture["ignored_count"] == 1
            assert "401" in picture["ignored"][0]["what"]


@pytest.mark.parametrize("said", ["not json", '{"type":"watch","streams":7}', '{"type":"no such"}', b"\xff\xfe"])
async def test_a_client_that_sends_nonsense_is_left(tmp_path: Path, said: str | bytes) -> None:
    async with recorder(tmp_path, web=False) as here:
        place = await socket_of(here)
        async with follow(place) as client:
            await client.picture()
            await client.connection.send(said)
            with pytest.raises(ConnectionClosed):
                await client.until(lambda one: False)
            assert client.connection.close_code == 1007


async def test_other_paths_and_streams_are_refused(tmp_path: Path) -> None:
    async with recorder(tmp_path, web=False) as here:
        place = await socket_of(here)
        with pytest.raises(InvalidStatus):
            async with unix_connect(str(place), "ws://localhost/etc/passwd"):
                pass
        async with hear(place, "no such stream") as sound:
            with pytest.raises(ConnectionClosed):
                await sound.recv()


async def test_only_its_user_can_open_the_socket(tmp_path: Path) -> None:
    async with recorder(tmp_path, web=False) as here:
        place = await socket_of(here)
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert place.stat().st_uid == os.getuid()
    assert not place.exists()


def test_sockets_of_the_dead_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMS_RUNTIME_DIR", str(tmp_path))
    import socket

    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "1.sock"))
    dead.close()
    (tmp_path / "notes.txt").write_text("mine")
    assert feeds() == []
    assert make_place(7) == tmp_path / "7.sock"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_others_may_enter_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a folder for everyone, such as `/tmp`."""
    monkeypatch.setenv("RTMS_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o755)
    with pytest.raises(Problem, match="Others may enter"):
        make_place(7)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
