"""What the simulator says beside media: states while it pauses, events of each product, and the hosts in its URLs."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from processes import CREDENTIALS, rtms, running, until
from simulator.test_zoom import IDS, Server, types
from websockets.asyncio.client import ClientConnection, connect

from rtms_cli.protocol.media import DEFAULT_PARAMS, MediaParams
from rtms_cli.protocol.messages import Audio, EventUpdate, Transcript, encode
from rtms_cli.protocol.numbers import MediaType, Product
from rtms_cli.simulator.calls import media_of
from rtms_cli.simulator.cues import make_cues
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.schedule import Event, EventKind
from rtms_cli.simulator.server import App, Simulator

STREAM = IDS["rtms_stream_id"]


def test_a_pause_is_told_and_nothing_is_sent_meanwhile() -> None:
    server = Server(scenario=Scenario(6, events=(Event(2000, EventKind.PAUSE, for_ms=1500),)))
    server.join(31)
    server.say("signaling", 7, rtms_stream_id=STREAM)

    def states() -> list[object]:
        (session,) = server.say("signaling", 10, rtms_session_id="s")
        (stream,) = server.say("signaling", 19, rtms_stream_id=STREAM)
        assert (session["msg_type"], session["rtms_session_id"], stream["msg_type"]) == (11, "s", 20)
        assert stream["rtms_stream_id"] == STREAM
        assert session["timestamp"] == stream["timestamp"] == 1_738_394_112_345 + server.at_us // 1000
        return [session["state"], stream["state"]]

    assert {14, 15}.issubset(types(server.wait(1.9)))
    assert states() == [2, 1]
    told = [message for message in server.wait(0.2) if message["msg_type"] in (8, 9)]
    assert [(message["msg_type"], message["state"]) for message in told] == [(8, 5), (9, 3)]
    assert states() == [3, 5]
    assert server.wait(1.3) == []
    told = server.wait(0.3)
    assert [(message["msg_type"], message.get("state")) for message in told[:2]] == [(8, 6), (9, 4)]
    assert 14 in types(told)
    assert states() == [4, 6]
    server.say("signaling", 19, rtms_stream_id="other")
    assert server.findings() == ["19 STREAM_STATE_REQ with a wrong rtms_stream_id"]


@pytest.mark.parametrize("wanted", [None, True, False])
def test_sound_from_before_the_client_came_is_delivered_first_where_it_is_wanted(wanted: bool | None) -> None:
    server = Server(scenario=Scenario(8, buffered_s=5))
    server.open("signaling")
    server.say("signaling", 1, **IDS, **({} if wanted is None else {"buffer_data": wanted}))
    server.open("media")
    server.say("media", 3, **IDS, media_type=31, media_params={})
    burst = server.say("signaling", 7, rtms_stream_id=STREAM)
    stamps = [
        message["content"]["timestamp"] - 1_738_394_112_345  # type: ignore[index]
        for message in burst
        if message["msg_type"] == 14
    ]
    assert stamps == (list(range(0, 5020, 20)) if wanted is not False else [5000])
    assert [kind for kind in types(burst) if kind in (15, 16, 17, 18)] == [15]  # what is due just now
    untaken = server.zoom.report().untaken
    assert (untaken["MEDIA_DATA_VIDEO"], untaken.get("MEDIA_DATA_AUDIO", 0)) == (25, 250 if wanted is False else 0)
    assert types(server.wait(2.9)).count(14) == 145
    assert types(server.wait(1))[-2:] == [9, 8]


def test_subscriptions_decide_which_events_come() -> None:
    server = Server(seconds=13)
    server.join(8)
    assert server.say("signaling", 5, events=[{"event_type": 2, "subscribe": True}]) == []
    server.say("signaling", 5, events=[{"event_type": 3, "subscribe": True}, {"event_type": 3, "subscribe": False}])
    ready = server.say("signaling", 7, rtms_stream_id=STREAM)
    events = [message["event"] for message in ready + server.wait(9) if message["msg_type"] == 6]
    assert [event["event_type"] for event in events if isinstance(event, dict)] == [1, 2, 2, 2]


def test_a_server_of_before_refuses_a_list_with_a_newer_event() -> None:
    server = Server(scenario=Scenario(13, deviations=frozenset({Deviation.OLD_EVENTS})))
    server.join(8)
    events = [{"event_type": event, "subscribe": True} for event in (3, 10)]
    (answer,) = server.say("signaling", 5, events=events)
    assert (answer["msg_type"], answer["status_code"], answer["reason"]) == (5, 6, "event 10 does not exist")
    assert server.say("signaling", 5, events=events[:1]) == []
    assert server.findings() == []


def test_contact_center_has_events_of_its_own() -> None:
    scenario = Scenario(5, events=(Event(2000, EventKind.PAUSE, for_ms=1000), Event(1000, EventKind.CAMERA, camera=0)))
    cues = make_cues(scenario, MediaParams(), 0, None, product=Product.CONTACT_CENTER)
    events = [(cue.at_ms, cue.message.event_type) for cue in cues if isinstance(cue.message, EventUpdate)]
    assert [event for event in events if isinstance(event[1], int) and event[1] >= 7] == [
        (0, 8), (0, 10), (2000, 12), (3000, 13), (4999, 9), (4999, 11)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "same_port", "old_is_closed"),
    [
        (FaultAt(300, Fault.FAILOVER), True, True),
        (FaultAt(300, Fault.FAILOVER, 1), False, True),
        (FaultAt(300, Fault.SPLIT_BRAIN), False, False),
    ],
    ids=["same port", "another port", "split brain"],
)
async def test_where_another_server_takes_over(fault: FaultAt, same_port: bool, old_is_closed: bool) -> None:
    app = App("client", "secret", "token")
    async with Simulator(app) as simulator, AsyncExitStack() as opened:
        stream = simulator.announce(Product.MEETING, Scenario(30, faults=(fault,)))
        first, old_url = json.loads(stream.webhook("started")), stream.url
        ids = {
            "meeting_uuid": stream.identity,
            "rtms_stream_id": stream.stream_id,
            "signature": app.sign(Product.MEETING, stream.identity, stream.stream_id),
            "protocol_version": 1,
            "sequence": 1,
        }

        async def shake(url: str) -> tuple[ClientConnection, dict[str, str]]:
            """A client that gets as far as media."""
            signaling = await opened.enter_async_context(connect(url))
            await signaling.send(json.dumps({"msg_type": 1, **ids}))
            answer = json.loads(await signaling.recv())
            assert answer["status_code"] == 0
            urls: dict[str, str] = answer["media_server"]["server_urls"]
            media = await opened.enter_async_context(connect(urls["all"]))
            await media.send(json.dumps({"msg_type": 3, **ids, "media_type": 1}))
            assert json.loads(await media.recv())["status_code"] == 0
            await signaling.send(json.dumps({"msg_type": 7, "rtms_stream_id": stream.stream_id}))
            assert json.loads(await media.recv())["msg_type"] == 14
            return media, urls

        old, urls = await shake(stream.url)
        await until(lambda: stream.url != old_url)
        second = json.loads(stream.webhook("started"))
        assert second["event_ts"] > first["event_ts"]
        assert (stream.port == simulator.port) == same_port
        assert second["payload"]["server_urls"] == f"ws://127.0.0.1:{stream.port}/signaling/{stream.stream_id}?server=2"
        async with connect(old_url) as late:
            await late.wait_closed()
        assert late.close_code == 1011
        assert (old.close_code is not None) == old_is_closed
        _, new_urls = await shake(stream.url)
        for kind, url in new_urls.items():
            assert url == urls[kind].replace(f":{simulator.port}/", f":{stream.port}/") + "?server=2"
        assert stream.report().findings == ()
        simulator.end()
        await stream.done()


@pytest.mark.parametrize(
    ("host", "public", "named"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("0.0.0.0", None, "127.0.0.1"),
        ("0.0.0.0", "zoom.example", "zoom.example"),
        ("127.0.0.1", "fd00::7", "[fd00::7]"),
    ],
)
async def test_urls_name_a_host_that_can_be_reached(host: str, public: str | None, named: str) -> None:
    app = App("client", "secret", "token")
    async with Simulator(app, host, public_host=public) as simulator:
        stream = simulator.announce(Product.MEETING, Scenario(1))
        assert stream.url == f"ws://{named}:{simulator.port}/signaling/{stream.stream_id}"
        signature = app.sign(Product.MEETING, stream.identity, stream.stream_id)
        async with connect(f"ws://127.0.0.1:{simulator.port}/signaling/{stream.stream_id}") as client:
            ids = {"meeting_uuid": stream.identity, "rtms_stream_id": stream.stream_id, "signature": signature}
            await client.send(json.dumps({"msg_type": 1, "protocol_version": 1, **ids}))
            answer = json.loads(await client.recv())
        assert answer["media_server"]["server_urls"]["audio"] == (
            f"ws://{named}:{simulator.port}/media/{stream.stream_id}/audio"
        )
        simulator.end()


def test_the_list_of_scenarios(tmp_path: Path) -> None:
    done = rtms("simulate", "--list", cwd=tmp_path)
    assert done.returncode == 0
    assert "\nflaky-network        Sockets break" in done.stdout
    rows = json.loads(rtms("simulate", "--list", "--json", cwd=tmp_path).stdout)
    assert {row["name"]: (row["seconds"], row["streams"]) for row in rows}["every-status-code"] == (5, 47)
    wrong = rtms("simulate", "--scenario", "none", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (2, "error: There is no scenario 'none'.")


async def test_simulate_plays_a_scenario_with_chaos_and_tells_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'description = "Mine."\nseconds = 3\npeople = ["Anna"]\n[[event]]\nat = 1\ndrop = "signaling"\n'
        '[[event]]\nat = 2\nchat = "Anna"\ntext = "Hi"\n'
    )
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        arguments = ["--webhook", url, "--scenario", "mine.toml", "--seconds", "7", "--chaos", "3", "--json"]
        done = await asyncio.to_thread(rtms, "simulate", *arguments, cwd=tmp_path, settings=CREDENTIALS)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (await listen.event("finished"))["status"] == "complete"
    assert "chaos 3: drop-signaling at 1.0 s" in done.stderr
    (report,) = json.loads(done.stdout)
    assert report["ready"]
    (folder,) = (tmp_path / "recordings").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len([one for one in manifest["connections"] if one["channel"] == "signaling"]) == 2


@pytest.mark.parametrize("product", [Product.CONTACT_CENTER, Product.PHONE])
def test_a_call_has_channels_and_no_user_ids(product: Product) -> None:
    scenario, params = Scenario(6), DEFAULT_PARAMS
    audio = [cue.message for cue in make_cues(scenario, params, 0, MediaType.AUDIO, product=product)]
    assert {(one.user_id, one.user_name) for one in audio if isinstance(one, Audio)} == {(None, None)}
    assert [one.channel_id for one in audio if isinstance(one, Audio)] == [0, 1] * 300
    said = [cue.message for cue in make_cues(scenario, params, 0, MediaType.TRANSCRIPT, product=product)]
    assert [(one.user_id, one.channel_id) for one in said if isinstance(one, Transcript)] == [
        (None, 0), (None, 0), (None, 1)
    ]  # fmt: skip
    events = [cue.message for cue in make_cues(scenario, params, 0, None, product=product)]
    told = [json.loads(encode(event))["event"] for event in events if isinstance(event, EventUpdate)]
    assert all("event_ts" in event and "timestamp" not in event for event in told)
    names = {(info["channel_id"], info["display_name"]) for event in told if (info := event.get("participant_info"))}
    assert names == {(0, "John Smith"), (1, "Zoë Müller")}
    assert media_of(product, MediaType.ALL) == MediaType.AUDIO | MediaType.TRANSCRIPT
